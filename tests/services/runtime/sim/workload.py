"""A small lab of tasks with everything that could leak order: what the replay tests run.

Importable by name, so that workers can run it. ``journal`` is what the tasks did, in order.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from protocol.subjects import reply_subject, request_subject
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown, context_of
from services.runtime.sim.bus import SimBroker, SimWire
from services.runtime.sim.clock_and_rng import SimClock, SimRng
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.ready_queue import StepOrder
from services.runtime.sim.trace import Trace, TraceEntry

NODES = [NodeName(f"node-{n}") for n in range(5)]
_KEPT: list[object] = []


@dataclass(frozen=True)
class Outcome:
    hash: str
    order: str
    steps: int
    time: float
    journal: tuple[str, ...]
    escapes: tuple[str, ...]
    unhandled: tuple[str, ...]
    entries: tuple[TraceEntry, ...]


class Thing:
    """Hashed by address."""


def scramble(junk: int) -> None:
    """Give this process an allocation history of its own."""
    rng = random.Random(junk)
    things = [[Thing() for _ in range(3)] if n % 2 else Thing() for n in range(junk)]
    rng.shuffle(things)
    _KEPT.extend(things[: junk // 2])


class Member:
    """One life of one node: an echo server, a few workers, a ticker."""

    def __init__(self, lab: Lab, name: NodeName, boot: int) -> None:
        self.lab = lab
        self.life = Incarnation(name, boot)
        self.rng = SimRng(lab.seed, self.life)
        self.clock = SimClock(lab.loop, self.life, self.rng)
        self.wire = SimWire(lab.broker, self.life)
        self.waiting: dict[str, asyncio.Future[bytes]] = {}
        self.asked = 0
        self.lock = asyncio.Lock()
        self.room = asyncio.Semaphore(2)
        self.queue: asyncio.Queue[int] = asyncio.Queue(3)
        self.changed = asyncio.Condition()
        self.total = 0

    def log(self, text: str) -> None:
        self.lab.journal.append(f"{self.life.node}/{self.life.boot} {text}")

    # what the wire calls

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        token = subject.rpartition(".")[2]
        if reply:
            self.log(f"serves {subject}")
            self.wire.send(reply, payload)
        elif token in self.waiting and not self.waiting[token].done():
            self.waiting[token].set_result(payload)

    def on_no_responders(self, subject: str) -> None:
        future = self.waiting.get(subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_exception(ConnectionRefusedError(subject))

    def on_disconnected(self) -> None:
        self.log("lost the broker")

    def on_reconnected(self) -> None:
        self.log("is back at the broker")

    # what it does

    async def live(self) -> None:
        try:
            await self.wire.open(self)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.ticker())
                group.create_task(self.consumer())
                for number in range(3):
                    group.create_task(self.producer(number))
                    group.create_task(self.caller(number))
        finally:
            self.log("ends orderly")  # never for one that crashed

    async def ticker(self) -> None:
        async for tick in self.clock.every(0.05, 0.01):
            async with self.changed:
                self.total += tick
                self.changed.notify_all()

    async def consumer(self) -> None:
        while True:
            item = await self.queue.get()
            async with self.room, self.lock:
                await self.clock.sleep(self.rng.stream("work").uniform(0.0, 0.01))
            self.log(f"consumed {item}")
            if item % 7 == 3:
                await self.family(item)

    async def producer(self, number: int) -> None:
        for item in range(number, 200, 3):
            await self.queue.put(item)
            if item % 5 == 0:
                async with self.changed:
                    before = self.total
                    await self.changed.wait_for(lambda before=before: self.total > before)  # type: ignore[misc]

    async def family(self, item: int) -> None:
        """One child fails, its siblings are cancelled: in which order is the question."""
        try:
            async with asyncio.TaskGroup() as group:
                for child in range(8):
                    group.create_task(self.child(item, child))
        except* ZeroDivisionError:
            self.log(f"family {item} failed")

    async def child(self, item: int, number: int) -> None:
        try:
            await self.clock.sleep(0.004 if number == 5 else 0.02)
            _ = 1 / (number - 5)
        except asyncio.CancelledError:
            self.log(f"child {item}.{number} cancelled")
            raise

    async def caller(self, number: int) -> None:
        draw = self.rng.stream(f"caller-{number}")
        while True:
            to = NODES[draw.randrange(0, len(NODES))]
            self.asked += 1
            token = f"{self.life.boot}-{self.asked}"
            future = self.waiting[token] = asyncio.get_running_loop().create_future()
            try:
                self.wire.send(
                    request_subject(self.life.node, to, "Echo"),
                    self.rng.token(16),
                    reply_subject(to, self.life.node, token),
                )
                async with self.clock.timeout(0.05):
                    await future
                self.log(f"heard from {to}")
            except Exception as error:
                self.log(f"no word from {to}: {type(error).__name__}")
            finally:
                del self.waiting[token]
            await self.clock.sleep(draw.uniform(0.0, 0.02))


class Lab:
    def __init__(self, seed: int, loop: SimLoop) -> None:
        self.seed = seed
        self.loop = loop
        self.broker = SimBroker(loop, seed)
        self.journal: list[str] = []
        self.members: dict[NodeName, Member] = {}

    def power_on(self, name: NodeName, boot: int) -> None:
        member = self.members[name] = Member(self, name, boot)
        self.loop.create_task(member.live(), name=f"{name}/{boot}", context=context_of(member.life))

    def crash(self, name: NodeName) -> None:
        self.members[name].life.end(WayDown.CRASH)
        self.members[name].wire.abort()

    async def story(self, planted: str) -> None:
        rng = random.Random(self.seed)
        for name in NODES:
            self.power_on(name, 1)
        if planted:
            await self.careless(planted)
        for boot in range(2, 8):
            await asyncio.sleep(rng.uniform(0.1, 0.3))
            victim, sleeper = rng.sample(NODES, 2)
            self.crash(victim)
            self.broker.pause(sleeper)
            await asyncio.sleep(rng.uniform(0.1, 0.2))
            self.power_on(victim, boot)
            if boot % 3 == 0:
                self.broker.stop()
                await asyncio.sleep(rng.uniform(0.1, 0.3))
                self.broker.start()
            self.broker.resume(sleeper)
        await asyncio.sleep(0.3)

    async def careless(self, planted: str) -> None:
        """The bugs that the hash must catch: an order that memory addresses decide."""
        things = [Thing() for _ in range(40)]
        delays = {thing: number / 1000 for number, thing in enumerate(things)}
        match planted:
            case "set":
                for thing in set(things):
                    await asyncio.sleep(delays[thing])
            case "id":
                for thing in sorted(things, key=id):
                    await asyncio.sleep(delays[thing])
            case "hash":
                for name in {str(name) for name in NODES}:
                    await asyncio.sleep(int(name[-1]) / 1000)


def play(
    seed: int,
    junk: int = 0,
    *,
    record: bool = False,
    planted: str = "",
    order: StepOrder | None = None,
) -> Outcome:
    """Run the story once."""
    scramble(junk)
    with SimLoop(seed, trace=Trace(record=record), order=order) as loop:
        lab = Lab(seed, loop)
        loop.run(lab.story(planted), seconds=60)
        for line in lab.journal:
            loop.trace.add(0, "", 0, line)
        return Outcome(
            loop.trace.hash(),
            loop.order.value,
            loop.steps,
            loop.time(),
            tuple(lab.journal),
            tuple(loop.escapes),
            tuple(loop.unhandled),
            tuple(loop.trace.entries) if record else (),
        )


def play_planted(seed: int, junk: int, planted: str) -> str:
    """The hash of a careless run; the journal is left out, so the loop alone must notice."""
    scramble(junk)
    with SimLoop(seed) as loop:
        loop.run(Lab(seed, loop).careless(planted))
        return loop.trace.hash()
