"""Plays a plan on a lab and gives the verdict.

Phases: requires and plant -> before -> fault phase -> heal all, verified -> recover -> after ->
checks. Whatever happens, interruption too, everything is healed before the run ends. All waiting
is in lab seconds through ``Lab.sleep``, so the same engine runs in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from chaos.acts import Acts
from chaos.checks import excused, judge
from chaos.checks.result import CheckOutcome, CheckResult
from chaos.cues import Cues
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, Planned, PlannedFault, PlannedProbe
from chaos.experiment.requirements import REQUIRES, unmet
from chaos.history import History
from chaos.hypotheses.measure import Hypotheses
from chaos.hypotheses.probes import PROBES, Operations, Sources
from chaos.intervals import Intervals
from chaos.keeper import Keeping
from chaos.lab import Lab
from chaos.observe.guests import Guests
from chaos.observe.last_looks import last_looks
from chaos.observe.look import Look
from chaos.observe.recoveries import EVERY_S, Recoveries
from chaos.observe.remains import Opened, Remains
from chaos.observe.states import EVERY_S as LOOK_S
from chaos.observe.states import States
from chaos.observe.tpms import Tpms
from chaos.observe.values import Values
from chaos.points import Strikes
from chaos.verdict import WORDS, Verdict, exit_of, reasons_of
from chaos.workload import Means, load_name, perform
from protocol.messages.agent import TpmBackend
from protocol.terms import PowerState, Role

T = TypeVar("T")

Progress = Callable[[str, str], None]
"""Called with the phase and one line for people."""


def quiet(phase: str, text: str) -> None:
    """Show no progress: what a run does whose caller does not care."""


async def run(
    plan: Plan,
    lab: Lab,
    keeper: Keeping,
    history: History,
    progress: Progress = quiet,
    *,
    run_id: str = "",
    trace: Callable[[], str] | None = None,
    escapes: Callable[[], Sequence[str]] = tuple,
    scan: Callable[[History], None] | None = None,
    opened: Opened | None = None,
    strikes: Strikes | None = None,
) -> Verdict:
    """Play ``plan``; always heals, also when cancelled (the verdict then says 130).

    ``trace`` gives the simulation's own trace hash (the history's fold otherwise); ``escapes``
    what tried to reach outside the simulation; ``scan`` writes down what it finds in all that the
    run has left, before the checks judge; ``opened`` opens the archives on a host's disk;
    ``strikes`` strikes within calls. The history is closed on return. ``ChaosError`` KS-CHAOS-021
    when the plan has crash points and nothing here can strike.
    """
    if plan.strikes() and strikes is None:
        raise ChaosError("KS-CHAOS-021", plan.strikes()[0].text())
    playing = _Run(plan, lab, keeper, history, progress, run_id, scan, opened, strikes)
    interrupted = False
    try:
        await playing.play()
    except asyncio.CancelledError:
        interrupted = True
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
    except BaseException:
        history.add("note", op="aborted")
        await playing.heal_all()
        history.close()
        raise
    await playing.heal_all()
    if not interrupted and playing.steady:
        await playing.conclude()
    playing.harness += [f"KS-CHAOS-205: {what}" for what in escapes()]
    verdict = playing.verdict(interrupted, trace)
    history.add("note", op="verdict", verdict=verdict.verdict, exit_code=verdict.exit_code)
    history.close()
    return verdict


@dataclass
class _Run:
    plan: Plan
    lab: Lab
    keeper: Keeping
    history: History
    progress: Progress
    run_id: str
    scan: Callable[[History], None] | None
    opened: Opened | None
    strikes: Strikes | None
    steady: bool = False
    harness: list[str] = field(default_factory=list)
    judged: list[CheckResult] = field(default_factory=list)
    recovery: list[CheckResult] = field(default_factory=list)
    tpms: set[TpmBackend] = field(default_factory=set)
    start: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.lab.monotonic()
        self.guests = Guests(self.lab, Draws(self.plan.seed, "guests"))
        self.recoveries = Recoveries(self.lab, self.history)
        self.tpm_boots = Tpms(self.lab, self.history)
        self.states = States(self.lab, self.history)
        self.values = Values(self.lab, self.history, Draws(self.plan.seed, "values"))
        self.remains = None if self.opened is None else Remains(self.history, self.opened)
        self.operations = Operations()
        self.cues = Cues(self.plan, self.lab, self.history, self._sleep_to, self._now, self.strikes)
        self.intervals = Intervals(
            self.plan,
            self.lab,
            self.keeper,
            self.history,
            self.progress,
            self.cues,
            self._sleep_to,
            self._now,
        )
        name = load_name(self.lab, self.run_id)
        self.acts = Acts(self.plan, self.lab, self.history, self.cues, self.progress, name)
        sources = Sources(self.guests, self.recoveries, self.operations)
        self.hypotheses = Hypotheses(self.plan, self.lab, self.history, sources)

    # Phases --------------------------------------------------------------------------------

    async def play(self) -> None:
        """Everything up to the end of the fault phase."""
        plan = self.plan
        self.history.watchers.append(self.cues.hear)
        self.history.add("note", op="plan", name=plan.name, seed=plan.seed, mode=self.lab.mode)
        missing = await unmet(plan.requires, self.lab)
        if missing:
            text = "; ".join(missing)
            self.judged.append(CheckResult(name=REQUIRES, result=CheckOutcome.FAIL, text=text))
            return
        await self._plant()
        await self._counters()
        self.progress("before", f"{len(self.hypotheses.of('before'))} hypotheses")
        results = await self.hypotheses.before()
        self.judged += results
        self.steady = all(result.result is CheckOutcome.PASS for result in results)
        if not self.steady:
            return
        await self.recoveries.begin()
        await self.tpm_boots.begin()
        await self.states.begin()
        await self.values.whole()
        self.start = self.lab.monotonic()
        self.progress("faults", f"{len(plan.faults)} faults in {plan.duration_s:g} s")
        try:
            await self._fault_phase()
        except* ChaosError as group:
            self.harness += [f"{e.id}: {e.text}" for e in dict.fromkeys(leaves(group))]
        self.judged += never_begun(self.cues.missed)

    async def _plant(self) -> None:
        """Have every running guest fill its disk from a marker of ours."""
        for vm, (host, summary) in (await Look(self.lab).vms()).items():
            if summary.power is PowerState.ON:
                problem = await self.guests.plant(vm, host)
                if problem:
                    self.history.add("note", str(vm), op="plant", problem=problem)

    async def _counters(self) -> None:
        for node, status in (await Look(self.lab).status()).items():
            about = {"boot": status.boot, "role": status.role.value}
            self.history.add("state", node, op="counters", **about, **status.counters)
            if status.role is Role.ESXI:
                self.tpms.add(status.tpm)

    async def _fault_phase(self) -> None:
        async with asyncio.TaskGroup() as group:
            aside = [
                group.create_task(self._guard(), name="guard"),
                group.create_task(self.intervals.renew(), name="renew"),
                *self._aside(group),
                group.create_task(self.cues.listen(), name="events"),
                *(
                    group.create_task(self._give_up_if(probe), name="abort")
                    for probe in self.plan.aborts
                ),
            ]
            entries = {
                planned.id: group.create_task(self._entry(planned), name=f"fault-{planned.id}")
                for planned in self.plan.entries()
            }
            sure = {p.id for p in self.plan.entries() if self.cues.by_time(p)}
            work = [task for id, task in entries.items() if id in sure]
            work.append(group.create_task(self._workload(), name="workload"))
            work.append(group.create_task(self._sleep_to(self.plan.duration_s), name="duration"))
            samples = [
                group.create_task(self.hypotheses.sample(probe, self.start), name="during")
                for probe in self.hypotheses.of("during")
            ]
            for task in work:
                await task
            self.cues.close()
            for task in entries.values():
                await task
            self.judged += [await sample for sample in samples]
            for task in aside:
                task.cancel()

    async def _entry(self, planned: Planned) -> None:
        if isinstance(planned, PlannedFault):
            await self.intervals.play(planned)
        else:
            await self.acts.play(planned)

    async def _workload(self) -> None:
        means = Means(
            self.lab,
            self.guests,
            load_name(self.lab, self.run_id),
            remains=self.remains,
            look=self.states.look,
        )
        async with asyncio.TaskGroup() as group:
            for arrival in self.plan.arrivals:
                await self._sleep_to(arrival.at)
                work = perform(means, arrival, self.history, self.operations)
                group.create_task(work, name=f"{arrival.op}-{arrival.number}")

    async def _guard(self) -> None:
        await self._sleep_to(self.plan.max_duration_s)
        raise ChaosError("KS-CHAOS-203", f"after {self.plan.max_duration_s:g} s")

    def _aside(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """What looks at the lab while something else goes on."""
        return [
            group.create_task(self._watch(), name="watch"),
            group.create_task(self._look(), name="look"),
        ]

    async def _give_up_if(self, probe: PlannedProbe) -> None:
        told = await self.hypotheses.holds_for(probe)
        raise ChaosError("KS-CHAOS-207", told)

    async def _watch(self) -> None:
        while True:
            await self._see()
            await self.lab.sleep(EVERY_S)

    async def _see(self) -> None:
        """Boots of hosts since the last look, with the TPMs under them."""
        seen = await self.recoveries.look()
        self.states.saw(seen)
        await self.tpm_boots.look(seen)

    async def _look(self) -> None:
        while True:
            await self.lab.sleep(LOOK_S)
            await self.states.look()
            await self.values.look()

    async def heal_all(self) -> None:
        """Take back all this run began; what others did to the lab is not its business."""
        self.cues.disarm()
        if not self.intervals.begun:
            return
        self.progress("heal", "everything")
        self.harness += await self._watching(self.intervals.heal_all())
        await self._counters()

    # The end -------------------------------------------------------------------------------

    async def conclude(self) -> None:
        """Settle, recover, ``after``, last looks, checks."""
        if self.plan.settle_s and not self.harness:
            self.progress("settle", f"{self.plan.settle_s:g} s")
            await self._watching(self.lab.sleep(self.plan.settle_s))
        after = self.hypotheses.of("after")
        live = [probe for probe in after if PROBES[probe.probe].live]
        if self.harness:
            self.progress("after", "skipped: the faults did not go as planned")
        else:
            within_s = self.plan.recover_s
            self.progress("recover", f"{len(live)} hypotheses within {within_s or 0:g} s")
            results = await self._recovered(live, within_s or 0.0)
            if within_s is None:
                self.judged += results
            else:
                self.recovery += results
        await self._see()
        await self.states.look()
        self.recoveries.end()
        if not self.harness:
            for probe in after:
                if not PROBES[probe.probe].live:
                    found = await self.hypotheses.measure(probe, Look(self.lab))
                    self.judged.append(self.hypotheses.judged(probe, found))
        await last_looks(self.lab, self.guests, self.history)
        await self.values.whole(end=True)
        if self.remains is not None:
            await self.remains.end()
        await self._counters()
        if self.scan is not None:
            self.scan(self.history)
        self.judged += judge(self.plan.checks, self.history.records)

    async def _recovered(self, live: list[PlannedProbe], within_s: float) -> list[CheckResult]:
        """The live probes of ``after``, with boots still being watched."""
        return await self._watching(self.hypotheses.until_hold(live, within_s))

    async def _watching(self, work: Awaitable[T]) -> T:
        """``work``, with boots being watched meanwhile."""
        async with asyncio.TaskGroup() as group:
            aside = self._aside(group)
            result = await work
            for task in aside:
                task.cancel()
        return result

    def verdict(self, interrupted: bool, trace: Callable[[], str] | None) -> Verdict:
        code = exit_of(
            interrupted=interrupted,
            harness=self.harness,
            steady=self.steady,
            judged=self.judged,
            recovery=self.recovery,
            excused=excused(faulted=self.plan.surely_faulty()),
        )
        return Verdict(
            verdict=WORDS[code],
            exit_code=int(code),
            seed=self.plan.seed,
            trace_hash=trace() if trace is not None else self.history.trace,
            tpms=tuple(sorted(self.tpms)),
            run=self.run_id,
            checks=(*self.judged, *self.recovery),
            reasons=tuple(self.harness) or reasons_of(code, self.judged + self.recovery),
            left=self.intervals.left,
            began=self.began,
            ended=self.lab.monotonic(),
        )

    def _now(self) -> float:
        """Seconds since the fault phase began."""
        return self.lab.monotonic() - self.start

    async def _sleep_to(self, at: float) -> None:
        left = at - self._now()
        if left > 0:
            await self.lab.sleep(left)


def never_begun(missed: Sequence[Planned]) -> list[CheckResult]:
    """What waited for something that did not come proves nothing, unless it was ``optional``."""
    return [
        CheckResult(
            name=f"entry {planned.id}",
            result=CheckOutcome.UNKNOWN,
            text=f"it never began: {planned.cue.what.text()} did not come",
        )
        for planned in missed
        if planned.cue is not None and not planned.cue.optional
    ]


def leaves(group: BaseExceptionGroup[ChaosError]) -> list[ChaosError]:
    """The errors of a group, however deep, in order."""
    found: list[ChaosError] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
