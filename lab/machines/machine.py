"""One other machine as the supervisor sees it: its beats, the processes there, its end.

Its clock: how far it is ahead, and when measurements do not count for that. The time of a lab on
several machines goes on when its supervisor is killed.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from lab.brokers.configuration import AgentConfig
from lab.brokers.control_plane import ControlClient
from lab.brokers.identities import machine_agent
from lab.machines.bundle import MachinePart, seal_part
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder
from lab.topology.machine_plan import MachinePlan
from protocol.errors import HostUnreachable, ProductError
from protocol.messages.base import Reply, Request
from protocol.messages.machines import (
    Beat,
    Beaten,
    EndProcess,
    HeldProcess,
    KeepIdentities,
    StartProcess,
    StopProcess,
    TakeMachine,
)

WINDOW: Final = 32
"""Samples that are looked at: with one a second, a drift of 100 ppm is 2 ms late at most."""
BEST: Final = 4  # one in so many: those that were least long on the way
CONTRADICTIONS: Final = 3  # in a row, until the clock is believed to have jumped


class OffsetSample(NamedTuple):
    """How far ahead, and by how much that may be wrong; seconds."""

    offset_s: float
    error_s: float


def sample_of(sent: float, received: float, answered: float, back: float) -> OffsetSample:
    """From two times of our clock around two of the other's."""
    way_s = (back - sent) - (answered - received)
    return OffsetSample(((received - sent) + (answered - back)) / 2, max(way_s, 0.0) / 2)


class Offset:
    """The offset as it is known now; None before the first sample.

    ``jumps`` counts how often the clock was found elsewhere than its drift would have it.
    """

    def __init__(self) -> None:
        self._samples: deque[OffsetSample] = deque(maxlen=WINDOW)
        self._against: list[OffsetSample] = []
        self.known: OffsetSample | None = None
        self.jumps = 0

    def add(self, sample: OffsetSample) -> None:
        """One more. One that contradicts what is known counts only when others agree with it."""
        known = self.known
        if known is not None and _contradicts(sample, known):
            self._against.append(sample)
            if len(self._against) < CONTRADICTIONS:
                return
            self.jumps += 1
            self._samples.clear()
            self._samples.extend(self._against)
        else:
            self._samples.append(sample)
        self._against.clear()
        self.known = _estimate(list(self._samples))


def _contradicts(one: OffsetSample, other: OffsetSample) -> bool:
    return abs(one.offset_s - other.offset_s) > one.error_s + other.error_s


def _estimate(samples: list[OffsetSample]) -> OffsetSample:
    """The median of the best, with its error: theirs, and how far they lie apart."""
    by_error = sorted(samples, key=lambda sample: sample.error_s)
    best = by_error[: max(1, len(by_error) // BEST)]
    offsets = [sample.offset_s for sample in best]
    apart_s = max(offsets) - min(offsets)
    return OffsetSample(median(offsets), max(sample.error_s for sample in best) + apart_s)


R = TypeVar("R", bound=Reply)

# Real seconds.
BEAT_EVERY_S: Final = 1.0
BEAT_LIMIT_S: Final = 2.0  # a beat that is older when it arrives is not carried out
START_LIMIT_S: Final = 40.0
ORDER_LIMIT_S: Final = 10.0
SILENT_S: Final = BEAT_EVERY_S + BEAT_LIMIT_S
MARGIN_S: Final = BEAT_LIMIT_S + 1.0


BUS_FROM_THERE: Final = (
    "the addresses of `bus:` in the Lab file have to lead to its servers from every machine"
)


class RemoteProcess:
    """A process there, killed and signalled as a ``ChildProcess`` here; see ``ForkedProcess``."""

    def __init__(self, machine: MachineProcesses, name: str, life: int) -> None:
        self.name, self.life = name, life
        self.since = time.monotonic()
        self.gone = asyncio.Event()
        self.stopped = False
        self._machine = machine

    def kill(self) -> None:
        """End it; ``gone`` is set when it is, or when its machine was given up."""
        self._machine.do(self._machine.end(self))

    def signal(self, number: signal.Signals) -> None:
        """Let it stand still, or go on; nothing when it has ended."""
        self._machine.do(self._machine.stop(self, number is signal.SIGSTOP))


class MachineProcesses:
    """``on_end`` hears of each process that ended, ``warn`` of what a person should know.

    ``run`` is the life of the agent that was taken, empty before; ``ended_by_s``: on our clock,
    when no process of the last run can be alive any more. What is given counts from an answer, and
    may be ``MARGIN_S`` late: a beat arrives ``BEAT_LIMIT_S`` after it was sent, or is not heard.
    """

    def __init__(
        self,
        plan: MachinePlan,
        client: Callable[[], ControlClient],
        on_end: Callable[[RemoteProcess], None],
        warn: Callable[[str], None],
    ) -> None:
        self.plan, self.name = plan, plan.machine
        self._client, self._on_end, self._warn = client, on_end, warn
        self.run, self.ended_by_s, self.losses = "", 0.0, 0
        self.parts: dict[str, Callable[[], MachinePart]] = {}  # by agent: of hosts that came later
        self._key = b""  # of this run
        self.gate = ""  # where it takes connections for its nodes
        self.joined = asyncio.Event()
        self.offset = Offset()
        self.wall_offset_s = self.load = self.delay_s = 0.0  # as the last beat told
        self.heard_s = 0.0  # on our clock: when the last beat was answered
        self.worst_error_s = 0.0
        self._watched: list[list[float]] = []  # the worst error since somebody asked
        self._processes: dict[str, RemoteProcess] = {}
        self._found: dict[str, int] = {}  # processes that an earlier supervisor started, and lives
        self._why = ""  # it could not be taken, as was told
        self._ordering = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def silent(self) -> bool:
        """Whether the last beats were not answered."""
        return time.monotonic() - self.heard_s > SILENT_S

    @property
    def processes(self) -> int:
        """How many processes run there, as far as is known."""
        return len(self._processes)

    async def ask(self, message: Request[R], within_s: float = ORDER_LIMIT_S) -> R:
        """Ask its agent; the errors are those of ``ControlClient.request``."""
        return await self._client().request(machine_agent(self.name), message, within_s=within_s)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something be done in the background, until the lab is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- its life -------------------------------------------------------------------------------

    async def take(
        self,
        run: str,
        public: dict[str, bytes],
        held: Iterable[HeldProcess] = (),
        key: bytes = b"",
        where: dict[str, str] | None = None,
    ) -> None:
        """The agent of that run, with that public ``key``, is ours from now on; the processes
        ``held`` go on."""
        self.run, self._key, self.heard_s = run, key, time.monotonic()
        before = self.ended_by_s
        # Should it be taken, and we not hear of it, what it holds lives on for a lease.
        self.ended_by_s = self.heard_s + ORDER_LIMIT_S + self.plan.lease_s + MARGIN_S
        self._found = {process.name: process.life for process in held}
        self.offset = Offset()
        try:
            take = TakeMachine(run=run, lease_s=self.plan.lease_s, public=public, where=where or {})
            await self.ask(take)
            await self._beat(run)
        except ProductError as error:
            self.run = ""
            if error.definite:  # it is in another run by now, and asks again
                self.ended_by_s = before
            elif self._why != (why := str(error)):  # it asks each second
                self._why = why
                self._warn(f"machine {self.name} could not be taken: {error}")
            return  # nothing was started there
        self._why = ""
        self.joined.set()
        self.do(self._beats(run))

    def lose(self, why: str, *, ended: bool = False) -> None:
        """The run is over; ``ended``: its agent has said itself that nothing of it is alive."""
        if not self.run:
            return
        self.run = ""
        self.losses += 1
        self.joined.clear()
        if ended:
            self.ended_by_s = 0.0
        self._warn(f"machine {self.name} {why}: its nodes are off now")
        gone, self._processes = list(self._processes.values()), {}
        for process in gone:
            self._finish_process(process)

    async def _beats(self, run: str) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            if self.run != run:
                return
            try:
                await self._beat(run)
            except ProductError:
                silent_s = time.monotonic() - self.heard_s
                if self.run == run and silent_s > self.plan.lease_s:
                    self.lose(f"has not answered for {silent_s:.0f} s")

    async def _beat(self, run: str) -> None:
        sent, known = time.monotonic(), self.offset.known
        answer = await self._send_beat(run)
        back = time.monotonic()
        if self.run != run:
            return
        self.load = answer.load
        self.wall_offset_s = answer.wall - time.time()
        sample = sample_of(sent, answer.received, answer.answered, back)
        self.delay_s = 2 * sample.error_s
        jumps, before = self.offset.jumps, known
        self.offset.add(sample)
        if before is not None and self.offset.known is not None:
            moved_s = abs(self.offset.known.offset_s - before.offset_s)
            jumped = self.offset.jumps > jumps
            self._record_clock_error(moved_s if jumped else self.offset.known.error_s)
        if known is None and self.offset.known is not None:
            await self._send_beat(run)
        self._reconcile(answer, sent)

    async def _send_beat(self, run: str) -> Beaten:
        """One beat. It gives what is left of the lease since the last answer, so that one that is
        never answered ends nothing later: who waits for the end need not wait for a second lease.
        """
        known = self.offset.known
        left_s = max(self.heard_s + self.plan.lease_s - time.monotonic(), 0.0)
        told = None if known is None else known.offset_s
        answer = await self.ask(Beat(run=run, offset_s=told, grant_s=left_s), BEAT_LIMIT_S)
        if self.run == run:
            self.heard_s = time.monotonic()
            self.ended_by_s = self.heard_s + self.plan.lease_s + MARGIN_S
        return answer

    def _record_clock_error(self, error_s: float) -> None:
        self.worst_error_s = max(self.worst_error_s, error_s)
        for cell in self._watched:
            cell[0] = max(cell[0], error_s)

    def watch_clock_error(self) -> Callable[[], float]:
        """Tells by how much its clock was wrong at most, from now on; seconds."""
        known = self.offset.known
        cell = [known.error_s if known is not None else 0.0]
        self._watched.append(cell)
        return lambda: cell[0]

    def _reconcile(self, answer: Beaten, sent: float) -> None:
        """A process that was there when we asked, and is not in the answer, has ended."""
        there = {(held.name, held.life) for held in answer.processes}
        for process in list(self._processes.values()):
            if process.since < sent and (process.name, process.life) not in there:
                self._forget(process)

    # ---- its processes --------------------------------------------------------------------------

    async def spawn(self, label: str, config: AgentConfig) -> RemoteProcess:
        """A process with that agent, when the machine is there; see ``Agents.spawn``. One that an
        earlier supervisor has left is taken over, and goes on if it stood still.

        KS-AGENT-008 when it goes meanwhile.
        """
        await self.joined.wait()
        run = self.run
        found = self._found.pop(config.name, None)
        if found is not None:
            process = self._processes[config.name] = RemoteProcess(self, config.name, found)
            await self.stop(process, False)
            return process
        if config.name in self.parts:
            box = seal_part(self.parts[config.name](), run, self._key)
            await self.ask(KeepIdentities(run=run, box=box))
        message = StartProcess(
            run=run,
            name=config.name,
            label=label,
            epoch=config.epoch,
            wall=config.wall,
            pace=config.pace,
            seed=config.seed,
            bus=config.data_url if config.theirs else "",
            authority="" if config.tls is None else config.tls.authority,
        )
        try:
            started = await self.ask(message, START_LIMIT_S)
        except HostUnreachable as error:  # of the bus, as that machine sees it
            text = f"machine {self.name}: {error}"
            raise KeysteadError("KS-BROKER-004", text, BUS_FROM_THERE) from None
        if self.run != run:
            raise KeysteadError("KS-AGENT-008", f"machine {self.name} has gone meanwhile")
        process = RemoteProcess(self, config.name, started.life)
        self._processes[config.name] = process
        return process

    async def end(self, process: RemoteProcess) -> None:
        """As often as it takes: until it is told to be gone, or the machine was given up."""
        while not process.gone.is_set():
            try:
                await self.ask(EndProcess(run=self.run, name=process.name, life=process.life))
            except ProductError:
                await asyncio.sleep(BEAT_EVERY_S)
            else:
                self._forget(process)

    async def stop(self, process: RemoteProcess, stopped: bool) -> None:
        """Signals are sent in the order in which they were given."""
        async with self._ordering:
            message = StopProcess(
                run=self.run, name=process.name, life=process.life, stopped=stopped
            )
            try:
                await self.ask(message)
            except ProductError as error:
                what = "stopped" if stopped else "resumed"
                self._warn(f"machine {self.name}: {process.name} was not {what}: {error}")

    def _forget(self, process: RemoteProcess) -> None:
        if self._processes.get(process.name) is process:
            del self._processes[process.name]
        self._finish_process(process)

    def _finish_process(self, process: RemoteProcess) -> None:
        if not process.gone.is_set():
            process.gone.set()
            self._on_end(process)

    def close(self) -> None:
        """Nothing is asked any more."""
        for task in self._tasks:
            task.cancel()


CLOCK_BOUND_S: Final = 0.25  # real seconds: an eighth of the shortest time limit of a node


def doubts(machines: Iterable[MachineProcesses]) -> Callable[[], list[str]]:
    """Tells why nothing counts of what was measured since this was called: a clock that was not
    known within ``CLOCK_BOUND_S``, or jumped, or a machine that was lost."""
    begun = [(machine, machine.losses, machine.watch_clock_error()) for machine in machines]

    def collect_doubts() -> list[str]:
        lost = [
            f"KS-AGENT-008: machine {machine.name} was lost during the run"
            for machine, losses, _ in begun
            if machine.losses != losses
        ]
        unknown = [
            f"KS-AGENT-010: the clock of machine {machine.name} was known within "
            f"{error_s:.3f} s, and has to be within {CLOCK_BOUND_S:g} s"
            for machine, _, worst in begun
            if (error_s := worst()) > CLOCK_BOUND_S
        ]
        return lost + unknown

    return collect_doubts


SLACK_S: Final = 30.0  # the noted time is some seconds old, and a start takes some
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Kept(msgspec.Struct, frozen=True):
    boot: str
    epoch: float


def going_on(folder: LabFolder, epoch: float, lease_s: float) -> float:
    """The epoch of the last supervisor when nodes of it may be alive, else ``epoch``, which goes on
    from the time that was noted last; kept for the next one."""
    boot = _BOOT_ID.read_text().strip()
    with suppress(msgspec.DecodeError):
        kept = msgspec.json.decode(folder.read("clock"), type=_Kept)
        if kept.boot == boot and 0 <= epoch - kept.epoch <= lease_s + SLACK_S:
            epoch = kept.epoch
    folder.write("clock", msgspec.json.encode(_Kept(boot, epoch)))
    return epoch


def remove_clock(folder: LabFolder) -> None:
    """Nothing of the lab is alive."""
    (folder.path / "clock").unlink(missing_ok=True)
