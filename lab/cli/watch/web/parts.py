"""What a lab answered as parts of the page: HTML by name, made again when what it shows changes;
and the drawer of one host, VM, server or link: why it is so, and what can be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from chaos.lab import Directory
from chaos.report.filling import fill_part
from chaos.report.topology import BoxMark, Marks, ServerBox, draw_lab
from lab.cli.watch.scene import LabAnswers, LabView, StateLevel, by_level, scene_of_lab
from lab.cli.watch.web.actions import (
    ExecutedLine,
    Offer,
    offer,
    offers_for_link,
    offers_for_node,
    offers_in,
)
from lab.schema.answers import Node, Reason, RuledLink
from lab.schema.commands import DescribeHost, DescribeVm, GetLinks, GetNodes
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import Executor
from protocol.terms import PowerState, Role

TEMPLATE: Final = "live_parts.html"
LEVELS: Final = {
    StateLevel.BAD: "bad",
    StateLevel.ODD: "odd",
    StateLevel.IDLE: "idle",
    StateLevel.GOOD: "good",
}
_EVENTS: Final = 40


def describe_error(error: KeysteadError) -> str:
    """An error and its fix, in one line."""
    return f"{error.id}: {error}" + (f" Fix: {error.fix}" if error.fix else "")


class Parts:
    """The parts of the page with the version at which each has changed. ``of_lab`` is added to
    command lines: the lab's name, unless it is the default one."""

    def __init__(self, of_lab: str = "") -> None:
        self.html: dict[str, str] = {}
        self._of_lab = of_lab
        self._shown = "", ""
        self._values: dict[str, tuple[Any, ...]] = {}
        self._versions: dict[str, int] = {}
        self._version = 0

    def list_changes(self, version: int) -> tuple[int, dict[str, str]]:
        """The present version, and the parts that have changed after ``version``."""
        changed = {n: html for n, html in self.html.items() if self._versions[n] > version}
        return self._version, changed

    def draw(self, answers: LabAnswers, directory: Directory, links: Sequence[RuledLink]) -> None:
        """Draw the lab as it answered."""
        scene = scene_of_lab(answers)
        self._shown = answers.status.name, answers.status.mode
        self._set("head", "head", *self._shown, scene.notice)
        self._draw_scene(scene)
        self._set("nodes", "nodes", tuple(str(entry.node) for entry in directory.nodes))
        faults = tuple(replace(one, left="") for one in scene.faults)
        self._set("faults", "faults", faults, self._of_lab)
        picked = tuple((tile.name, tile.state, tile.level) for tile in scene.problems)
        self._set("topology", _topology, directory.nodes, picked, tuple(links))

    def draw_moment(self, scene: LabView, name: str, word: str) -> None:
        """Draw a moment of a stored run."""
        self._set("head", "head", name, word, scene.notice, False)
        self._draw_scene(scene)
        self._set("faults", "faults", scene.faults, None)

    def draw_loss(self, error: KeysteadError) -> None:
        """Say that the lab does not answer; everything else stays as it was."""
        fix = f" ({error.fix})" if error.fix else ""
        self._set("head", "head", *self._shown, f"{error.id}: {error}{fix}")

    def draw_done(self, done: Sequence[ExecutedLine]) -> None:
        """What was done on this page."""
        self._set("done", "done", tuple(done), self._of_lab)

    def _draw_scene(self, scene: LabView) -> None:
        self._set("summary", "summary", scene.summary())
        self._set("problems", "problems", scene.problems)
        self._set("servers", "tiles", by_level(scene.servers))
        self._set("hosts", "tiles", by_level(scene.hosts))
        self._set("vms", "tiles", by_level(scene.vms))
        self._set("events", "events", scene.events[: -_EVENTS - 1 : -1])

    def _set(self, name: str, draw: str | Callable[..., str], *values: Any) -> None:
        if self._values.get(name) == values:
            return
        self._values[name] = values
        self._version += 1
        self._versions[name] = self._version
        self.html[name] = (
            fill_part(TEMPLATE, draw, *values) if isinstance(draw, str) else draw(*values)
        )


def _topology(entries: Any, problems: Sequence[tuple[str, str, StateLevel]], links: Any) -> str:
    nodes = {name: BoxMark(f"l-{LEVELS[level]}", f": {state}") for name, state, level in problems}

    def describe_break(a: ServerBox, b: ServerBox) -> str:
        return "; ".join(rules_between(links, a.nodes, b.nodes))

    marks = Marks(nodes, describe_break, "not as they should be", linked=True)
    return fill_part(TEMPLATE, "topology", draw_lab(entries, marks))


def rules_between(
    links: Sequence[RuledLink], a: frozenset[str], b: frozenset[str]
) -> tuple[str, ...]:
    """What lies on the links between two boxes of the picture, and on how many of them."""
    counts: Counter[str] = Counter()
    for link in links:
        if (link.src in a and link.dst in b) or (link.src in b and link.dst in a):
            counts.update({f"{rule.kind} ({rule.id})" for rule in link.rules})
    return tuple(f"{text} in {count} directions" for text, count in sorted(counts.items()))


KINDS: Final = ("host", "vm", "server", "link")


async def drawer(lab: Executor, directory: Directory, of: str, of_lab: str) -> str:
    """The drawer for ``host:NAME``, ``vm:NAME``, ``server:NAME`` or ``link:A,B``; an end of a link
    is a node or a cluster. Raises ``KeysteadError``, KS-USE-002 for what is not there."""
    kind, _, name = of.partition(":")
    match kind:
        case "host":
            return await _host(lab, name, of_lab)
        case "vm":
            return await _vm(lab, name, of_lab)
        case "server":
            node = await _find_node(lab, name)
            offers = offers_for_node(name, node.state, host=False)
            return _draw(name, str(node.state.value), _screen(node), offers, of_lab)
        case "link":
            return await _link(lab, directory, name, of_lab)
    raise KeysteadError("KS-USE-002", f"{of}: one of {', '.join(KINDS)}, and a name")


async def _host(lab: Executor, name: str, of_lab: str) -> str:
    found: Any = await lab.do(DescribeHost(name))
    node: Node = found.machine
    state = str(node.state.value)
    if found.vcenter is not None:
        state += f", {found.vcenter.connection.value}"
        if found.vcenter.crypto_state is not None:
            state += f", {found.vcenter.crypto_state.value}"
    facts = {
        "keys in memory": sum(key.cached for key in found.keys),
        "in the TPM's keeping": sum(key.stored for key in found.keys),
        "TPM": str(node.tpm.value),
        "boot": node.boot,
    }
    offers = offers_for_node(name, node.state, host=True)
    return _draw(name, state, found.reasons or _screen(node), offers, of_lab, facts)


async def _vm(lab: Executor, name: str, of_lab: str) -> str:
    found: Any = await lab.do(DescribeVm(name))
    vm = found.vcenter
    words = (
        [] if vm is None else [vm.power.value, vm.crypto.value if vm.crypto else "not encrypted"]
    )
    is_on = vm is not None and vm.power is PowerState.ON
    offers = [offer("Power off" if is_on else "Power on", f"vm {'off' if is_on else 'on'} {name}")]
    if vm is not None and vm.missing:
        offers.append(offer("Unlock", f"vm unlock {name}"))
    facts = {
        "host": found.host,
        "keys": len(found.keys),
        "missing": len(vm.missing) if vm is not None else "nobody can say",
        "stored by its host": sum(bool(key.stored) for key in found.keys),
    }
    return _draw(name, ", ".join(words), found.reasons, offers, of_lab, facts)


async def _link(lab: Executor, directory: Directory, name: str, of_lab: str) -> str:
    a, _, b = name.partition(",")
    ends = [_find_end(directory, one) for one in (a, b)]
    links: Any = await lab.do(GetLinks())
    nodes = [nodes for _, nodes in ends]
    laid: Sequence[RuledLink] = [
        link
        for link in links.items
        if link.rules and any(link.src in x and link.dst in y for x, y in (nodes, nodes[::-1]))
    ]
    ids = sorted({rule.id for link in laid for rule in link.rules})
    rules = rules_between(laid, *nodes)
    offers = offers_for_link(ends[0][0], ends[1][0], ids)
    return _draw(f"{a} – {b}", "; ".join(rules) or "up", (), offers, of_lab)


def _find_end(directory: Directory, name: str) -> tuple[str, frozenset[str]]:
    """An end of a link as an experiment names it, with its nodes; KS-USE-002 when there is none."""
    hosts = frozenset(
        str(e.node) for e in directory.nodes if e.role is Role.ESXI and e.cluster == name
    )
    if hosts:
        return f"cluster:{name}", hosts
    if any(entry.node == name for entry in directory.nodes):
        return name, frozenset({name})
    raise KeysteadError("KS-USE-002", f"the lab has no node and no cluster {name}")


async def _find_node(lab: Executor, name: str) -> Node:
    nodes: Any = await lab.do(GetNodes())
    for node in nodes.items:
        if node.node == name:
            found: Node = node
            return found
    raise KeysteadError("KS-USE-002", f"the lab has no node {name}")


def _screen(node: Node) -> tuple[Reason, ...]:
    return (Reason(node.screen, ""),) if node.screen else ()


def _draw(
    name: str,
    state: str,
    reasons: Sequence[Reason],
    offers: Sequence[Offer],
    of_lab: str,
    facts: dict[str, Any] | None = None,
) -> str:
    told = [(reason, offers_in(reason.cure)) for reason in reasons]
    return fill_part(TEMPLATE, "drawer", name, state, told, tuple(offers), of_lab, facts or {})
