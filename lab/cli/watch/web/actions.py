"""What the page may do to a lab: command lines, as people type them, and their experiment.

A button is a command line and nothing else: the page sends it back, and the program's own parser
reads it. So what is shown is what is done.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec
import yaml

from chaos.actions import ACTIONS
from chaos.fields import format_s
from lab.cli.options import DEFAULTS
from lab.schema import commands
from lab.schema.answers import ActiveFault, Fault
from lab.schema.answers.base import MachineState
from lab.schema.commands import Command, name_of
from lab.schema.commands.faults import LinkFault
from lab.schema.errors import KeysteadError

LEASE: Final = "5m"
"""Of a fault that is made on the page, in lab time: it heals by itself then."""
LEAD_S: Final = 10.0
"""Lab seconds before the first entry of an experiment."""
_OFF: Final[dict[type[Command[Any]], str]] = {
    commands.HostPowerLoss: "host.power_loss",
    commands.HostPowerOff: "host.reboot",
    commands.HostReboot: "host.reboot",
    commands.HostPause: "proc.pause",
}
"""Commands for nodes with the fault that does the same in an experiment."""
_BACK: Final = (commands.HostPowerOn, commands.HostResume)
_FAULTS: Final = (LinkFault, commands.FaultInject)
_HEALS: Final = (commands.LinkHeal, commands.Heal)
_OTHERS: Final = (
    *(commands.VmOn, commands.VmOff, commands.VmUnlock, commands.HostReconnect),
    *(commands.HostExitMaintenance, commands.HostEnableCrypto),
)
ALLOWED: Final[tuple[type[Command[Any]], ...]] = (*_OFF, *_BACK, *_FAULTS, *_HEALS, *_OTHERS)
"""The commands that the page may give. None reads or writes a file of this machine."""
_LINES: Final = re.compile(r"keystead ([a-z][^;,()\n]*)")


@dataclass(frozen=True)
class PageCommand:
    """A command that was read from a line, for one vCenter, given by a user of it."""

    command: Command[Any]
    vcenter: str = ""
    user: str = ""


@dataclass(frozen=True)
class Offer:
    """A button: what it says, its command line, and that line in an experiment."""

    label: str
    line: str
    entry: str


@dataclass(frozen=True)
class ExecutedLine:
    """A line that was done at a lab time; ``ids`` of the faults that it began or healed."""

    at: float
    line: str
    command: Command[Any]
    ids: tuple[str, ...] = ()

    @property
    def entry(self) -> str:
        """Its line in an experiment."""
        return entry_of(self.command)


@lru_cache(maxsize=256)
def read_line(line: str) -> PageCommand:
    """The command of a line without ``keystead``; KS-USE-001 and KS-USE-003 for what is none, or
    none that the page may give."""
    from lab.cli.running.with_secrets import power_on

    function, bound = parse_line(line)
    given = bound.arguments.get("options", DEFAULTS)
    made: Callable[[Any], Command[Any]] | None = getattr(function, "made_of", None)
    power_ons: Callable[..., Any] = power_on
    if function == power_ons and set(bound.arguments) <= {"hosts", "options"}:
        command: Any = commands.HostPowerOn(bound.arguments.get("hosts", ()))
    else:
        command = None if made is None else made(bound)
    if not isinstance(command, ALLOWED):
        raise KeysteadError("KS-USE-003", f"{line}: the page does not give this command")
    if given.named:
        raise KeysteadError("KS-USE-003", f"{line}: the page is of one lab: leave out --name")
    return PageCommand(command, given.vcenter, given.user)


def parse_line(line: str) -> tuple[Any, Any]:
    """The function of a line without ``keystead``, and its bound arguments; KS-USE-001 for what the
    program's parser refuses."""
    from cyclopts import CycloptsError

    from lab.cli.program import build

    try:
        words = shlex.split(line)
        function, bound, _ = build().parse_args(words, print_error=False, exit_on_error=False)
    except (CycloptsError, ValueError) as error:
        raise KeysteadError("KS-USE-001", " ".join(f"{line}: {error}".split())) from None
    return function, bound


def offer(label: str, line: str) -> Offer:
    """A button for a line that the page may give."""
    return Offer(label, line, entry_of(read_line(line).command))


def offers_in(cure: str) -> tuple[Offer, ...]:
    """Buttons for the command lines in the text of a cure, as far as the page may give them."""
    return tuple(_offers_in(cure))


def _offers_in(cure: str) -> Iterator[Offer]:
    for found in _LINES.finditer(cure):
        line = found[1].strip()
        try:
            yield offer(line, line)
        except KeysteadError:
            continue  # a look, a file, or a name that only a person can fill in


def offers_for_node(name: str, state: MachineState, *, host: bool) -> tuple[Offer, ...]:
    """What can be done to a machine that is in this state."""
    match state:
        case MachineState.OFF:
            return (offer("Boot", f"host power-on {name}"),)
        case MachineState.PAUSED:
            return (offer("Resume", f"host resume {name}"),)
    lines = [
        ("Pull the power", f"host power-loss {name} --stay-off"),
        ("Shut down", f"host power-off {name}"),
        ("Pause", f"host pause {name}"),
    ]
    if host:
        lines.insert(1, ("Reboot", f"host reboot {name}"))
    return tuple(offer(label, line) for label, line in lines)


def offers_for_link(a: str, b: str, ids: Iterable[str]) -> tuple[Offer, ...]:
    """Cut a link, or heal the faults ``ids`` that are on it. An end: a node, ``cluster:NAME``."""
    healing = [offer(f"Heal {id}", f"heal {shlex.quote(id)}") for id in ids]
    if ":" in a + b:
        line = f"fault link.cut {shlex.quote(f'between=[{a}, {b}]')} --for {LEASE}"
    else:
        line = f"link cut {a} {b} --for {LEASE}"
    return (*healing, offer(f"Cut for {LEASE}", line))


# Experiments --------------------------------------------------------------------------------


def entry_of(command: Command[Any]) -> str:
    """What a command is in an experiment, on one line; empty when it has no entry of its own."""
    made = _entry(command)
    return _flow(made) if made else ""


def _entry(command: Command[Any]) -> dict[str, Any]:
    """Its entry, without an id and a time."""
    nodes: tuple[str, ...] = getattr(command, "hosts", ())
    match command:
        case LinkFault():
            values = command.values()
            if values["dir"] == "both":
                del values["dir"]
            return {"fault": name_of(command), **values} | _for(command.lease_s)
        case commands.FaultInject():
            return {"fault": command.kind, **command.values} | _for(command.lease_s)
        case commands.VmOn() | commands.VmOff() if command.vms and not command.on_host:
            return {"do": name_of(command), "on": _one_or_all(command.vms)}
    if (kind := _OFF.get(type(command))) is not None:
        return {"fault": kind, "on": _one_or_all(nodes)}
    name, of = name_of(command), getattr(command, "vm", "") or getattr(command, "host", "")
    return {"do": name, "on": of} if of and name in ACTIONS else {}


def _for(lease_s: float | None) -> dict[str, str]:
    return {} if lease_s is None else {"for": format_s(lease_s)}


def _one_or_all(names: Sequence[str]) -> Any:
    return names[0] if len(names) == 1 else list(names)


class _Open(msgspec.Struct):
    """An entry of a fault that may still be in force; ``began`` at lab time."""

    entry: dict[str, Any]
    began: float
    nodes: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def end(self, at: float) -> None:
        """It lasted until then, or for its lease when that was shorter."""
        lasted = max(at - self.began, 0.1)
        leased = self.entry.get("for", "")
        if not leased or lasted < float(leased[:-1]):
            self.entry["for"] = format_s(round(lasted, 1))


def experiment(lab: str, topology: Any, done: Sequence[ExecutedLine]) -> str:
    """The experiment that does the same to a lab of this topology. KS-USE-003 when nothing was
    done that an experiment can do."""
    entries = _schedule(done)
    if not entries:
        raise KeysteadError("KS-USE-003", "nothing was done yet that an experiment can do")
    running: dict[str, Any] = {"probe": "vm.running", "is": "== 100%"}
    whole = {
        "apiVersion": "keystead/v1",
        "kind": "Experiment",
        "name": f"watched-{lab}"[:60].rstrip("-"),
        "title": f"What was done by hand to the lab {lab}",
        "seed": 7,
        "topology": topology,
        "hypothesis": {
            "before": [{**running, "within": "60s"}],
            "recover": {"within": "5m"},
            "after": [running],
        },
    }
    head = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)
    lines = "".join(f"  - {_flow(entry)}\n" for entry in entries)
    return (
        "# What was done on the page of `keystead watch --web`, at the same lab times.\n"
        "# Play it: keystead chaos run FILE --mode sim. `hypothesis` says what must hold.\n"
        f"{head}schedule:\n{lines}"
    )


def _schedule(done: Sequence[ExecutedLine]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    open_: list[_Open] = []
    for one in done:
        command = one.command
        for ended in [held for held in open_ if _ends(command, one.ids, held)]:
            ended.end(one.at)
            open_.remove(ended)
        if not (made := _entry(command)):
            continue
        word = str(made.get("fault") or made["do"]).replace(".", "-").replace("_", "-")
        at = one.at - done[0].at + LEAD_S
        entry = {"id": f"{word}-{len(entries) + 1}", "at": format_s(round(at, 1)), **made}
        entries.append(entry)
        if isinstance(command, _FAULTS) or type(command) in _OFF:
            if not isinstance(command, commands.HostReboot) and not _comes_back(command):
                nodes = frozenset(getattr(command, "hosts", ()))
                open_.append(_Open(entry, one.at, nodes, frozenset(one.ids)))
            elif _comes_back(command):
                entry["for"] = "1s"
    return entries


def _comes_back(command: Command[Any]) -> bool:
    return isinstance(command, commands.HostPowerLoss) and not command.stay_off


def _ends(command: Command[Any], ids: tuple[str, ...], held: _Open) -> bool:
    if isinstance(command, _BACK):
        return not held.nodes.isdisjoint(command.hosts)
    return isinstance(command, _HEALS) and not held.ids.isdisjoint(ids)


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, sort_keys=False)
    return text.strip().replace("'on':", "on:")  # our files read it as a text


def ids_of(answer: Any) -> tuple[str, ...]:
    """The ids of the faults that a command began or healed."""
    if isinstance(answer, Fault):
        return (answer.fault.id,)
    return tuple(getattr(answer, "healed", ()))


def ids_on(faults: Sequence[ActiveFault], known: Iterable[str]) -> tuple[str, ...]:
    """Which of these ids can be healed: the faults that are in force."""
    active = {fault.id for fault in faults}
    return tuple(sorted(set(known) & active))
