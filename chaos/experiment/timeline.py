"""The entries of a schedule on one timeline: begins worked out, repeats and batches written out,
names resolved, random faults drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from chaos.actions.base import Action, ActionTarget
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.generate import RANDOM, Mix, schedule
from chaos.experiment.model import After, Experiment, Point, Rolling, Scheduled, ScheduledSwarm
from chaos.experiment.plan import Begun, Cue, Ended, Planned, PlannedAction, PlannedFault, Seen
from chaos.faults import to_plain
from chaos.faults.base import Fault, Targets
from chaos.faults.points import select_node
from chaos.lab import Directory
from chaos.points import Strike
from chaos.selectors import select_nodes, select_vms
from protocol.terms import NodeName, Role, VmName

PLANNED_LIMIT: Final = 10_000
"""So many faults and actions of a plan, with all repeats; nobody reads more."""


class Slot(NamedTuple):
    """One time that an entry is played: its id, begin and the fields that differ."""

    id: str
    at: float
    cue: Cue | None
    fields: dict[str, Any]


class Placed(NamedTuple):
    """What is planned, and the place of its entry in the schedule."""

    place: int
    planned: Planned


class Timeline:
    """Writes out the schedule of one experiment against one lab; problems go into the document."""

    def __init__(self, experiment: Experiment, directory: Directory, seed: int) -> None:
        self._experiment, self._directory, self._seed = experiment, directory, seed
        self._by_id = {made.id: made for made in experiment.schedule}
        self._begins: dict[str, tuple[float, Cue | None]] = {}

    def place_entries(self) -> list[Placed]:
        """Everything in the order of its begin, as far as that is known."""
        found: list[Placed] = []
        for made in self._experiment.schedule:
            try:
                found += [Placed(made.place, one) for one in self._entry(made)]
            except ChaosError as error:
                self._problem(made.place, error.id, error.text)
            if len(found) > PLANNED_LIMIT:
                text = f"more than {PLANNED_LIMIT} faults and actions"
                self._problem(made.place, "KS-CHAOS-004", text)
                return []
        for swarm in self._experiment.swarms:
            faults = [one.planned for one in found if isinstance(one.planned, PlannedFault)]
            written = [f for f in faults if f.cue is None and settings_of(f.fault())]
            found += [Placed(swarm.place, fault) for fault in self._draw_faults(swarm, written)]
        self._unique(found)
        return sorted(found, key=lambda one: one.planned.at)

    def _problem(self, place: int, id: str, text: str) -> None:
        self._experiment.document.add(("schedule", place), id, text)

    def _unique(self, found: list[Placed]) -> None:
        """Repeats have ids of their own, which no other entry may have."""
        seen: set[str] = set()
        for place, planned in found:
            if planned.id in seen:
                self._problem(place, "KS-CHAOS-007", f"{planned.id!r} would be there twice")
            seen.add(planned.id)

    # Begins --------------------------------------------------------------------------------

    def _begin(self, made: Scheduled) -> tuple[float, Cue | None]:
        """When an entry begins first; lint has seen that references end somewhere."""
        chain = [made]
        while chain[-1].id not in self._begins and chain[-1].entry.after is not None:
            chain.append(self._by_id[chain[-1].entry.after.id])
        for link in reversed(chain):
            if link.id not in self._begins:
                at, cue = self._first(link)
                self._begins[link.id] = round(at, 6), cue
        return self._begins[made.id]

    def _first(self, made: Scheduled) -> tuple[float, Cue | None]:
        """Of an entry, when what it comes after is known already."""
        entry, lasts_s = made.entry, _lasts_s(made)
        if entry.when is not None:
            on = self._names(made, entry.when.on) if entry.when.on is not None else ()
            what = Seen(event=entry.when.event, on=on, nth=entry.when.nth)
            plus = entry.when.plus
            return plus, Cue(what=what, delay_s=plus, lasts_s=lasts_s, optional=entry.optional)
        if entry.point is not None:
            return entry.point.from_, Cue(
                what=self._strike(made, entry.point), lasts_s=lasts_s, optional=entry.optional
            )
        if entry.after is None:
            return entry.at or 0.0, None
        at, cue = self._begins[entry.after.id]
        if entry.after.end:
            before = _lasts_s(self._by_id[entry.after.id]) or 0.0
            return at + before + entry.after.plus, self._after_end(made, entry.after, lasts_s)
        if cue is None:
            return at + entry.after.plus, None
        return at + entry.after.plus, Cue(
            what=Begun(of=entry.after.id),
            delay_s=entry.after.plus,
            lasts_s=lasts_s,
            optional=entry.optional,
        )

    def _strike(self, made: Scheduled, point: Point) -> Strike:
        """What the entry waits for, with the blow of its fault."""
        targets = Targets(self._directory, self._draws(made))
        return Strike(
            node=select_node(made.params, targets),
            call=point.call,
            blow=made.params.blow,
            function=point.function,
            path=point.path,
            nth=point.nth,
            start=point.from_,
        )

    def _after_end(self, made: Scheduled, after: After, lasts_s: float | None) -> Cue:
        """Of an entry that begins when another has ended, and what it waits for then."""
        once = made.entry.once
        ended = Ended(of=after.id)
        if once is not None:
            nodes = select_nodes(once.on, self._directory, self._draws(made))
            ended = Ended(of=after.id, wait=once.wait, nodes=nodes, within_s=once.within)
        return Cue(what=ended, delay_s=after.plus, lasts_s=lasts_s, optional=made.entry.optional)

    def _names(self, made: Scheduled, selector: Any) -> tuple[str, ...]:
        """Nodes that are selected; VMs when no node is."""
        draws = self._draws(made)
        try:
            return tuple(map(str, select_nodes(selector, self._directory, draws)))
        except ChaosError as error:
            try:
                return tuple(map(str, select_vms(selector, self._directory, draws)))
            except ChaosError:
                raise error from None

    def _draws(self, made: Scheduled) -> Draws:
        return Draws(self._seed, f"fault/{made.id}")

    # Entries -------------------------------------------------------------------------------

    def _entry(self, made: Scheduled) -> Iterator[Planned]:
        at, cue = self._begin(made)
        rolling = made.entry.rolling
        slots = self._batches(made, rolling, at, cue) if rolling else self._times(made, at, cue)
        for slot in slots:
            fields = made.params.model_copy(update=slot.fields)
            if isinstance(made.what, Action):
                yield self._action(made, made.what, slot, fields)
            else:
                yield self._fault(made, made.what, slot, fields)

    def _times(self, made: Scheduled, at: float, cue: Cue | None) -> Iterator[Slot]:
        """Once, or ``every`` so often: ``times`` times, or up to the end of the run."""
        every, times, end = made.entry.every, made.entry.times, self._experiment.heading.duration
        yield Slot(made.id, at, cue, {})
        if every is None:
            return
        if times is None and end is None:
            text = "`every` needs `times`, or a `duration` of the whole run"
            raise ChaosError("KS-CHAOS-003", text)
        for number in range(1, times or PLANNED_LIMIT + 1):  # one more is told as too many
            later = round(at + number * every, 6)
            if times is None and end is not None and later + (_lasts_s(made) or 0.0) > end:
                return
            moved = _later(cue, number * every) if cue is not None else None
            yield Slot(f"{made.id}-{number + 1}", later, moved, {})

    def _batches(
        self, made: Scheduled, rolling: Rolling, at: float, cue: Cue | None
    ) -> Iterator[Slot]:
        """One batch after another, each when the one before has ended and waited."""
        draws, lasts_s, waits = self._draws(made), _lasts_s(made), rolling.wait is not None
        nodes: tuple[NodeName, ...] = ()
        if isinstance(made.what, Action) and made.what.about is ActionTarget.VMS:
            chosen = tuple(map(str, select_vms(rolling.over, self._directory, draws)))
        else:
            nodes = select_nodes(rolling.over, self._directory, draws)
            chosen = tuple(map(str, nodes))
        batches = [chosen[i : i + rolling.batch] for i in range(0, len(chosen), rolling.batch)]
        before = ""
        for number, batch in enumerate(batches):
            id = made.id if not number else f"{made.id}-{number + 1}"
            if before:
                ended = Ended(
                    of=before,
                    wait=rolling.wait or "",
                    nodes=tuple(map(NodeName, batches[number - 1])) if nodes and waits else (),
                    within_s=rolling.within if waits else 0.0,
                )
                cue = Cue(
                    what=ended,
                    delay_s=rolling.gap,
                    lasts_s=lasts_s,
                    optional=made.entry.optional,
                )
            later = round(at + number * ((lasts_s or 0.0) + rolling.gap), 6)
            yield Slot(id, later, cue, {"on": list(batch)})
            before = id

    def _fault(self, made: Scheduled, what: type[Fault], slot: Slot, params: Any) -> PlannedFault:
        targets = Targets(self._directory, Draws(self._seed, f"fault/{slot.id}"))
        fault = what.of(slot.id, params, targets)
        lasts_s = _lasts_s(made)
        timed = slot.cue is None and lasts_s is not None
        return PlannedFault(
            id=slot.id,
            kind=fault.kind,
            at=slot.at,
            until=round(slot.at + lasts_s, 6) if timed and lasts_s is not None else None,
            cure=made.entry.cure,
            values=to_plain(fault),
            drawn=made.entry.drawn,
            cue=slot.cue,
        )

    def _action(self, made: Scheduled, what: Action, slot: Slot, params: Any) -> PlannedAction:
        draws, chosen = Draws(self._seed, f"fault/{slot.id}"), getattr(params, "on", None)
        targets: tuple[str, ...] = ("",)
        if what.about is ActionTarget.VMS:
            targets = tuple(map(str, vms_of(self._experiment, chosen, self._directory, draws)))
        elif what.about is ActionTarget.HOSTS:
            hosts = {entry.node for entry in self._directory.nodes if entry.role is Role.ESXI}
            nodes = select_nodes(chosen, self._directory, draws)
            targets = tuple(str(node) for node in nodes if node in hosts)
        if not targets:
            raise ChaosError("KS-CHAOS-010", f"{chosen} selects no host")
        return PlannedAction(
            id=slot.id,
            do=what.kind,
            at=slot.at,
            targets=targets,
            values=params.model_dump(mode="json", exclude={"on"}, exclude_none=True),
            must=made.entry.must or "",
            cue=slot.cue,
        )

    # Swarms --------------------------------------------------------------------------------

    def _draw_faults(
        self, swarm: ScheduledSwarm, written: list[PlannedFault]
    ) -> list[PlannedFault]:
        """The faults of a random entry that fit beside those that are written, and into the
        budgets of the file."""
        asked = swarm.random
        mix = Mix(
            kinds=RANDOM if asked.kinds is None else tuple(asked.kinds),
            from_s=asked.from_,
            until_s=asked.until,
            every_s=asked.every.mean,
            for_s=asked.for_.mean,
            even=(not asked.every.drawn, not asked.for_.drawn),
            least_s=asked.least,
            omit=asked.swarm.omit,
            quiet=asked.swarm.quiet,
            reshuffle_s=asked.swarm.reshuffle,
            overlap=asked.overlap,
            composites=asked.composites,
        )
        found: list[PlannedFault] = []
        used: dict[str, int] = {}
        budgets = self._experiment.guards.blast_radius
        seed = Draws(self._seed, f"random/{swarm.id}").below(1 << 53)
        for fault in schedule(mix, self._directory, seed):
            used[fault.kind] = used.get(fault.kind, 0) + 1
            over = fault.kind in budgets and used[fault.kind] > int(budgets[fault.kind])
            if over or any(both_hold(fault, other) for other in written):
                continue
            id = f"{swarm.id}-{fault.id}"
            values = {**fault.values, "id": id}
            found.append(_rename(fault, id, values))
        return found


def vms_of(
    experiment: Experiment, selector: Any, directory: Directory, draws: Draws
) -> tuple[VmName, ...]:
    """VMs of the lab; those that the schedule itself makes by their names. ``ChaosError``
    KS-CHAOS-010 when there is none, 011 for what is no selector."""
    try:
        return select_vms(selector, directory, draws)
    except ChaosError as error:
        made = [getattr(entry.params, "name", None) for entry in experiment.schedule]
        more = tuple(VmName(name) for name in made if name)
        whole = msgspec.structs.replace(directory, vms=directory.vms + more)
        try:
            return select_vms(selector, whole, draws)
        except ChaosError:
            raise error from None


def _rename(fault: PlannedFault, id: str, values: dict[str, Any]) -> PlannedFault:
    return PlannedFault(
        id=id,
        kind=fault.kind,
        at=fault.at,
        until=fault.until,
        cure=fault.cure,
        values=values,
        drawn=True,
    )


def _lasts_s(made: Scheduled) -> float | None:
    """How long the interval of a fault is; None to the end, and of an action."""
    if isinstance(made.what, Action) or made.entry.for_ is not None:
        return made.entry.for_
    return made.what.lasts_s


def _later(cue: Cue, by_s: float) -> Cue:
    return Cue(
        what=cue.what,
        delay_s=round(cue.delay_s + by_s, 6),
        lasts_s=cue.lasts_s,
        optional=cue.optional,
    )


def both_hold(first: PlannedFault, second: PlannedFault, end_s: float = float("inf")) -> str:
    """What two faults hold at the same time, such as ``power of esxi-001``, so that the end of one
    would end the other; empty when there is nothing. The phase ends at ``end_s``. Of one that
    waits for a cue nobody knows."""
    if first.cue is not None or second.cue is not None:
        return ""
    ends = [end_s if f.until is None else f.until for f in (first, second)]
    if first.at > ends[1] or second.at > ends[0]:
        return ""
    held = settings_of(second.fault())
    return next((one for one in settings_of(first.fault()) if one in held), "")


def settings_of(fault: Fault) -> tuple[str, ...]:
    """Its settings, and the power of its nodes when it decides over that."""
    power = fault.touches() if fault.holds_power else ()
    return (*(f"power of {node}" for node in power), *fault.holds())
