"""What differs between two runs, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.checks.result import CheckOutcome
from chaos.report.availability import VmSightings
from chaos.report.axis import moment
from chaos.report.compare import Apart, Both, compare_runs
from chaos.report.headline import outages
from chaos.report.lanes import Segment
from chaos.report.story import Story

_NAMED: Final = 5
"""Of more hosts, VMs or checks these are named, and the others counted."""
_NOTICEABLE_S: Final = 1.0
"""Lab seconds; how long VMs were down differs by less in runs of one kind."""


@dataclass(frozen=True)
class _DownTime:
    """How long a VM was down in a run, and whether it ran at the end."""

    seconds: float
    back: bool


def tell_differences(a: Story, b: Story) -> tuple[str, ...]:
    """What is otherwise in ``b``, the second run: its fork, the verdict, VMs, hosts, checks."""
    compared = compare_runs(a, b)
    found = [
        *_tell_fork(a, b),
        f"Both runs end with the verdict {a.word}."
        if a.word == b.word
        else f"The verdict is {b.word}; that of the first is {a.word}.",
        *_tell_vms(_down_times(a), _down_times(b)),
        *_tell_hosts([one for one in compared.apart if one.name not in a.directory.vms]),
        *_tell_checks([both for both in compared.checks if both.differs]),
    ]
    return tuple(found)


def _tell_fork(a: Story, b: Story) -> Iterator[str]:
    if not b.fork_of or b.fork_of != a.run:
        return
    known = {fault.id for fault in a.plan.faults}
    for fault in b.plan.forks():
        if fault.id not in known:
            lasts = "" if fault.until is None else f" for {moment(fault.until - fault.at)}"
            same = f"Until {moment(b.fork_at)} both runs are the same."
            yield f"{same} Then the second has: {fault.fault().summary()}{lasts}."


def _down_times(story: Story) -> dict[str, _DownTime]:
    seen = VmSightings(story.records)
    found = {}
    for lane in story.lanes:
        if lane.vm:
            parts = outages(lane, story.seconds, seen)
            found[lane.name] = _DownTime(
                sum(part.seconds for part in parts), all(part.back for part in parts)
            )
    return found


def _tell_vms(a: Mapping[str, _DownTime], b: Mapping[str, _DownTime]) -> Iterator[str]:
    both = [name for name in a if name in b]
    fell = [name for name in both if not a[name].seconds and b[name].seconds]
    stayed = [name for name in both if a[name].seconds and not b[name].seconds]
    rest = [name for name in both if a[name].seconds and b[name].seconds]
    if fell:
        longest = moment(round(max(b[name].seconds for name in fell)))
        yield f"{_count(fell)} down in the second run only, for {longest} at most: {_names(fell)}."
    if stayed:
        yield f"{_count(stayed)} down in the first run only: {_names(stayed)}."

    def by(name: str) -> float:
        return b[name].seconds - a[name].seconds

    for word, sign in (("longer", 1), ("shorter", -1)):
        some = [name for name in rest if sign * by(name) >= _NOTICEABLE_S]
        if some:
            most = moment(round(max(abs(by(name)) for name in some)))
            told = f"down for {word} in the second run, by {most} at most"
            yield f"{_count(some)} {told}: {_names(some)}."
    left = [name for name in both if a[name].back and not b[name].back]
    if left:
        yield f"{_count(left)} not running at the end, in the second run only: {_names(left)}."
    if not (fell or stayed or left or any(abs(by(name)) >= _NOTICEABLE_S for name in rest)):
        yield "Every VM was down for the same time in both."


def _tell_hosts(found: Sequence[Apart]) -> Iterator[str]:
    for one in found[:_NAMED]:
        yield f"{one.name}: {_state(one.b)} in the second run, {_state(one.a)} in the first."
    if len(found) > _NAMED:
        yield f"{len(found) - _NAMED} more hosts went another way."


def _state(segment: Segment | None) -> str:
    if segment is None:
        return "no change"
    return f"{segment.states[0]} from {moment(round(segment.begin, 1))} on"


_ENDED: Final[Mapping[CheckOutcome | None, str]] = {
    CheckOutcome.PASS: "passes",
    CheckOutcome.FAIL: "fails",
    CheckOutcome.UNKNOWN: "is unknown",
    None: "is not judged",
}


def _tell_checks(found: Sequence[Both]) -> Iterator[str]:
    for both in found[:_NAMED]:
        first, second = (None if one is None else one.result for one in (both.a, both.b))
        told = f": {both.b.text}" if both.b is not None and both.b.text else ""
        yield (
            f"{both.name} {_ENDED[second]} in the second run and {_ENDED[first]} in the "
            f"first{told}."
        )
    if len(found) > _NAMED:
        yield f"{len(found) - _NAMED} more checks end otherwise."


def _count(names: Sequence[str]) -> str:
    return "1 VM was" if len(names) == 1 else f"{len(names)} VMs were"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
