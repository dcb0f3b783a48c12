"""The Bus port over both wires: typing, errors, order, repeats, links, sealing, broker loss."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import pytest

from protocol.errors import (
    Busy,
    Disconnected,
    Internal,
    InvalidField,
    NotAvailable,
    NotSent,
    ProductError,
    Refused,
    TimedOut,
)
from protocol.messages.agent import CutRule, DelayRule, DuplicateRule, LinkRule, LossRule
from protocol.messages.base import Ping, Pong, Sealed
from protocol.messages.kms.keys import (
    Activate,
    CreateKey,
    Destroy,
    DiscoverVersions,
    KeyCreated,
    KeyState,
    ServerVersions,
)
from protocol.secret import KeyMaterial
from protocol.subjects import reply_subject, request_subject
from protocol.terms import KeyId, KmipState, NodeName
from services.runtime.incarnation import WayDown
from services.runtime.node import ALWAYS, SHARE, NodeRunner
from services.runtime.ports import Ports
from services.runtime.service import Halted, Peer, Service, ServiceNode, serves
from tests.conformance.talk import Bench, both

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
KEY = KeyMaterial(b"\x5a\xa5" * 16)


class Echo(Service):
    """A key server's messages with answers made up on the spot."""

    def __init__(self, node: ServiceNode, ports: Ports) -> None:
        super().__init__(node, ports)
        self.served: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.peers: list[Peer] = []

    @serves(DiscoverVersions)
    async def versions(self, message: DiscoverVersions, peer: Peer) -> ServerVersions:
        self.peers.append(peer)
        await self.gate.wait()
        self.served.append("versions")
        return ServerVersions(versions=("1.4",))

    @serves(CreateKey)
    async def create(self, message: CreateKey, peer: Peer) -> KeyCreated:
        if message.algorithm != "AES":
            raise InvalidField(f"algorithm {message.algorithm}")
        if message.length != 256:
            raise RuntimeError("a defect of the service")
        self.served.append(message.operation_id)
        return KeyCreated(
            key_id=KeyId("k"),
            state=KmipState.ACTIVE,
            material=Sealed.of(KEY) if message.get else None,
        )

    @serves(Activate, turn=lambda message: "keys")
    async def activate(self, message: Activate, peer: Peer) -> KeyState:
        # The first waits longest: without a ticket given at acceptance the order would turn.
        await self.clock.sleep(0.2 if message.key_id == "0" else 0.0)
        self.served.append(message.key_id)
        return KeyState(key_id=message.key_id, state=KmipState.ACTIVE)


def service(runner: Any) -> Echo:
    found = runner.service
    assert isinstance(found, Echo)
    return found


async def fails(kind: type[ProductError], work: Any) -> ProductError:
    with pytest.raises(kind) as caught:
        await work
    return caught.value


async def typed(bench: Bench) -> None:
    """A reply of its type comes back; the peer is who the broker proved; errors arrive whole."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    reply = await a.bus.request(B, DiscoverVersions(), within_s=5)
    assert reply == ServerVersions(versions=("1.4",))
    assert service(b).peers == [Peer(A, 1, local=False)]
    error = await fails(
        InvalidField, a.bus.request(B, CreateKey(operation_id="x", algorithm="DES"), within_s=5)
    )
    assert str(error) == "algorithm DES" and error.definite
    await fails(NotAvailable, a.bus.request(B, Destroy(key_id=KeyId("k")), within_s=5))
    assert (await a.bus.request(B, Ping(), within_s=5)) == Pong(boot=1, role="kms")


async def defects(bench: Bench) -> None:
    """An unexpected exception answers Internal, is counted, and the node lives."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    error = await fails(
        Internal, a.bus.request(B, CreateKey(operation_id="x", length=128), within_s=5)
    )
    assert not error.definite and b.internal_errors == 1
    assert [r.kind for r in bench.records if r.level == "error"] == ["node.internal_error"]
    await a.bus.request(B, DiscoverVersions(), within_s=5)


async def sealed(bench: Bench) -> None:
    """Key material arrives, and its bytes were on no wire."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    seen: list[bytes] = []
    for runner in (a, b):
        wire = runner.bus._wire
        send = wire.send

        def spy(subject: str, payload: bytes, reply: str = "", send: Any = send) -> None:
            seen.append(payload)
            send(subject, payload, reply)

        wire.send = spy  # type: ignore[method-assign]
    made = await a.bus.request(B, CreateKey(operation_id="x", get=True), within_s=5)
    assert made.material is not None and made.material.keys == (KEY,)
    assert seen and not any(KEY.reveal() in payload for payload in seen)


async def order(bench: Bench) -> None:
    """What needs order keeps the order of acceptance, whatever each one waits for."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(a.bus.request(B, Activate(key_id=KeyId(str(number))), within_s=20))
    assert service(b).served == [str(n) for n in range(8)]


async def cut(bench: Bench) -> None:
    """A cut link is silence until the deadline; the other direction and other links go on."""
    a, b, c = [await bench.node(n, Echo) for n in "abc"]
    bench.rules(CutRule(id="t", src=A, dst=B))
    error = await fails(TimedOut, a.bus.request(B, DiscoverVersions(), within_s=1))
    assert not error.definite and service(b).served == []
    assert a.bus.counters["dropped_egress"] == 1
    await c.bus.request(B, DiscoverVersions(), within_s=5)
    # One way only: b's request reaches a, but a's reply takes the cut link.
    await fails(TimedOut, b.bus.request(A, DiscoverVersions(), within_s=1))
    assert service(a).served == ["versions"]
    bench.rules()
    await a.bus.request(B, DiscoverVersions(), within_s=5)


async def leases(bench: Bench) -> None:
    """A rule whose lease has run out is gone, with nobody there to take it back."""
    a, _ = await bench.node("a", Echo), await bench.node("b", Echo)
    bench.rules(CutRule(id="t", src=A, dst=B, until=bench.world.monotonic() + 3))
    await fails(TimedOut, a.bus.request(B, DiscoverVersions(), within_s=1))
    await bench.world.sleep(3.1)
    await a.bus.request(B, DiscoverVersions(), within_s=5)


async def late_epochs(bench: Bench) -> None:
    """An old set of rules that arrives late changes nothing."""
    a, _ = await bench.node("a", Echo), await bench.node("b", Echo)
    bench.rules()
    bench._epoch -= 1
    bench.rules(CutRule(id="t", src=A, dst=B))
    await a.bus.request(B, DiscoverVersions(), within_s=5)


async def delay_and_duplicates(bench: Bench) -> None:
    """A delayed message comes later; a doubled one is served once."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    bench.rules(DelayRule(id="t", src=A, dst=B, base_s=1.5))
    start = bench.world.monotonic()
    await a.bus.request(B, DiscoverVersions(), within_s=10)
    assert bench.world.monotonic() - start >= 1.5
    bench.rules(DuplicateRule(id="t", src=A, dst=B, share=1.0))
    await a.bus.request(B, CreateKey(operation_id="once"), within_s=5)
    await a.bus.request(B, DiscoverVersions(), within_s=5)
    assert service(b).served.count("once") == 1
    assert b.bus.counters["duplicates"] >= 1


async def answered(a: NodeRunner, count: int) -> int:
    """How many of so many requests, all under way at once, b answers within a moment."""
    answers: list[str] = []

    async def ask() -> None:
        try:
            await a.bus.request(B, Ping(), within_s=0.1)
            answers.append("pong")
        except TimedOut:
            return

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(ask())
    return len(answers)


async def loss(bench: Bench) -> None:
    """Loss is drawn per message, and the n-th message has the same fate again."""
    a, _ = await bench.node("a", Echo), await bench.node("b", Echo)
    bench.rules(LossRule(id="t", src=A, dst=B, share=0.5))
    assert 0 < await answered(a, 6) < 6


async def chains(bench: Bench) -> None:
    """Rules on one link compose, in whatever order they were put there."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    late = DelayRule(id="late", src=A, dst=B, base_s=0.3)
    lost = LossRule(id="lost", src=A, dst=B, share=1.0)
    twice = DuplicateRule(id="twice", src=A, dst=B, share=1.0)
    cut = CutRule(id="cut", src=A, dst=B)
    silent: list[tuple[LinkRule, LinkRule]] = [(late, lost), (lost, late), (twice, lost)]
    silent += [(late, cut), (cut, twice), (twice, cut)]
    for first, second in silent:
        bench.rules(first, second)
        await fails(TimedOut, a.bus.request(B, DiscoverVersions(), within_s=1))
    assert service(b).served == [] and b.bus.counters["duplicates"] == 0
    for rules in ((late, twice), (twice, late)):
        bench.rules(*rules)
        before, start = b.bus.counters["duplicates"], bench.world.monotonic()
        await a.bus.request(B, DiscoverVersions(), within_s=5)
        assert bench.world.monotonic() - start >= 0.3
        await bench.world.sleep(0.2)
        assert b.bus.counters["duplicates"] == before + 1
    assert service(b).served == ["versions", "versions"]


async def copies(bench: Bench) -> None:
    """Each copy of a doubled message has a fate of its own: of half lost, a quarter stays away."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    bench.rules(
        DuplicateRule(id="twice", src=A, dst=B, share=1.0),
        LossRule(id="half", src=A, dst=B, share=0.5),
    )
    came = await answered(a, 40)
    doubles = b.bus.counters["duplicates"]
    assert 20 < came < 40 and 0 < doubles < came
    assert {c.rule: c.struck for c in bench.world.rules.count_strikes(A)} == {
        "twice": 40,
        "half": 80 - came - doubles,
    }


async def deadlines(bench: Bench) -> None:
    """No request runs after its deadline: it is dropped when it arrives late."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    bench.rules(DelayRule(id="t", src=A, dst=B, base_s=4.0))
    await fails(TimedOut, a.bus.request(B, CreateKey(operation_id="late"), within_s=1))
    await bench.world.sleep(4.5)
    assert service(b).served == [] and b.bus.counters["late"] == 1


async def forged(bench: Bench) -> None:
    """Requests with a reply subject elsewhere, or a false sender inside, are dropped."""
    a, b, _ = [await bench.node(n, Echo) for n in "abc"]
    good: list[tuple[str, bytes, str]] = []
    wire = a.bus._wire
    send = wire.send
    wire.send = lambda subject, payload, reply="": good.append((subject, payload, reply))  # type: ignore[method-assign]
    task = asyncio.get_running_loop().create_task(a.bus.request(B, DiscoverVersions(), within_s=1))
    await bench.world.sleep(0.1)
    wire.send = send  # type: ignore[method-assign]
    subject, payload, _ = good[0]
    bench.raw("a", subject, payload, reply_subject("b", "c", "1-1"))
    bench.raw("a", subject, payload, "")
    # c repeats a's envelope under its own subject: the sender inside is not c.
    bench.raw(
        "c", request_subject("c", "b", "DiscoverVersions"), payload, reply_subject("b", "c", "1-9")
    )
    await fails(TimedOut, task)
    await bench.world.sleep(0.2)
    assert service(b).served == [] and b.bus.counters["forged"] == 3


async def junk(bench: Bench) -> None:
    """Random bytes on any subject are counted and dropped."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    for payload in (b"", b"\xc1", b"\xff" * 100, bytes(range(256)), b"\x98" + b"\xc0" * 8):
        bench.raw(
            "a", request_subject("a", "b", "CreateKey"), payload, reply_subject("b", "a", "1")
        )
        bench.raw("a", reply_subject("a", "b", "1-1"), payload)
        bench.raw("a", request_subject("a", "b", "NoSuch"), payload, reply_subject("b", "a", "2"))
    await a.bus.request(B, DiscoverVersions(), within_s=5)
    assert b.bus.counters["malformed"] == 10 and b.bus.counters["unexpected_replies"] == 5


async def nobody(bench: Bench) -> None:
    """A process that is down refuses; a machine that is off is silent; a cut hides both."""
    a = await bench.node("a", Echo)
    bench.add("b", Echo)
    await fails(TimedOut, a.bus.request(B, DiscoverVersions(), within_s=1))
    bench.rules(refusing=("b",))
    error = await fails(Refused, a.bus.request(B, DiscoverVersions(), within_s=5))
    assert error.definite
    bench.rules(CutRule(id="t", src=B, dst=A), refusing=("b",))
    await fails(TimedOut, a.bus.request(B, DiscoverVersions(), within_s=1))


async def broker_lost(bench: Bench) -> None:
    """Calls in flight end, new ones are refused at once, and all heals by itself."""
    a, b = await bench.node("a", Echo), await bench.node("b", Echo)
    service(b).gate.clear()
    task = asyncio.get_running_loop().create_task(a.bus.request(B, DiscoverVersions(), within_s=30))
    while not service(b).peers:
        await bench.world.sleep(0.05)
    await bench.broker_dies()
    error = await fails(Disconnected, task)
    assert not error.definite
    await fails(NotSent, a.bus.request(B, DiscoverVersions(), within_s=5))
    service(b).gate.set()
    await bench.broker_returns()
    for _ in range(100):
        try:
            await a.bus.request(B, DiscoverVersions(), within_s=1)
            break
        except ProductError:
            await bench.world.sleep(0.1)
    else:
        raise AssertionError("the bus did not heal")


async def boots_without_network(bench: Bench) -> None:
    """A node that no broker lets in runs all the same, and comes in when the broker is back."""
    a = await bench.node("a", Echo)
    await bench.broker_dies()
    b = await bench.node("b", Echo)
    assert bench.machine("b").status().state == "running"
    await fails(NotSent, b.bus.request(A, DiscoverVersions(), within_s=5))
    await bench.broker_returns()
    for _ in range(100):
        try:
            await a.bus.request(B, DiscoverVersions(), within_s=1)
            break
        except ProductError:
            await bench.world.sleep(0.1)
    assert service(b).served == ["versions"]
    [told] = [r for r in bench.records if r.kind == "bus.unreachable"]
    assert told.node == "b" and "broker" in str(told.fields["reason"]), told


async def busy(bench: Bench) -> None:
    """Over its share a peer hears Busy, and nothing of it has begun; others and the console are
    served all the same, also when two peers have filled the node."""
    floods = [await bench.node(name, Echo) for name in ("a", "c")]
    calm, b = await bench.node("d", Echo), await bench.node("b", Echo)
    gate = service(b).gate
    gate.clear()
    outcomes: Counter[str] = Counter()

    async def ask(who: str, asked: Awaitable[Any]) -> None:
        try:
            await asked
            outcomes[f"{who} ok"] += 1
        except Busy:
            outcomes[f"{who} busy"] += 1

    async with asyncio.TaskGroup() as group:
        for node in floods:
            for _ in range(SHARE + 3):
                question = node.bus.request(B, DiscoverVersions(), within_s=30)
                group.create_task(ask(node.name, question))
        while outcomes.total() < 6:
            await bench.world.sleep(0.05)
        for _ in range(ALWAYS + 2):
            question = calm.bus.request(B, DiscoverVersions(), within_s=30)
            group.create_task(ask("calm", question))
            group.create_task(ask("console", b.ask(DiscoverVersions(), 30)))
        while outcomes.total() < 8:
            await bench.world.sleep(0.05)
        gate.set()
    assert outcomes == {
        "a busy": 3,
        "a ok": SHARE,
        "c busy": 3,
        "c ok": SHARE,
        "calm ok": ALWAYS,
        "calm busy": 2,
        "console ok": ALWAYS + 2,
    }
    await calm.bus.request(B, DiscoverVersions(), within_s=30)  # for all have left


class Stubborn(Echo):
    """Halts, fails at start, or has a background loop that fails, as its class says."""

    how = ""

    async def start(self) -> None:
        if self.how == "halt":
            raise Halted("a purple screen")
        if self.how == "fail":
            raise RuntimeError("cannot start")
        if self.how == "background":
            self.node.background("loop", self._loop())

    async def _loop(self) -> None:
        await self.clock.sleep(0.3)
        raise RuntimeError("the loop broke")


def stubborn(how: str) -> type[Stubborn]:
    return type("Stubborn", (Stubborn,), {"how": how})


async def ways_down(bench: Bench) -> None:
    """A halted node is silent; one whose start or background fails has crashed; each restarts."""
    a = await bench.node("a", Echo)
    halted = bench.add("b", stubborn("halt"))
    await halted.power_on({}, wait=True)
    assert halted.status().state == "halted" and halted.status().screen == "a purple screen"
    await fails(TimedOut, a.bus.request(B, Ping(), within_s=0.5))
    failed = bench.add("c", stubborn("fail"))
    await failed.power_on({}, wait=True)
    assert failed.status().state == "off" and failed.status().ended == "crash"
    broken = bench.add("d", stubborn("background"))
    await broken.power_on({}, wait=True)
    assert broken.status().state == "running"
    await bench.world.sleep(1.0)
    assert broken.status().state == "off" and broken.status().ended == "crash"
    assert any(r.kind == "node.background_failed" for r in bench.records)
    await broken.power_on({}, wait=True)
    assert broken.status().boot == 2


async def orderly_stop(bench: Bench) -> None:
    """A stop lets running requests finish, then cancels the rest and names them."""
    a, _ = await bench.node("a", Echo), await bench.node("b", Echo)
    first = asyncio.get_running_loop().create_task(
        a.bus.request(B, Activate(key_id=KeyId("0")), within_s=20)
    )
    await bench.world.sleep(0.1)
    await bench.machine("b").power_off(WayDown.STOP)
    assert (await first).key_id == "0"
    machine = bench.machine("b")
    await machine.power_on({}, wait=True)
    service(machine.runner).gate.clear()
    asked = a.bus.request(B, DiscoverVersions(), within_s=12)
    stuck = asyncio.get_running_loop().create_task(asked)
    await bench.world.sleep(0.1)
    stopping = asyncio.get_running_loop().create_task(machine.power_off(WayDown.STOP))
    await bench.world.sleep(0.1)
    await fails(TimedOut, a.bus.request(B, CreateKey(operation_id="late"), within_s=2))
    assert service(machine.runner).served == [], "nothing begins in a node that stops"
    await stopping
    named = [r.fields["requests"] for r in bench.records if r.kind == "node.cancelled"]
    assert named == [["DiscoverVersions"]]
    await fails(TimedOut, stuck)


test_typed = both(typed)
test_defects = both(defects)
test_sealed = both(sealed)
test_order = both(order)
test_cut = both(cut)
test_leases = both(leases)
test_late_epochs = both(late_epochs)
test_delay_and_duplicates = both(delay_and_duplicates)
test_loss = both(loss)
test_chains = both(chains)
test_copies = both(copies)
test_deadlines = both(deadlines)
test_forged = both(forged)
test_junk = both(junk)
test_nobody = both(nobody)
test_broker_lost = both(broker_lost)
test_boots_without_network = both(boots_without_network)
test_busy = both(busy)
test_ways_down = both(ways_down)
test_orderly_stop = both(orderly_stop, pace=4.0)


def test_two_handlers_of_one_message_are_refused() -> None:
    with pytest.raises(TypeError, match="CreateKey is served by"):

        class Twice(Echo):
            @serves(CreateKey)
            async def again(self, message: CreateKey, peer: Peer) -> KeyCreated:
                raise AssertionError
