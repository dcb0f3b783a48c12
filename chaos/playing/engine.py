"""Plays a plan on a lab and gives the verdict.

Phases: requires and plant -> before -> fault phase -> (heal the core, see it work ->) heal all,
verified -> settle -> recover -> after -> checks. Whatever happens, interruption too, everything is
healed before the run ends. All waiting is in lab seconds through ``LabUnderTest.sleep``, so the
same engine runs in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chaos.actions.base import Acting, Action
from chaos.checks import checks_excused, judge
from chaos.checks.result import CheckOutcome, CheckResult
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, Planned, PlannedAction, PlannedFault, PlannedProbe
from chaos.faults.base import Fault
from chaos.history import History
from chaos.hypotheses.probes import PROBES, Sources
from chaos.keeper import Keeping
from chaos.lab import LabUnderTest
from chaos.observe.guests import Guests
from chaos.observe.key_values import Opened
from chaos.observe.look import LabLook, nodes_of
from chaos.playing.load import BEGUN, Coming, LoadControl, judge_load, no_load_control
from chaos.playing.measure import Hypotheses, RunWatch
from chaos.playing.requirements import unmet
from chaos.playing.schedule import Cues, Intervals, Later, forked_faults
from chaos.points import Strikes
from chaos.progress import PhaseProgress, Progress, quiet
from chaos.verdict import REQUIRES, WORDS, Verdict, exit_of, hosts_by_tpm, reasons_of
from chaos.workload import Means, OperationOutcome, load_name, perform
from chaos.workload.base import OperationCounts
from protocol.errors import ProductError
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, Role, VmName

Scan = Callable[[History], Awaitable[None]]
"""Searches all that a run has left for keys, and writes down what it finds."""


async def run(
    plan: Plan,
    lab: LabUnderTest,
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
    load_control: LoadControl = no_load_control,
    later: Later | None = None,
) -> Verdict:
    """Play ``plan``; always heals, also when cancelled (the verdict then says 130).

    ``trace`` gives the simulation's own trace hash (the history's fold otherwise); ``escapes``
    what tried to reach outside the simulation; ``doubts`` why nothing of the run counts, each with
    its error id; ``scan`` writes down what it finds in all that the run has left, before the checks
    judge; ``opened`` opens the archives on a host's disk; ``strikes`` strikes within calls;
    ``load_control`` opens a control that changes its load; ``later`` begins forked faults. The
    history is closed on return.
    ``ChaosError`` KS-CHAOS-021 for crash points without ``strikes``, and forks without ``later``.
    """
    if plan.strikes() and strikes is None:
        raise ChaosError("KS-CHAOS-021", plan.strikes()[0].text())
    if plan.forks() and later is None:
        raise ChaosError("KS-CHAOS-021", f"{plan.forks()[0].id} forks a run of the simulation")
    watch = RunWatch(lab, history, plan.seed, opened)
    playing = _Run(
        plan, lab, keeper, history, PhaseProgress(progress, lab.monotonic), watch, run_id
    )
    playing.scan, playing.cues.strikes, playing.load_control = scan, strikes, load_control
    playing.later = later
    interrupted = False
    try:
        await playing.play()
        interrupted = await through(playing.heal_all())
        if playing.steady and not interrupted:
            await playing.conclude()
    except asyncio.CancelledError:
        interrupted = True
        _clear_cancellation()
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

    async def finish() -> None:
        try:
            await work
        except BaseException as error:
            raised.append(error)
        over.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(finish(), name="heal")
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                cancelled = True
                _clear_cancellation()
    for error in raised:
        raise error
    return cancelled


def _clear_cancellation() -> None:
    """Whoever is running now goes on, and can be cancelled again."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


@dataclass
class _Run:
    plan: Plan
    lab: LabUnderTest
    keeper: Keeping
    history: History
    phases: PhaseProgress
    watch: RunWatch
    run_id: str
    scan: Scan | None = None
    load_control: LoadControl = no_load_control
    later: Later | None = None
    steady: bool = False
    healed: bool = False
    harness: list[str] = field(default_factory=list)
    judged: list[CheckResult] = field(default_factory=list)
    recovery: list[CheckResult] = field(default_factory=list)
    start: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.lab.monotonic()
        self.operations = OperationCounts()
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
        async with (
            asyncio.TaskGroup() as group,
            forked_faults(self.plan, self.later, group, self.intervals.play) as forks,
        ):
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
                if not (isinstance(planned, PlannedFault) and planned.forked)
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
            for task in forks:
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
        async with asyncio.TaskGroup() as group, self.load_control(coming):
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
        await self.watch.end_recoveries()
        if not self.harness:
            for probe in after:
                if not PROBES[probe.probe].live:
                    found = await self.hypotheses.measure(probe, LabLook(self.lab))
                    self.judged.append(self.hypotheses.judge(probe, found))
        self.phases.begin("checks", f"{len(self.plan.checks)} checks")
        await self.watch.last()
        if self.scan is not None:
            await self.scan(self.history)
        self.judged += judge_load(self.plan, self.history.records)
        self.judged += judge(self.plan.checks, self.history.records)

    def verdict(self, interrupted: bool, trace: Callable[[], str] | None) -> Verdict:
        code = exit_of(
            interrupted=interrupted,
            harness=self.harness,
            steady=self.steady,
            judged=self.judged,
            recovery=self.recovery,
            excused=checks_excused(faulted=self.plan.surely_faulty()),
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


# ---- acts ----------------------------------------------------------------------------------------
# Plays the actions of a plan: each command and its outcome are records of the history.


@dataclass
class Acts:
    """The actions of one plan. ``name`` begins the names of what they make: unique in a lab that
    lives on."""

    plan: Plan
    lab: LabUnderTest
    history: History
    cues: Cues
    phases: PhaseProgress
    name: str
    guests: Guests
    _number: int = field(default=0, init=False)
    _exports: dict[str, KeyMaterial] = field(default_factory=dict, init=False)

    async def play(self, planned: PlannedAction) -> None:
        """Give the command when its time has come, to all targets at once.

        What is refused is a result like any other; KS-CHAOS-110 when the file says otherwise.
        """
        if await self.cues.begin(planned) is None:
            return
        action = planned.action()
        self.phases.tell(f"{planned.id}: {planned.summary()}")
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._give(planned, action, place), name=f"do-{planned.id}")
                for place in range(len(planned.targets))
            ]
        outcomes = [task.result() for task in tasks]
        self.cues.mark_ended(planned)
        for target, outcome in zip(planned.targets, outcomes, strict=True):
            if planned.must and outcome.kind != planned.must:
                text = f"{planned.id}: {planned.do} {target}".rstrip()
                why = f" ({outcome.data['error']})" if "error" in outcome.data else ""
                text += f" must end {planned.must}, and ended {outcome.kind}{why}"
                raise ChaosError("KS-CHAOS-110", text)

    async def _give(self, planned: PlannedAction, action: Action, place: int) -> OperationOutcome:
        self._number += 1
        number, target = len(self.plan.arrivals) + self._number, planned.targets[place]
        about = {"n": number, "action": planned.id}
        self.history.add("invoke", target, op=planned.do, **about, **planned.values)
        several = f"-{place + 1}" if len(planned.targets) > 1 else ""
        acting = Acting(self.lab, f"{self.name}-{planned.id}{several}", self._exports, self.guests)
        try:
            params = action.params.model_validate(_fields(planned, target))
            outcome = await action.run(acting, target, params)
        except ProductError as error:
            kind = "fail" if error.definite else "info"
            outcome = OperationOutcome(kind, {"error": type(error).__name__})
        self.history.add(outcome.kind, target, op=planned.do, **about, **outcome.data)
        return outcome


def _fields(planned: PlannedAction, target: str) -> dict[str, object]:
    """The action's own fields, for one target."""
    return {**planned.values, "on": target} if target else dict(planned.values)


# ---- core ----------------------------------------------------------------------------------------
# The core of a lab: healed first, and what it suffices for demanded while the rest stays faulted.
#
# Faults that always end hide what never recovers beside a part that stays broken. What is demanded
# are the live hypotheses of ``after``, for the hosts of the core and the VMs that are on them; one
# about all providers only when the core has every key server.


def hurts(fault: Fault, core: frozenset[NodeName]) -> bool:
    """Whether the core lacks something because of it: a node, or a link between two of its own."""
    edges = fault.between()
    if edges is not None:
        return any(a in core and b in core for a, b in edges)
    touched = fault.touches()
    return not touched or not core.isdisjoint(touched)


@dataclass
class Core:
    """The phase of the core of one plan."""

    plan: Plan
    lab: LabUnderTest
    intervals: Intervals
    hypotheses: Hypotheses
    watch: RunWatch
    phases: PhaseProgress

    async def hold(self) -> tuple[list[CheckResult], list[str]]:
        """Heal the core and wait until it works; what was measured, and what was not seen to be
        gone of its faults."""
        core = frozenset(self.plan.core)
        text = f"{len(core)} nodes are healed, the rest stays as it is"
        self.phases.begin("core", text, self.plan.core_s)
        async with asyncio.TaskGroup() as group:
            renew = group.create_task(self.intervals.renew(), name="renew")
            problems = await self.watch.during(
                self.intervals.heal(lambda fault: hurts(fault, core))
            )
            left = self.intervals.there()
            results = [] if problems else await self._measure_core(core)
            renew.cancel()
        if not left:
            text = "no fault was left outside of it, so that nothing is shown"
            results.append(CheckResult(name="core", result=CheckOutcome.UNKNOWN, text=text))
        elif not results and not problems:
            text = "no hypothesis of `after` is about it"
            results.append(CheckResult(name="core", result=CheckOutcome.UNKNOWN, text=text))
        return results, problems

    async def _measure_core(self, core: frozenset[NodeName]) -> list[CheckResult]:
        """The hypotheses about the core, until they hold or their time is over."""
        vms = await self._vms(core)
        probes = [
            found
            for probe in self.hypotheses.of("after")
            if (found := self._of_core(probe, core, vms)) is not None
        ]
        self.phases.tell(f"{len(probes)} hypotheses of {len(vms)} VMs on its hosts")
        return await self.watch.during(self.hypotheses.until_hold(probes, self.plan.core_s))

    def _of_core(
        self, probe: PlannedProbe, core: frozenset[NodeName], vms: Sequence[VmName]
    ) -> PlannedProbe | None:
        """The probe, asked about the core alone; None when it is not about it."""
        kind = PROBES[probe.probe]
        if not kind.live:
            return None
        of_core = msgspec.structs.replace(
            probe,
            when="core",
            vms=tuple(vm for vm in probe.vms if vm in vms),
            hosts=tuple(host for host in probe.hosts if host in core),
        )
        match kind.about:
            case "vms":
                return of_core if of_core.vms else None
            case "hosts":
                return of_core if of_core.hosts else None
            case _:
                whole = core.issuperset(nodes_of(self.lab, Role.KMS))
                return of_core if whole or probe.probe != "provider.green" else None

    async def _vms(self, core: frozenset[NodeName]) -> tuple[VmName, ...]:
        """The VMs on hosts of the core, as vCenter or their host has them."""
        look = LabLook(self.lab)
        places = {vm: info.host for vm, info in (await look.vcenter_vms()).items()}
        places |= {vm: host for vm, (host, _) in (await look.vms()).items()}
        return tuple(vm for vm in self.lab.directory().vms if places.get(vm) in core)


# ---- proving -------------------------------------------------------------------------------------
# What a run has to have done, to prove anything.


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


def nothing_done(plan: Plan) -> list[CheckResult]:
    """A run that does nothing to its lab proves nothing: no entry, none that was drawn, no load."""
    if plan.entries() or plan.arrivals:
        return []
    text = "nothing was done to the lab: no fault, no action and no operation"
    return [CheckResult(name="schedule", result=CheckOutcome.UNKNOWN, text=text)]
