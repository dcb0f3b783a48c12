"""Plays a plan on a lab and gives the verdict.

Phases: requires and plant -> before -> fault phase -> (heal the core, see it work ->) heal all,
verified -> settle -> recover -> after -> checks. Whatever happens, interruption too, everything is
healed before the run ends. All waiting is in lab seconds through ``Lab.sleep``, so the same engine
runs in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.acts import Acts
from chaos.checks import excused, judge
from chaos.checks.result import CheckOutcome, CheckResult
from chaos.core import Core
from chaos.cues import Cues
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, Planned, PlannedFault, PlannedProbe
from chaos.experiment.requirements import REQUIRES, unmet
from chaos.history import History
from chaos.hypotheses.measure import Hypotheses
from chaos.hypotheses.probes import PROBES, Operations, Sources
from chaos.intervals import Intervals
from chaos.keeper import Keeping
from chaos.lab import Lab
from chaos.load.coming import Coming, Door, closed
from chaos.load.outcome import BEGUN, judged
from chaos.observe.look import Look
from chaos.observe.remains import Opened
from chaos.points import Strikes
from chaos.progress import Phases, Progress, quiet
from chaos.proving import never_begun, nothing_done
from chaos.verdict import WORDS, Verdict, exit_of, hosts_by_tpm, reasons_of
from chaos.watch import Watch
from chaos.workload import Means, load_name, perform

Scan = Callable[[History], Awaitable[None]]
"""Searches all that a run has left for keys, and writes down what it finds."""


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
    doubts: Callable[[], Sequence[str]] = tuple,
    scan: Scan | None = None,
    opened: Opened | None = None,
    strikes: Strikes | None = None,
    door: Door = closed,
) -> Verdict:
    """Play ``plan``; always heals, also when cancelled (the verdict then says 130).

    ``trace`` gives the simulation's own trace hash (the history's fold otherwise); ``escapes``
    what tried to reach outside the simulation; ``doubts`` why nothing of the run counts, each with
    its error id; ``scan`` writes down what it finds in all that the run has left, before the checks
    judge; ``opened`` opens the archives on a host's disk; ``strikes`` strikes within calls;
    ``door`` lets people in who change its load. The history is closed on return. ``ChaosError``
    KS-CHAOS-021 when the plan has crash points and nothing here can strike.
    """
    if plan.strikes() and strikes is None:
        raise ChaosError("KS-CHAOS-021", plan.strikes()[0].text())
    watch = Watch(lab, history, plan.seed, opened)
    playing = _Run(plan, lab, keeper, history, Phases(progress, lab.monotonic), watch, run_id)
    playing.scan, playing.cues.strikes, playing.door = scan, strikes, door
    interrupted = False
    try:
        await playing.play()
        interrupted = await through(playing.heal_all())
        if playing.steady and not interrupted:
            await playing.conclude()
    except asyncio.CancelledError:
        interrupted = True
        _uncancelled()
        await through(playing.heal_all())
    except BaseException as error:
        history.add("note", op="aborted")
        await through(playing.heal_all())
        history.close()
        raise the_only(error) from None
    history.watchers.clear()  # nobody who hears of the end may still cancel what has ended
    playing.harness += [*(f"KS-CHAOS-205: {what}" for what in escapes()), *doubts()]
    if history.refused is not None:
        playing.harness.append(f"KS-CHAOS-206: {history.path}: {history.refused.strerror}")
    verdict = playing.verdict(interrupted, trace)
    history.add("note", op="verdict", verdict=verdict.verdict, exit_code=verdict.exit_code)
    history.close()
    return verdict


async def through(work: Coroutine[Any, Any, None]) -> bool:
    """Do ``work`` to its end, whoever cancels; whether somebody did. Raises what it raises."""
    over, cancelled = asyncio.Event(), False
    raised: list[BaseException] = []

    async def done() -> None:
        try:
            await work
        except BaseException as error:
            raised.append(error)
        over.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(done(), name="heal")
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                cancelled = True
                _uncancelled()
    for error in raised:
        raise error
    return cancelled


def _uncancelled() -> None:
    """Whoever is running now goes on, and can be cancelled again."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


@dataclass
class _Run:
    plan: Plan
    lab: Lab
    keeper: Keeping
    history: History
    phases: Phases
    watch: Watch
    run_id: str
    scan: Scan | None = None
    door: Door = closed
    steady: bool = False
    healed: bool = False
    harness: list[str] = field(default_factory=list)
    judged: list[CheckResult] = field(default_factory=list)
    recovery: list[CheckResult] = field(default_factory=list)
    start: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.lab.monotonic()
        self.operations = Operations()
        self.cues = Cues(self.plan, self.lab, self.history, self._sleep_to, self._now)
        self.intervals = Intervals(
            self.plan,
            self.lab,
            self.keeper,
            self.history,
            self.phases,
            self.cues,
            self._sleep_to,
            self._now,
        )
        name = load_name(self.lab, self.run_id)
        self.acts = Acts(
            self.plan, self.lab, self.history, self.cues, self.phases, name, self.watch.guests
        )
        sources = Sources(self.watch.guests, self.watch.recoveries, self.operations)
        self.hypotheses = Hypotheses(self.plan, self.lab, self.history, sources)

    # Phases --------------------------------------------------------------------------------

    async def play(self) -> None:
        """Everything up to the end of the fault phase, and of that of the core."""
        plan = self.plan
        self.history.watchers += [self.cues.hear, self.phases.hear]
        before = self.hypotheses.of("before")
        self.phases.begin("before", f"{len(before)} hypotheses")
        self.history.add("note", op="plan", name=plan.name, seed=plan.seed, mode=self.lab.mode)
        missing = await unmet(plan.requires, self.lab)
        if missing:
            text = "; ".join(missing)
            self.judged.append(CheckResult(name=REQUIRES, result=CheckOutcome.FAIL, text=text))
            return
        await self.watch.plant()
        await self.watch.counters()
        results = await self.hypotheses.before()
        self.judged += results
        self.steady = all(result.result is CheckOutcome.PASS for result in results)
        if not self.steady:
            return
        await self.watch.begin()
        self.start = self.lab.monotonic()
        if plan.load is not None:
            self.history.add("note", op=BEGUN)
        count = f"{len(plan.faults)} faults, {len(plan.actions)} actions"
        self.phases.begin("faults", count, plan.duration_s)
        try:
            await self._fault_phase()
        except* ChaosError as group:
            self.harness += [f"{e.id}: {e.text}" for e in dict.fromkeys(leaves(group))]
        self.judged += never_begun(self.cues.missed)
        if self.scan is None:  # a search for keys is about the building of a lab, too
            self.judged += nothing_done(plan)
        if plan.core and not self.harness:
            await self._core()

    async def _core(self) -> None:
        """First the core is healed, and has to work while the rest stays as it is."""
        core = Core(self.plan, self.lab, self.intervals, self.hypotheses, self.watch, self.phases)
        try:
            results, problems = await core.hold()
        except* ChaosError as group:
            self.harness += [f"{e.id}: {e.text}" for e in dict.fromkeys(leaves(group))]
        else:
            self.recovery += results
            self.harness += problems

    async def _fault_phase(self) -> None:
        async with asyncio.TaskGroup() as group:
            aside = [
                group.create_task(self._guard(), name="guard"),
                group.create_task(self.intervals.renew(), name="renew"),
                *(
                    group.create_task(self.intervals.be_away(begin, end), name="unattended")
                    for begin, end in self.plan.unattended
                ),
                *self.watch.aside(group),
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
                group.create_task(self._sample(probe), name="during")
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

    async def _sample(self, probe: PlannedProbe) -> CheckResult:
        if probe.cue is None:
            return await self.hypotheses.sample(probe, self.start)
        window = await self.cues.window(probe.cue)
        if window is None:
            text = f"it was to be measured {probe.cue.text()}, which never came"
            return CheckResult(name=probe.label(), result=CheckOutcome.UNKNOWN, text=text)
        return await self.hypotheses.sample(probe, self.start, window)

    async def _workload(self) -> None:
        means = Means(
            self.lab,
            self.watch.guests,
            load_name(self.lab, self.run_id),
            remains=self.watch.remains,
            look=self.watch.states.look,
        )
        coming = Coming(self.plan, self.history, self._now, self._sleep_to)
        async with asyncio.TaskGroup() as group, self.door(coming):
            while (arrival := await coming.next()) is not None:
                work = perform(means, arrival, self.history, self.operations)
                group.create_task(work, name=f"{arrival.op}-{arrival.number}")

    async def _guard(self) -> None:
        await self._sleep_to(self.plan.max_duration_s)
        raise ChaosError("KS-CHAOS-203", f"after {self.plan.max_duration_s:g} s")

    async def _give_up_if(self, probe: PlannedProbe) -> None:
        told = await self.hypotheses.holds_for(probe)
        raise ChaosError("KS-CHAOS-207", told)

    async def heal_all(self) -> None:
        """Take back all this run began; what others did to the lab is not its business. Again is
        no change."""
        self.cues.disarm()
        if not self.intervals.begun or self.healed:
            return
        self.phases.begin("heal", "everything")
        self.harness += await self.watch.during(self.intervals.heal())
        self.healed = True
        await self.watch.counters()

    # The end -------------------------------------------------------------------------------

    async def conclude(self) -> None:
        """Settle, recover, ``after``, last looks, checks."""
        if self.plan.settle_s and not self.harness:
            self.phases.begin("settle", "nothing is judged yet", self.plan.settle_s)
            await self.watch.during(self.lab.sleep(self.plan.settle_s))
        after = self.hypotheses.of("after")
        live = [probe for probe in after if PROBES[probe.probe].live]
        if self.harness:
            self.phases.begin("after", "skipped: the faults did not go as planned")
        else:
            within_s = self.plan.recover_s
            self.phases.begin("recover", f"{len(live)} hypotheses", within_s or 0.0)
            results = await self.watch.during(self.hypotheses.until_hold(live, within_s or 0.0))
            if within_s is None:
                self.judged += results
            else:
                self.recovery += results
        await self.watch.recovered()
        if not self.harness:
            for probe in after:
                if not PROBES[probe.probe].live:
                    found = await self.hypotheses.measure(probe, Look(self.lab))
                    self.judged.append(self.hypotheses.judged(probe, found))
        self.phases.begin("checks", f"{len(self.plan.checks)} checks")
        await self.watch.last()
        if self.scan is not None:
            await self.scan(self.history)
        self.judged += judged(self.plan, self.history.records)
        self.judged += judge(self.plan.checks, self.history.records)

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
            tpms=tuple(sorted(set(self.watch.tpms.values()))),
            tpm_hosts=hosts_by_tpm(self.watch.tpms),
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


def leaves(group: BaseExceptionGroup[ChaosError]) -> list[ChaosError]:
    """The errors of a group, however deep, in order."""
    found: list[ChaosError] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def the_only(error: BaseException) -> BaseException:
    """The one error of a group of one, however deep; else the error itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
