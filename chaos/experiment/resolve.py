"""From an experiment to a plan: every name, time and arrival resolved against one lab.

``check_fits`` says whether the schedule fits: time, blast radius, and no two faults that undo each
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from chaos.checks import ALWAYS
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.lint import BadExperiment
from chaos.experiment.model import Abort, Experiment, Probed
from chaos.experiment.plan import (
    Begun,
    Cue,
    Ended,
    Needs,
    Plan,
    PlannedAction,
    PlannedFault,
    PlannedProbe,
)
from chaos.experiment.timeline import Placed, Timeline, both_hold, settings_of, vms_of
from chaos.hypotheses.probes import PROBES
from chaos.lab import Directory
from chaos.load.planned import PlannedLoad, operation_of
from chaos.selectors import select_nodes, select_vms
from chaos.workload import (
    ARRIVALS_LIMIT,
    OPERATIONS,
    Arrival,
    draw_arrivals,
    number_arrivals,
)
from chaos.yaml_file import ValuePath
from protocol.terms import NodeName, Role, VmName

BUDGET_OF = {"hosts": Role.ESXI, "kms": Role.KMS, "vcenter": Role.VCENTER}


def check_fits(
    experiment: Experiment, placed: list[Placed], directory: Directory, duration_s: float
) -> None:
    """Note in the experiment's document what does not."""
    _time(experiment, placed, duration_s)
    faults = [(place, one) for place, one in placed if isinstance(one, PlannedFault)]
    _radius(experiment, [fault for _, fault in faults], directory)
    sure = [(place, f) for place, f in faults if f.cue is None and not f.drawn]
    holding = [(place, f) for place, f in sure if settings_of(f.fault())]
    for number, (_, first) in enumerate(holding):
        if experiment.document.full:
            return
        for place, second in holding[number + 1 :]:
            if first.until is not None and second.at > first.until:
                break  # they are in order of their begins: no later one meets it
            if held := both_hold(first, second, duration_s):
                text = f"{first.id!r} and {second.id!r} hold the {held} at the same time"
                experiment.document.add(("schedule", place), "KS-CHAOS-020", text)


def _time(experiment: Experiment, placed: list[Placed], duration_s: float) -> None:
    document, limit = experiment.document, experiment.guards.max_duration
    if duration_s > limit:
        text = f"the schedule takes {duration_s:g} s, max_duration is {limit:g} s"
        document.add(("guards",), "KS-CHAOS-013", text)
    for number, planned in placed:
        place = ("schedule", number)
        end = (planned.until if isinstance(planned, PlannedFault) else None) or planned.at
        if experiment.heading.duration is not None and planned.at > duration_s:
            text = f"{planned.id!r} begins at {planned.at:g} s, but the run takes {duration_s:g} s"
            document.add(place, "KS-CHAOS-013", text)
        elif max(planned.at, end) > limit >= duration_s:
            text = f"{planned.id!r} ends at {end:g} s, max_duration is {limit:g} s"
            document.add(place, "KS-CHAOS-013", text)


def _radius(experiment: Experiment, faults: list[PlannedFault], directory: Directory) -> None:
    roles = {entry.node: entry.role for entry in directory.nodes}
    touched = list(dict.fromkeys(node for f in faults for node in f.fault().touches()))
    for key, allowed in experiment.guards.blast_radius.items():
        path = ("guards", "blast_radius", key)
        role = BUDGET_OF.get(key)
        if role is None:
            used = sum(1 for f in faults if f.kind == key)
            bound = int(str(allowed))
        else:
            used = sum(1 for node in touched if roles[node] is role)
            total = sum(1 for kind in roles.values() if kind is role)
            text = str(allowed)
            bound = int(text[:-1]) * total // 100 if text.endswith("%") else int(text)
        if used > bound:
            text = f"{used} {key} are touched, {bound} are allowed"
            experiment.document.add(path, "KS-CHAOS-012", text)


AFTER_ALL: Final = 1_000_000
"""Of arrivals at one moment, those of the load come after all of the workload."""


def plan(experiment: Experiment, directory: Directory, seed: int) -> Plan:
    """Resolve ``experiment`` against one lab; ``seed`` fixes all that is drawn.

    Raises ``BadExperiment`` with every name, budget and time that does not fit.
    """
    document = experiment.document
    before = len(document.problems)
    placed = Timeline(experiment, directory, seed).place_entries()
    faults = [one.planned for one in placed if isinstance(one.planned, PlannedFault)]
    actions = [one.planned for one in placed if isinstance(one.planned, PlannedAction)]
    load = _plan_load(experiment, directory, seed)
    loads = [one.until for one in experiment.workload if one.until is not None]
    loads += [] if load is None else [load.until_s]
    duration_s = experiment.heading.duration or max(_ends(faults, actions), *loads, 0.0)
    check_fits(experiment, placed, directory, duration_s)
    _check_ends(experiment, load, duration_s)
    arrivals = _arrivals(experiment, load, directory, seed, duration_s)
    probes = [
        made
        for when in ("before", "during", "after")
        for place, probed in enumerate(getattr(experiment, when))
        for made in _probe(experiment, when, place, probed, directory, seed)
    ]
    aborts = _aborts(experiment, directory, seed)
    core = _core(experiment, directory, seed)
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
        core=core,
        core_s=experiment.final.core.within if experiment.final.core else 0.0,
        order=experiment.heading.order or "",
        requires=Needs(**experiment.requires.model_dump()),
        topology=experiment.topology,
        faults=tuple(faults),
        actions=tuple(actions),
        arrivals=arrivals,
        load=load,
        probes=tuple(probes),
        checks=tuple(dict.fromkeys((*ALWAYS, *experiment.checks))),
        aborts=aborts,
        unattended=tuple(
            (span.from_, round(span.from_ + span.for_, 6)) for span in experiment.guards.unattended
        ),
        bug=experiment.control.bug if experiment.control else "",
        expect=tuple(experiment.control.expect) if experiment.control else (),
    )


def _check_ends(experiment: Experiment, load: PlannedLoad | None, duration_s: float) -> None:
    """A load ends before its run does."""
    if load is not None and load.until_s > duration_s:
        text = f"it ends at {load.until_s:g} s, and the run lasts {duration_s:g} s"
        cure = "leave `duration` out, or shorten the load"
        experiment.document.add(("load",), "KS-CHAOS-004", text, cure)


def _core(experiment: Experiment, directory: Directory, seed: int) -> tuple[NodeName, ...]:
    """The nodes that are healed first; none when all are healed at once."""
    wanted, document = experiment.final.core, experiment.document
    if wanted is None:
        return ()
    path = ("final", "heal")
    try:
        core = select_nodes(wanted.core, directory, Draws(seed, "core"))
    except ChaosError as error:
        document.add(path, error.id, error.text)
        return ()
    if len(core) == len(directory.nodes):
        document.add(path, "KS-CHAOS-004", "this core is the whole lab: nothing stays faulted")
    if not any(PROBES[probed.probe].live for probed in experiment.after):
        document.add(path, "KS-CHAOS-003", "`after` has no live hypothesis for a core to hold")
    return core


def _ends(faults: Sequence[PlannedFault], actions: Sequence[PlannedAction]) -> float:
    """When all is over whose time is known; what waits for a cue takes its time after it."""
    ends = [at for fault in faults for at in (fault.at, fault.until) if at is not None]
    ends += [f.at + f.cue.lasts_s for f in faults if f.cue and f.cue.lasts_s is not None]
    return max([*ends, *(action.at for action in actions)], default=0.0)


def _arrivals(
    experiment: Experiment,
    load: PlannedLoad | None,
    directory: Directory,
    seed: int,
    duration_s: float,
) -> tuple[Arrival, ...]:
    document = experiment.document
    drawn: list[tuple[float, int, str, str]] = []
    expected = 0.0 if load is None else load.expected
    expected += sum(
        one.rate * max(0.0, min(one.until or duration_s, duration_s) - one.from_)
        for one in experiment.workload
        if one.rate is not None
    )
    if expected > ARRIVALS_LIMIT:
        text = f"some {expected:,.0f} operations are more than {ARRIVALS_LIMIT:,}"
        document.add(("workload",), "KS-CHAOS-004", text, "lower a rate, or shorten the run")
        return ()
    for place, one in enumerate(experiment.workload):
        draws = Draws(seed, f"workload/{place}/{one.op}")
        targets: tuple[str, ...] = ()
        if OPERATIONS[one.op].about == "vms":
            try:
                targets = select_vms(one.on or "all", directory, draws)
            except ChaosError as error:
                document.add(("workload", place), error.id, error.text)
                continue
        if one.rate is None:
            drawn.append((one.at or 0.0, place, one.op, targets[0] if targets else ""))
            continue
        until = duration_s if one.until is None else min(one.until, duration_s)
        for at, target in draw_arrivals(one.rate, (one.from_, until), targets, draws):
            drawn.append((at, place, one.op, target))
    if load is not None:
        drawn += [(at, AFTER_ALL, op, target) for at, op, target in load.draw_arrivals(seed)]
    drawn.sort()
    return number_arrivals((at, op, target) for at, _, op, target in drawn)


def _plan_load(experiment: Experiment, directory: Directory, seed: int) -> PlannedLoad | None:
    """The load with the VMs that its selector chooses; None when none is offered."""
    offered = experiment.load
    if offered is None:
        return None
    load = offered.plan_load()
    wanted = any(OPERATIONS[operation_of(word)].about == "vms" for word in load.mix)
    if not wanted and offered.on is None:
        return load
    try:
        targets = select_vms(offered.on or "all", directory, Draws(seed, "load"))
    except ChaosError as error:
        experiment.document.add(("load",), error.id, error.text)
        return load
    return msgspec.structs.replace(load, on=tuple(targets))


def _scope(
    experiment: Experiment,
    probed: Probed | Abort,
    path: ValuePath,
    directory: Directory,
    draws: Draws,
) -> dict[str, Any] | None:
    """The fields ``vms`` and ``hosts`` of a probe; None when its selector does not fit."""
    about = PROBES[probed.probe].about
    vms: tuple[VmName, ...] = ()
    hosts: tuple[NodeName, ...] = ()
    try:
        if about == "vms":
            vms = directory.vms
            if probed.on is not None:
                vms = vms_of(experiment, probed.on, directory, draws)
        elif about == "hosts":
            chosen = select_nodes(probed.on or "role:esxi", directory, draws)
            roles = {entry.node: entry.role for entry in directory.nodes}
            hosts = tuple(node for node in chosen if roles[node] is Role.ESXI)
    except ChaosError as error:
        experiment.document.add(path, error.id, error.text)
        return None
    return {"vms": vms, "hosts": hosts}


def _aborts(experiment: Experiment, directory: Directory, seed: int) -> tuple[PlannedProbe, ...]:
    return tuple(
        made
        for place, abort in enumerate(experiment.guards.abort_if)
        for made in _abort(experiment, place, abort, directory, seed)
    )


def _abort(
    experiment: Experiment, place: int, abort: Abort, directory: Directory, seed: int
) -> list[PlannedProbe]:
    draws = Draws(seed, f"probe/abort/{place}")
    scope = _scope(experiment, abort, ("guards", "abort_if", place), directory, draws)
    if scope is None:
        return []
    return [
        PlannedProbe(
            when="abort",
            probe=abort.probe,
            is_=abort.limit,
            view=abort.view,
            every_s=abort.every,
            grace_s=abort.for_,
            **scope,
        )
    ]


def _probe(
    experiment: Experiment, when: str, place: int, probed: Probed, directory: Directory, seed: int
) -> list[PlannedProbe]:
    draws = Draws(seed, f"probe/{when}/{place}")
    scope = _scope(experiment, probed, ("hypothesis", when, place), directory, draws)
    if scope is None:
        return []
    return [
        PlannedProbe(
            when=when,
            probe=probed.probe,
            is_=probed.is_,
            op=probed.op,
            view=probed.view,
            within_s=probed.within,
            start=probed.from_,
            until=probed.until,
            every_s=probed.every,
            grace_s=probed.grace,
            cue=_cue(probed),
            **scope,
        )
    ]


def _cue(probed: Probed) -> Cue | None:
    after = probed.after
    if after is None:
        return None
    what = Ended(of=after.id) if after.end else Begun(of=after.id)
    return Cue(what=what, delay_s=after.plus, lasts_s=probed.for_)
