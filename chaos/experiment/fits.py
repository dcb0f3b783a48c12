"""Whether a schedule fits: time, blast radius, and no two faults that undo each other."""

from __future__ import annotations

from chaos.experiment.model import Experiment
from chaos.experiment.plan import PlannedFault
from chaos.experiment.timeline import Placed, both_hold, settings_of
from chaos.lab import Directory
from protocol.terms import Role

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
