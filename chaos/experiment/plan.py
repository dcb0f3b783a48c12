"""A plan: an experiment with every target, time and arrival resolved against one lab.

Plain values only, so it can be printed, stored with a run, and replayed without the file.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chaos.actions import ACTIONS
from chaos.actions.base import Action
from chaos.errors import ChaosError
from chaos.faults import from_plain
from chaos.faults.base import Fault
from chaos.hypotheses.probes import Scope, Tolerance
from chaos.load.planned import PlannedLoad, describe_load
from chaos.points import Strike
from chaos.workload import Arrival
from protocol.terms import NodeName, VmName

FORMAT = 4


class Seen(msgspec.Struct, frozen=True, kw_only=True, tag="seen"):
    """The ``nth`` record or event of a kind (see ``WhenSection``); ``on``: of these names, of all
    when there are none."""

    event: str
    on: tuple[str, ...] = ()
    nth: int = 1

    def text(self) -> str:
        """In words."""
        whose = f" on {', '.join(self.on)}" if self.on else ""
        return f"{self.event}{whose}" + (f", number {self.nth}" if self.nth > 1 else "")


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun"):
    """The begin of another entry, which itself waits for something."""

    of: str

    def text(self) -> str:
        """In words."""
        return f"the begin of {self.of}"


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The end of another entry, and then ``nodes`` that run (``wait`` running) or are held by
    vCenter (connected), for ``within_s`` lab seconds at most."""

    of: str
    wait: str = ""
    nodes: tuple[NodeName, ...] = ()
    within_s: float = 0.0

    def text(self) -> str:
        """In words."""
        until = f" and its nodes {self.wait}" if self.wait else ""
        return f"the end of {self.of}{until}"


class Cue(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry waits for whose begin no plan can know.

    It begins ``delay_s`` after that and lasts ``lasts_s`` (None: to the end of the phase). One that
    is ``optional`` may never begin; another then leaves the run unknown.
    """

    what: Seen | Begun | Ended | Strike
    delay_s: float = 0.0
    lasts_s: float | None = None
    optional: bool = False

    def text(self) -> str:
        """In words, such as ``after ok:key.create + 20 s``."""
        later = f" + {self.delay_s:g} s" if self.delay_s else ""
        when = "at" if isinstance(self.what, Strike) else "after"
        return f"{when} {self.what.text()}{later}"


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault and its interval, in lab seconds after the begin of the fault phase.

    ``until`` None: to the end of the phase. One with a ``cue`` begins when that comes, and ``at``
    says no more than how early that can be. ``values`` are those of the fault as plain data, and
    ``cure`` says whether its end also cures what has no undo. One that was ``drawn`` at random may
    meet a lab in which it can do nothing, or not end yet, because of another: it is missed then, or
    ends with the phase; any other makes the run an error of the harness. One that is ``forked``
    was added to a run that had been played without it: nothing before ``at`` depends on it.
    """

    id: str
    kind: str
    at: float
    until: float | None
    cure: bool
    values: dict[str, Any]
    drawn: bool = False
    cue: Cue | None = None
    forked: bool = False

    def fault(self) -> Fault:
        """The fault itself; ``ChaosError`` KS-CHAOS-109 when the values are none."""
        return from_plain(self.values)


class PlannedAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action on each of its targets (one that is empty: on nothing), begun as a fault is.

    ``values`` are its own fields as a file has them; ``must``: ``ok`` or ``fail``, where any other
    outcome makes the run an error of the harness.
    """

    id: str
    do: str
    at: float
    targets: tuple[str, ...]
    values: dict[str, Any]
    must: str = ""
    cue: Cue | None = None

    def action(self) -> Action:
        """The action itself; ``ChaosError`` KS-CHAOS-109 when there is none of that name."""
        found = ACTIONS.get(self.do)
        if found is None:
            raise ChaosError("KS-CHAOS-109", f"no action {self.do!r}")
        return found

    def summary(self) -> str:
        """One line for people."""
        more = ", ".join(f"{name}: {value}" for name, value in self.values.items() if value)
        whom = ", ".join(name for name in self.targets if name)
        return " ".join(filter(None, [self.do, whom, f"({more})" if more else ""]))


Planned = PlannedFault | PlannedAction
"""What an entry of the schedule comes to."""


class PlannedProbe(msgspec.Struct, frozen=True, kw_only=True):
    """A hypothesis: ``when`` is before, during or after; times are lab seconds.

    ``start`` and ``until`` are counted from the begin of the fault phase (None: to its end); with a
    ``cue``, an entry's begin or end, they are not known, and the cue says how long it lasts. Of
    ``before``, ``within_s`` is how long it may take to hold; of ``during``, ``every_s`` is the time
    from one measurement to the next, and ``grace_s`` how long it may fail to hold.
    """

    when: str
    probe: str
    is_: Tolerance
    vms: tuple[VmName, ...] = ()
    hosts: tuple[NodeName, ...] = ()
    op: str | None = None
    view: str = "host"
    within_s: float = 0.0
    start: float = 0.0
    until: float | None = None
    every_s: float = 10.0
    grace_s: float = 0.0
    cue: Cue | None = None

    def scope(self) -> Scope:
        """What the probe is asked about."""
        return Scope(vms=self.vms, hosts=self.hosts, op=self.op, view=self.view)

    def label(self) -> str:
        """Phase, probe and tolerance in one line, such as ``after vm.running >= 1``."""
        return f"{self.when} {self.probe} {self.is_.text}"


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What the file requires of the lab (``requires``); None means that it does not matter."""

    provider: str | None = None
    persistence: bool | None = None
    tpm: str | None = None
    hosts: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A resolved experiment: every name is a node or VM, every time in lab seconds.

    ``duration_s`` is the length of the fault phase, ``max_duration_s`` what it may take before it
    is given up, ``lease_s`` how long a fault lasts unless it is renewed, ``recover_s`` what the
    probes of ``after`` may take to hold (None: they must hold at once). With a ``core`` those nodes
    are healed first, and have ``core_s`` to work while the rest stays as it is. ``settle_s`` pass
    after the heal before anything is judged. ``order`` is how the simulation orders what is ready
    at once; empty: as the seed draws it. ``aborts`` give the run up when one held for its
    ``grace_s``. In the spans ``unattended`` (from, until) the controller is away: no lease is
    carried on. With ``bug``, a planted one, those of ``expect`` fail and nothing else (the
    negative control).
    """

    format: int = FORMAT
    name: str
    title: str
    seed: int
    file: str
    duration_s: float
    max_duration_s: float
    lease_s: float
    recover_s: float | None
    settle_s: float = 0.0
    core: tuple[NodeName, ...] = ()
    core_s: float = 0.0
    order: str = ""
    requires: Needs
    topology: Any
    faults: tuple[PlannedFault, ...]
    actions: tuple[PlannedAction, ...] = ()
    arrivals: tuple[Arrival, ...]
    load: PlannedLoad | None = None
    probes: tuple[PlannedProbe, ...]
    checks: tuple[str, ...]
    aborts: tuple[PlannedProbe, ...] = ()
    unattended: tuple[tuple[float, float], ...] = ()
    bug: str = ""
    expect: tuple[str, ...] = ()

    def surely_faulty(self) -> bool:
        """Whether some fault begins, if all goes as planned."""
        return any(fault.cue is None or not fault.cue.optional for fault in self.faults)

    def strikes(self) -> tuple[Strike, ...]:
        """What is to happen within calls, which only the simulation can do."""
        cues = (planned.cue for planned in self.entries())
        return tuple(cue.what for cue in cues if cue and isinstance(cue.what, Strike))

    def forks(self) -> tuple[PlannedFault, ...]:
        """The faults that were added to a run that had been played."""
        return tuple(fault for fault in self.faults if fault.forked)

    def entries(self) -> tuple[Planned, ...]:
        """Faults, then actions."""
        every: tuple[Planned, ...] = (*self.faults, *self.actions)
        return every


def dump_plan(made: Plan) -> bytes:
    """The plan as JSON, as it is stored with a run."""
    return msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"


def load_plan(data: bytes) -> Plan:
    """The plan that ``dump_plan`` wrote; KS-CHAOS-109 when it is none of this version's."""
    try:
        made = msgspec.json.decode(data, type=Plan)
        for fault in made.faults:
            fault.fault()
        for action in made.actions:
            action.action()
    except msgspec.DecodeError as error:
        raise ChaosError("KS-CHAOS-109", str(error)) from None
    if made.format != FORMAT:
        raise ChaosError("KS-CHAOS-109", f"a plan of format {made.format}, this is {FORMAT}")
    return made


def render(made: Plan) -> str:
    """The plan for people: every fault, arrival count, probe and check, in order of time."""
    lines = [
        f"{made.name}: {made.title}",
        f"seed {made.seed}, fault phase {made.duration_s:g} s, lease {made.lease_s:g} s",
        "",
        "faults",
    ]
    for fault in made.faults:
        lines.append(f"  {_interval(fault)}  {fault.id}: {fault.fault().summary()}")
    if made.actions:
        lines += ["", "actions"]
    for action in made.actions:
        begin = f"{action.at:8.3f} s" if action.cue is None else action.cue.text()
        must = f", must be {action.must}" if action.must else ""
        lines.append(f"  {begin}  {action.id}: {action.summary()}{must}")
    if made.load is not None:
        lines += ["", f"load: {describe_load(made.load)}"]
        lines += [f"  {text}" for text in made.load.thresholds]
    if made.arrivals:
        lines += ["", f"workload: {len(made.arrivals)} arrivals"]
        lines += [f"  {a.at:8.3f} s  {a.op} {a.target}".rstrip() for a in made.arrivals]
    lines += ["", "hypothesis", *(f"  {probe.label()}" for probe in made.probes)]
    if made.recover_s is not None:
        lines.append(f"  the live ones of `after` hold within {made.recover_s:g} s of the heal")
    if made.core:
        lines.append(f"  of the core within {made.core_s:g} s: {', '.join(made.core)}")
    lines += [f"  given up when {p.probe} {p.is_.text} for {p.grace_s:g} s" for p in made.aborts]
    lines += [f"  unattended from {begin:g} s to {end:g} s" for begin, end in made.unattended]
    if made.bug:
        lines += ["", f"negative control: with {made.bug}, {', '.join(made.expect)} fail"]
    return "\n".join([*lines, "", f"checks: {', '.join(made.checks)}"])


def _interval(fault: PlannedFault) -> str:
    """From when to when, in one column of the plan."""
    cure = ", then cured" if fault.cure else ""
    if fault.cue is None:
        end = "end of run" if fault.until is None else f"{fault.until:g} s"
        return f"{fault.at:8.3f} s .. {end}{cure}"
    lasts_s = fault.cue.lasts_s
    end = "to the end of run" if lasts_s is None else f"for {lasts_s:g} s"
    return f"{fault.cue.text()}, {end}{cure}"
