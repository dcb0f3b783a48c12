"""A cell as a story: what its records say, in sentences, with times after the fault's beginning.

Pure: from the history of a staging to lines, of one event and of what befell the whole lab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from chaos.history import Record
from chaos.oracle.terms import TableEvent

Data = Mapping[str, Any]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence: ``at`` in seconds after the fault began, ``record`` is its ``seq``."""

    at: float
    text: str
    record: int


def lines_of(records: Iterable[Record], event: TableEvent) -> Iterator[Line]:
    """What happened in a staging as far as it is about this event, in order."""
    records = list(records)
    t0 = next((one.t for one in records if one.op == "t0"), 0.0)
    mine = {one.node for one in records if one.data.get("event") == event and one.node}
    for one in records:
        if one.type == "end" or not _is_about(one, event, mine):
            continue
        yield Line(at=round(one.t - t0, 3), text=sentence(one), record=one.seq)


def _is_about(record: Record, event: TableEvent, mine: set[str]) -> bool:
    """Of this event; or of the lab as a whole, or of a host that plays in it."""
    if "event" in record.data:
        return bool(record.data["event"] == event)
    if record.op == "made":
        return str(record.data["vm"]).startswith(f"{event.lower()}-")
    of_a_host = record.type in ("fault", "heal") or record.op == "dumped"
    if of_a_host and record.node.startswith("esxi"):
        return record.node in mine
    return True


def sentence(record: Record) -> str:
    """A record in words; one of a kind that has no words of its own is shown as it is."""
    told = _TOLD.get(record.op) or _OF_TYPE.get(record.type)
    if told is None:
        return f"{record.type} {record.node} {record.op} {dict(record.data)}".replace("  ", " ")
    return told(record.node, record.op, record.data)


def _format_request(node: str, op: str, data: Data) -> str:
    return f"{node} is asked: {op}{_detail(data.get('request', {}))}"


def _detail(request: Data) -> str:
    words = [f"{name} {request[name]}" for name in ("vm", "host") if request.get(name)]
    return f" ({', '.join(words)})" if words else ""


def _format_end(node: str, op: str, data: Data) -> str:
    if not data.get("error"):
        return f"{node}: {op} is done"
    what = "gives no answer" if data["outcome"] == "silent" else "refuses"
    return f"{node} {what}: {data['error']}: {data['text']}"


def _vm(node: str, op: str, data: Data) -> str:
    own, there = _view(data["own"]), _view(data["vcenter"])
    if not data["vcenter_up"]:
        there = "it does not answer"
    works = {True: "answers right", False: "answers wrong", None: "gives no answer"}
    guest = works[data["works"]["right"]]
    told = [e["event"] for e in data["locks"]]
    more = f"; told: {', '.join(told)}" if told else ""
    return f"{data['vm']}: its host shows {own}; vCenter: {there}; its guest {guest}{more}"


def _view(view: Data | None) -> str:
    if view is None:
        return "nothing"
    crypto = view["crypto"] or "not encrypted"
    return f"{view['power']} on {view['host']}, {crypto}, {view['connection']}"


def _host(node: str, op: str, data: Data) -> str:
    state = f"says that it is {data['crypto']}" if data["answers"] else "does not answer"
    screen = f"; its screen: {data['screen']}" if data["screen"] else ""
    seen = data["connection"] or "it does not answer"
    there = f", {data['vcenter_crypto']}" if data["vcenter_crypto"] else ""
    sent = f"; it has sent {data['messages']} messages since its power-on"
    dump = {True: "; it decrypts its dump", False: "; it cannot decrypt its dump", None: ""}
    return f"{node} {state}{screen}{dump[data['dump']]}; vCenter: {seen}{there}{sent}"


def _keys(node: str, op: str, data: Data) -> str:
    there = sum(1 for key in data["keys"] if key["present"])
    return f"{node} has {there} of {len(data['keys'])} keys"


def _format_host_added(node: str, op: str, data: Data) -> str:
    listed = "is in the inventory" if data["listed"] else "is not in the inventory"
    keys = f"{len(data['present'])} of {len(data['wanted'])} keys of VMs"
    host_key = "its host key" if data["host_key"] else "no host key"
    return f"{node} {listed}, {data['crypto']}, with {host_key} and {keys}"


def _groups(node: str, op: str, data: Data) -> str:
    """Without what is told of the host itself, which has a sentence of its own."""
    mounted = {True: "mounted", False: "not mounted", None: "not to be asked for"}
    works = {True: "reads right", False: "reads wrong", None: "cannot be read"}
    there = f"; vCenter: {data['shown']}" if data["shown"] else ""
    told = f"; it tells of {', '.join(data['issues'])}" if data["issues"] else ""
    return (
        f"the disk groups of {node} are {mounted[data['mounted']]}, its component "
        f"{works[data['read']['right']]}{there}; another replica "
        f"{works[data['neighbour']['right']]}{told}"
    )


def _tries(node: str, op: str, data: Data) -> str:
    return f"HA tries to start {data['vm']} on {node}: {', '.join(data['tries']) or 'never'}"


def _profiles(node: str, op: str, data: Data) -> str:
    each = ", ".join(f"{host} {count}" for host, count in data["servers"].items())
    return f"key servers that hosts know of: {each}"


def _format_leftovers(node: str, op: str, data: Data) -> str:
    files = "files on the datastore" if data["files"] else "no files"
    return f"what the refused task has left: {files}, {data['keys']} keys at the provider"


def _witness(node: str, op: str, data: Data) -> str:
    return f"witness of R{data['reason']}: {'' if data['held'] else 'MISSING: '}{data['seen']}"


def _letters(node: str, op: str, data: Data) -> str:
    fixed = ", ".join(f"{event} {letter}" for event, letter in data.items())
    return f"the letters are fixed: {fixed}"


def _harness(node: str, op: str, data: Data) -> str:
    """What the harness did: ``F1.cut`` of a fault, or plain words."""
    what = op.rpartition(".")[2]
    said = ((name, _plain(value)) for name, value in data.items() if name != "event")
    more = ", ".join(f"{name} {value}" for name, value in said if value)
    return f"{node or 'the lab'}: {what}{f' ({more})' if more else ''}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


_Told = Callable[[str, str, Data], str]
_TOLD: Final[Mapping[str, _Told]] = MappingProxyType(
    {
        "vm": _vm,
        "host": _host,
        "keys": _keys,
        "added": _format_host_added,
        "groups": _groups,
        "profiles": _profiles,
        "ha": _tries,
        "left": _format_leftovers,
        "witness": _witness,
        "letters": _letters,
        "t0": lambda node, op, data: f"the fault {data['fault']} begins",
        "bites": lambda node, op, data: f"{data['fault']} is seen to bite",
        "healed": lambda node, op, data: f"{data['fault']} is seen to be over",
        "void": lambda node, op, data: f"the play is void: {data['why']}",
        "made": lambda node, op, data: f"{data['vm']} is made on {node}, {data['kind']}",
        "clear": lambda node, op, data: (
            f"{data['vm']}, not encrypted, {'runs' if data['runs'] else 'does not run'} there"
        ),
        "object filled": lambda node, op, data: (
            f"{data['object']} is filled, on {', '.join(data['hosts'])}"
        ),
        "dumped": lambda node, op, data: f"{node} writes an encrypted dump",
        "key used": lambda node, op, data: f"{node} uses the key of {data['vm']} for a moment",
        "key unused": lambda node, op, data: f"{node} forgets the key of {data['vm']}",
        "provider removed": lambda node, op, data: (
            f"the administrator of {node} takes the provider {data['provider']} from it"
        ),
        "keys removed": lambda node, op, data: (
            f"the administrator of {node} takes {len(data['keys'])} keys from it"
        ),
    }
)
_OF_TYPE: Final[Mapping[str, _Told]] = MappingProxyType(
    {
        "invoke": _format_request,
        "ok": _format_end,
        "fail": _format_end,
        "info": _format_end,
        "fault": _harness,
        "heal": _harness,
    }
)
