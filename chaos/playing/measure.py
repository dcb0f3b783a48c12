"""What is observed through a run.

Hypotheses are measured once, again and again during the fault phase, or until they hold.
``RunWatch`` follows boots and their TPMs, states, values, guests and remains.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.draws import Draws
from chaos.experiment.plan import Plan, PlannedProbe
from chaos.history import History
from chaos.hypotheses.probes import PROBES, Measured, Sources
from chaos.lab import LabUnderTest
from chaos.observe.boots import EVERY_S, Recoveries, Tpms, power_changes
from chaos.observe.guests import Guests
from chaos.observe.key_values import Opened, Remains, Values
from chaos.observe.last_looks import last_looks, look_at_what_is_shown
from chaos.observe.look import LabLook
from chaos.observe.replicas import Groups
from chaos.observe.states import EVERY_S as LOOK_S
from chaos.observe.states import States, WorkLook
from protocol.messages.agent import TpmBackend
from protocol.terms import NodeName, PowerState, Role

T = TypeVar("T")


@dataclass
class RunWatch:
    """The looks of one run, which are records of its history. ``tpms`` are what was seen under
    each host, ``since`` is when they began, in lab seconds."""

    lab: LabUnderTest
    history: History
    seed: int
    opened: Opened | None
    tpms: dict[NodeName, TpmBackend] = field(default_factory=dict)
    since: float = 0.0

    def __post_init__(self) -> None:
        self.guests = Guests(self.lab, Draws(self.seed, "guests"))
        self.recoveries = Recoveries(self.lab, self.history)
        self.tpm_boots = Tpms(self.lab, self.history)
        self.states = States(self.lab, self.history)
        self.values = Values(self.lab, self.history, Draws(self.seed, "values"))
        self.groups = Groups(self.lab, self.history)
        self.work = WorkLook(self.lab, self.history)
        self.remains = None if self.opened is None else Remains(self.history, self.opened)

    async def plant(self) -> None:
        """Have every running guest fill its disk from a marker of ours."""
        for vm, (host, summary) in (await LabLook(self.lab).vms()).items():
            if summary.power is PowerState.ON:
                problem = await self.guests.plant(vm, host, vtpm=summary.vtpm is True)
                if problem:
                    self.history.add("note", str(vm), op="plant", problem=problem)

    async def counters(self) -> None:
        """What each node has counted."""
        for node, status in (await LabLook(self.lab).status()).items():
            about = {"boot": status.boot, "role": status.role.value}
            self.history.add("state", node, op="counters", **about, **status.counters)
            if status.role is Role.ESXI:
                self.tpms[node] = status.tpm

    async def begin(self) -> None:
        """The first looks, in the steady state."""
        await self.recoveries.begin()
        await self.tpm_boots.begin()
        await self.states.begin()
        self.since = self.lab.monotonic()
        await self.values.whole()

    def aside(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Tasks that look while something else goes on; who began them cancels them."""
        return [
            group.create_task(self._watch(), name="watch"),
            group.create_task(self._look(), name="look"),
        ]

    async def during(self, work: Awaitable[T]) -> T:
        """``work``, with the lab being looked at meanwhile."""
        async with asyncio.TaskGroup() as group:
            aside = self.aside(group)
            result = await work
            for task in aside:
                task.cancel()
        return result

    async def end_recoveries(self) -> None:
        """The looks that end the watch over recoveries."""
        await self._see()
        await self.states.look()
        self.recoveries.end()

    async def last(self) -> None:
        """What is only to be seen at the end: keys, disks, what remains of removed keys."""
        await self.groups.end()  # which waits until they agree: keys are asked for after it
        await last_looks(self.lab, self.guests, self.history)
        await look_at_what_is_shown(self.lab, self.history)
        await self.values.whole(end=True)
        await power_changes(self.lab, self.history, self.since)
        if self.remains is not None:
            await self.remains.end()
        await self.counters()

    async def _watch(self) -> None:
        while True:
            await self._see()
            await self.work.look()
            await self.lab.sleep(EVERY_S)

    async def _see(self) -> None:
        """Boots of hosts since the last look, with the TPMs under them."""
        seen = await self.lab.statuses(counters=False)
        self.states.saw(seen)
        await self.recoveries.look(seen)
        await self.tpm_boots.look(seen)

    async def _look(self) -> None:
        while True:
            await self.lab.sleep(LOOK_S)
            await self.states.look()
            await self.values.look()
            await self.groups.look()


AGAIN_S = 1.0  # lab seconds from one try to the next


@dataclass
class Hypotheses:
    """The probes of one plan, measured on one lab."""

    plan: Plan
    lab: LabUnderTest
    history: History
    sources: Sources

    def of(self, when: str) -> list[PlannedProbe]:
        """The probes of one phase: ``before``, ``during`` or ``after``."""
        return [probe for probe in self.plan.probes if probe.when == when]

    async def measure(self, probe: PlannedProbe, look: LabLook) -> Measured:
        """Measure once, on what ``look`` sees, and write it into the history."""
        found = await PROBES[probe.probe].measure(look, probe.scope(), self.sources)
        self.history.add(
            "probe",
            op=probe.probe,
            when=probe.when,
            value=round(found.value, 6) if math.isfinite(found.value) else None,
            holds=probe.is_.holds(found.value),
            detail=found.detail,
        )
        return found

    def judge(self, probe: PlannedProbe, found: Measured) -> CheckResult:
        """A measurement as a result; what could not be measured is unknown."""
        if math.isnan(found.value):
            return CheckResult(name=probe.label(), result=CheckOutcome.UNKNOWN, text=found.detail)
        result = CheckOutcome.PASS if probe.is_.holds(found.value) else CheckOutcome.FAIL
        text = f"measured {found.value:g}" + (f": {found.detail}" if found.detail else "")
        return CheckResult(name=probe.label(), result=result, text=text)

    async def before(self) -> list[CheckResult]:
        """Each probe of ``before``, tried again until it holds or its ``within_s`` is over."""
        results = []
        for probe in self.of("before"):
            results += await self.until_hold([probe], probe.within_s)
        return results

    async def until_hold(self, probes: list[PlannedProbe], within_s: float) -> list[CheckResult]:
        """The last measurement of each, made again every lab second until all hold at once.

        After ``within_s`` lab seconds the last results stand as they are.
        """
        begin = self.lab.monotonic()
        results: dict[int, CheckResult] = {}
        while True:
            last = self.lab.monotonic() - begin + AGAIN_S > within_s
            results = await self._together(probes, results, whole=last)
            if last or [r.result for r in results.values()].count(CheckOutcome.PASS) == len(probes):
                return [results[place] for place in range(len(probes))]
            await self.lab.sleep(AGAIN_S)

    async def _together(
        self, probes: list[PlannedProbe], before: dict[int, CheckResult], *, whole: bool
    ) -> dict[int, CheckResult]:
        """All of them on one look, by place; not ``whole``, it ends with the first that fails.

        One that failed ``before`` is asked first, and one that makes guests work last.
        """
        look = LabLook(self.lab)
        results: dict[int, CheckResult] = {}
        held = {place for place, r in before.items() if r.result is CheckOutcome.PASS}
        failed = set(before) - held

        def order(place: int) -> tuple[bool, bool]:
            return PROBES[probes[place].probe].acts, place not in failed

        for place in sorted(range(len(probes)), key=order):
            probe = probes[place]
            result = results[place] = self.judge(probe, await self.measure(probe, look))
            if result.result is not CheckOutcome.PASS and not whole:
                break
        return results

    async def holds_for(self, probe: PlannedProbe) -> str:
        """Return when the probe has held for its grace, with what was measured."""
        since: float | None = None
        while True:
            began = self.lab.monotonic()
            result = self.judge(probe, await self.measure(probe, LabLook(self.lab)))
            since = (since or began) if result.result is CheckOutcome.PASS else None
            if since is not None and self.lab.monotonic() - since >= probe.grace_s:
                about = f"for {probe.grace_s:g} s" if probe.grace_s else "at once"
                return f"{probe.probe} {probe.is_.text} {about}: {result.text}"
            await self._sleep_to(began + probe.every_s)

    async def sample(
        self, probe: PlannedProbe, start: float, window: tuple[float, float] | None = None
    ) -> CheckResult:
        """Measure a probe of ``during`` again and again, from its ``start`` to its ``until``, or
        within the ``window`` from when its cue came.

        ``start`` is the begin of the fault phase (lab seconds). The probe fails when it does not
        hold for longer than its grace, at any time. When most of the measurements had nothing to
        measure, those that held do not speak for the whole time: the result is unknown.
        """
        whole = self.plan.duration_s
        begin, until = window or (probe.start, min(whole, probe.until or whole))
        await self._sleep_to(start + begin)
        bad_since: float | None = None
        worst: CheckResult | None = None
        seen = blind = total = 0
        while self.lab.monotonic() <= start + until:
            began = self.lab.monotonic()
            result = self.judge(probe, await self.measure(probe, LabLook(self.lab)))
            now = self.lab.monotonic()
            total += 1
            if result.result is CheckOutcome.PASS:
                bad_since = None
                seen += 1
            elif result.result is CheckOutcome.FAIL:
                bad_since = began if bad_since is None else bad_since
                if now - bad_since >= probe.grace_s and worst is None:
                    text = f"{result.text}, {began - start:.1f} s after the begin"
                    worst = CheckResult(name=result.name, result=CheckOutcome.FAIL, text=text)
            else:
                blind += 1
            await self._sleep_to(began + probe.every_s)
        if worst is not None:
            return worst
        if not seen:
            text = "it was never measured to hold"
            return CheckResult(name=probe.label(), result=CheckOutcome.UNKNOWN, text=text)
        if 2 * blind > total:
            text = f"it could not be measured {blind} of {total} times"
            return CheckResult(name=probe.label(), result=CheckOutcome.UNKNOWN, text=text)
        return CheckResult(name=probe.label(), result=CheckOutcome.PASS, text=f"held {seen} times")

    async def _sleep_to(self, at: float) -> None:
        left = at - self.lab.monotonic()
        if left > 0:
            await self.lab.sleep(left)
