"""A plan: an experiment with every target, time and arrival resolved against one lab.

Plain values only, so it can be printed, stored with a run, and replayed without the file.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chaos.checks import ALWAYS
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.lint import BadExperiment
from chaos.experiment.model import Experiment, Probed, ScheduledFault
from chaos.experiment.parse import Document
from chaos.faults import from_plain, to_plain
from chaos.faults.base import Fault, Targets
from chaos.hypotheses.probes import PROBES, Scope
from chaos.hypotheses.tolerance import Tolerance
from chaos.lab import Directory
from chaos.selectors import select_nodes, select_vms
from chaos.workload import ARRIVALS_LIMIT, OPERATIONS, Arrival, draw_arrivals
from chaos.yaml_file import Path
from protocol.terms import NodeName, Role, VmName

FORMAT = 3


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault and its interval, in lab seconds after the begin of the fault phase.

    ``until`` None: to the end of the phase. ``values`` are those of the fault as plain data, and
    ``cure`` says whether its end also cures what has no undo. One that was ``drawn`` at random may
    meet a lab in which it can do nothing, or not end yet, because of another: it is missed then, or
    ends with the phase; any other makes the run an error of the harness.
    """

    id: str
    kind: str
    at: float
    until: float | None
    cure: bool
    values: dict[str, Any]
    drawn: bool = False

    def fault(self) -> Fault:
        """The fault itself; ``ChaosError`` KS-CHAOS-109 when the values are none."""
        return from_plain(self.values)


class PlannedProbe(msgspec.Struct, frozen=True, kw_only=True):
    """A hypothesis: ``when`` is before, during or after; times are lab seconds.

    ``start`` and ``until`` are counted from the begin of the fault phase (None: to its end). Of
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
    probes of ``after`` may take to hold (None: they must hold at once). ``settle_s`` pass after
    the heal before anything is judged. ``order`` is how the simulation orders what is ready at
    once; empty: as the seed draws it.
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
    order: str = ""
    requires: Needs
    topology: Any
    faults: tuple[PlannedFault, ...]
    arrivals: tuple[Arrival, ...]
    probes: tuple[PlannedProbe, ...]
    checks: tuple[str, ...]


def plan(experiment: Experiment, directory: Directory, seed: int) -> Plan:
    """Resolve ``experiment`` against one lab; ``seed`` fixes all that is drawn.

    Raises ``BadExperiment`` with every name, budget and time that does not fit.
    """
    document = experiment.document
    before = len(document.problems)
    by_id = {scheduled.id: scheduled for scheduled in experiment.faults}
    begins: dict[str, float] = {}
    faults: list[PlannedFault] = []
    for place, scheduled in enumerate(experiment.faults):
        at = round(_begin(scheduled, by_id, begins), 6)
        made = _fault(document, ("schedule", place), scheduled, at, directory, seed)
        if made is not None:
            faults.append(made)
    ends = [at for fault in faults for at in (fault.at, fault.until) if at is not None]
    duration_s = experiment.heading.duration or max(ends, default=0.0)
    _fits(document, experiment, faults, directory, duration_s)
    arrivals = _arrivals(document, experiment, directory, seed, duration_s)
    probes = [
        made
        for when in ("before", "during", "after")
        for place, probed in enumerate(getattr(experiment, when))
        for made in _probe(document, when, place, probed, directory, seed)
    ]
    problems = document.problems[before:]
    del document.problems[before:]
    if problems:
        raise BadExperiment(problems, document)
    return Plan(
        name=experiment.heading.name,
        title=experiment.heading.title,
        seed=seed,
        file=document.file,
        duration_s=duration_s,
        max_duration_s=experiment.guards.max_duration,
        lease_s=experiment.guards.lease,
        recover_s=experiment.recover,
        settle_s=experiment.final.settle,
        order=experiment.heading.order or "",
        requires=Needs(**experiment.requires.model_dump()),
        topology=experiment.topology,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        arrivals=arrivals,
        probes=tuple(probes),
        checks=tuple(dict.fromkeys((*ALWAYS, *experiment.checks))),
    )


def _begin(
    scheduled: ScheduledFault, by_id: dict[str, ScheduledFault], known: dict[str, float]
) -> float:
    """When a fault begins; lint has seen that references end somewhere. ``known`` grows."""
    chain = [scheduled]
    while chain[-1].id not in known and chain[-1].entry.after is not None:
        chain.append(by_id[chain[-1].entry.after.id])
    for link in reversed(chain):
        if link.id not in known:
            after = link.entry.after
            known[link.id] = link.entry.at or 0.0 if after is None else known[after.id] + after.plus
    return known[scheduled.id]


def _fault(
    document: Document,
    path: Path,
    scheduled: ScheduledFault,
    at: float,
    directory: Directory,
    seed: int,
) -> PlannedFault | None:
    try:
        targets = Targets(directory, _draws(seed, scheduled.id))
        fault = scheduled.type.of(scheduled.id, scheduled.params, targets)
    except ChaosError as error:
        document.add(path, error.id, error.text)
        return None
    lasts_s = scheduled.entry.for_ if scheduled.entry.for_ is not None else scheduled.type.lasts_s
    until = None if lasts_s is None else round(at + lasts_s, 6)
    return PlannedFault(
        id=scheduled.id,
        kind=fault.kind,
        at=at,
        until=until,
        cure=scheduled.entry.cure,
        values=to_plain(fault),
        drawn=scheduled.entry.drawn,
    )


def _draws(seed: int, name: str) -> Draws:
    return Draws(seed, f"fault/{name}")


def _fits(
    document: Document,
    experiment: Experiment,
    faults: list[PlannedFault],
    directory: Directory,
    duration_s: float,
) -> None:
    """Time limit, blast radius, and no two faults that hold the power of one node at once."""
    limit = experiment.guards.max_duration
    if duration_s > limit:
        text = f"the schedule takes {duration_s:g} s, max_duration is {limit:g} s"
        document.add(("guards",), "KS-CHAOS-013", text)
    places = {scheduled.id: place for place, scheduled in enumerate(experiment.faults)}
    for fault in faults:
        place = ("schedule", places[fault.id])
        if experiment.heading.duration is not None and fault.at >= duration_s:
            text = f"{fault.id!r} begins at {fault.at:g} s, but the run takes {duration_s:g} s"
            document.add(place, "KS-CHAOS-013", text)
        elif max(fault.at, fault.until or 0.0) > limit >= duration_s:
            text = f"{fault.id!r} ends at {fault.until:g} s, max_duration is {limit:g} s"
            document.add(place, "KS-CHAOS-013", text)
    roles = {entry.node: entry.role for entry in directory.nodes}
    touched = list(dict.fromkeys(node for f in faults for node in f.fault().touches()))
    budget_of = {"hosts": Role.ESXI, "kms": Role.KMS, "vcenter": Role.VCENTER}
    for key, allowed in experiment.guards.blast_radius.items():
        path = ("guards", "blast_radius", key)
        role = budget_of.get(key)
        if role is None:
            used = sum(1 for f in faults if f.kind == key)
            bound = int(str(allowed))
        else:
            used = sum(1 for node in touched if roles[node] is role)
            total = sum(1 for kind in roles.values() if kind is role)
            text = str(allowed)
            bound = int(text[:-1]) * total // 100 if text.endswith("%") else int(text)
        if used > bound:
            document.add(path, "KS-CHAOS-012", f"{used} {key} are touched, {bound} are allowed")
    for first, second in _clashes(faults, duration_s):
        text = f"{first.id!r} and {second.id!r} hold the power of the same node at the same time"
        document.add(("schedule", places[second.id]), "KS-CHAOS-020", text)


def _clashes(
    faults: list[PlannedFault], duration_s: float
) -> list[tuple[PlannedFault, PlannedFault]]:
    holding = [f for f in faults if f.fault().holds_power]
    found = []
    for place, first in enumerate(holding):
        for second in holding[place + 1 :]:
            ends = [duration_s if f.until is None else f.until for f in (first, second)]
            apart = first.at > ends[1] or second.at > ends[0]
            nodes = set(first.fault().touches())
            if not apart and any(node in nodes for node in second.fault().touches()):
                found.append((first, second))
    return found


def _arrivals(
    document: Document, experiment: Experiment, directory: Directory, seed: int, duration_s: float
) -> tuple[Arrival, ...]:
    drawn: list[tuple[float, int, str, str]] = []
    expected = sum(
        load.rate * max(0.0, min(load.until or duration_s, duration_s) - load.from_)
        for load in experiment.workload
        if load.rate is not None
    )
    if expected > ARRIVALS_LIMIT:
        text = f"some {expected:,.0f} operations are more than {ARRIVALS_LIMIT:,}"
        document.add(("workload",), "KS-CHAOS-004", text, "lower a rate, or shorten the run")
        return ()
    for place, load in enumerate(experiment.workload):
        draws = Draws(seed, f"workload/{place}/{load.op}")
        targets: tuple[str, ...] = ()
        if OPERATIONS[load.op].about == "vms":
            try:
                targets = select_vms(load.on or "all", directory, draws)
            except ChaosError as error:
                document.add(("workload", place), error.id, error.text)
                continue
        if load.rate is None:
            drawn.append((load.at or 0.0, place, load.op, targets[0] if targets else ""))
            continue
        until = duration_s if load.until is None else min(load.until, duration_s)
        for at, target in draw_arrivals(load.rate, (load.from_, until), targets, draws):
            drawn.append((at, place, load.op, target))
    drawn.sort()
    return tuple(
        Arrival(at=at, op=op, target=target, number=number)
        for number, (at, _, op, target) in enumerate(drawn, start=1)
    )


def _probe(
    document: Document, when: str, place: int, probed: Probed, directory: Directory, seed: int
) -> list[PlannedProbe]:
    about = PROBES[probed.probe].about
    draws = Draws(seed, f"probe/{when}/{place}")
    vms: tuple[VmName, ...] = ()
    hosts: tuple[NodeName, ...] = ()
    try:
        if about == "vms":
            vms = directory.vms if probed.on is None else select_vms(probed.on, directory, draws)
        elif about == "hosts":
            chosen = select_nodes(probed.on or "role:esxi", directory, draws)
            roles = {entry.node: entry.role for entry in directory.nodes}
            hosts = tuple(node for node in chosen if roles[node] is Role.ESXI)
    except ChaosError as error:
        document.add(("hypothesis", when, place), error.id, error.text)
        return []
    return [
        PlannedProbe(
            when=when,
            probe=probed.probe,
            is_=probed.is_,
            vms=vms,
            hosts=hosts,
            op=probed.op,
            view=probed.view,
            within_s=probed.within,
            start=probed.from_,
            until=probed.until,
            every_s=probed.every,
            grace_s=probed.grace,
        )
    ]


def dump_plan(made: Plan) -> bytes:
    """The plan as JSON, as it is stored with a run."""
    return msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"


def load_plan(data: bytes) -> Plan:
    """The plan that ``dump_plan`` wrote; KS-CHAOS-109 when it is none of this version's."""
    try:
        made = msgspec.json.decode(data, type=Plan)
        for fault in made.faults:
            fault.fault()
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
        end = "end of run" if fault.until is None else f"{fault.until:g} s"
        cure = ", then cured" if fault.cure else ""
        lines.append(f"  {fault.at:8.3f} s .. {end}{cure}  {fault.id}: {fault.fault().summary()}")
    if made.arrivals:
        lines += ["", f"workload: {len(made.arrivals)} arrivals"]
        lines += [f"  {a.at:8.3f} s  {a.op} {a.target}".rstrip() for a in made.arrivals]
    lines += ["", "hypothesis", *(f"  {probe.label()}" for probe in made.probes)]
    if made.recover_s is not None:
        lines.append(f"  the live ones of `after` hold within {made.recover_s:g} s of the heal")
    return "\n".join([*lines, "", f"checks: {', '.join(made.checks)}"])
