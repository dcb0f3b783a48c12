"""Who may answer, and what a cut takes of what is on its way already; over both wires."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from protocol.codec import VERSION, ReplyEnvelope, decode_envelope, encode_envelope, encode_message
from protocol.errors import Malformed, TimedOut
from protocol.messages.agent import CutRule
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import AddKeys, KeysAdded
from protocol.messages.kms.keys import DiscoverVersions, ServerVersions
from protocol.secret import KeyMaterial
from protocol.subjects import reply_subject
from protocol.terms import CryptoKeyId, KeyId, NodeName, ProviderId
from services.runtime.ports import Ports
from services.runtime.service import Peer, Service, ServiceNode, serves
from tests.conformance.talk import Bench, both

B = NodeName("b")
KEY = KeyMaterial(bytes(range(1, 33)))
RIGHT, WRONG = [CryptoKeyId(KeyId(name), ProviderId("p")) for name in ("right", "wrong")]


class Slow(Service):
    """Answers when its gate opens."""

    def __init__(self, node: ServiceNode, ports: Ports) -> None:
        super().__init__(node, ports)
        self.gate = asyncio.Event()
        self.asked = 0

    @serves(DiscoverVersions)
    async def versions(self, message: DiscoverVersions, peer: Peer) -> ServerVersions:
        self.asked += 1
        await self.gate.wait()
        return ServerVersions(versions=("true",))


async def forged_reply(bench: Bench) -> None:
    """A third node that guesses the token and names the right sender inside is not believed."""
    a, b, _ = [await bench.node(n, Slow) for n in "abc"]
    service = b.service
    assert isinstance(service, Slow)
    task = asyncio.get_running_loop().create_task(a.bus.request(B, DiscoverVersions(), within_s=30))
    while not service.asked:
        await bench.world.sleep(0.05)
    ((token, call),) = a.bus._calls._calls.items()
    body = encode_message(ServerVersions(versions=("false",)))
    for inside in ("b", "c"):
        envelope = ReplyEnvelope(VERSION, call.number, NodeName(inside), 1, "ServerVersions", body)
        bench.raw("c", reply_subject("c", "a", token), encode_envelope(envelope))
    await bench.world.sleep(0.3)
    assert a.bus.counters["forged"] == 2 and not task.done()
    service.gate.set()
    assert (await task).versions == ("true",)


class Keeper(Service):
    """Takes keys."""

    def __init__(self, node: ServiceNode, ports: Ports) -> None:
        super().__init__(node, ports)
        self.taken: list[KeyMaterial] = []

    @serves(AddKeys)
    async def add(self, message: AddKeys, peer: Peer) -> KeysAdded:
        self.taken += message.material.keys
        return KeysAdded(results=())


async def replayed_box(bench: Bench) -> None:
    """A box of key material opens in the message that it was made for, and in no other."""
    a, b = [await bench.node(n, Keeper) for n in "ab"]
    service = b.service
    assert isinstance(service, Keeper)
    sent: list[tuple[str, bytes, str]] = []
    wire = a.bus._wire
    send = wire.send

    def tapped(subject: str, payload: bytes, reply: str = "") -> None:
        sent.append((subject, payload, reply))
        send(subject, payload, reply)

    wire.send = tapped  # type: ignore[method-assign]
    await a.bus.request(B, AddKeys(keys=(), material=Sealed.of(KEY)), within_s=5)
    ((subject, payload, reply),) = sent
    assert service.taken == [KEY] and KEY.reveal() not in payload
    envelope = decode_envelope(payload)
    for changed in ({"message_id": 1_000_000}, {"boot": envelope.boot + 1}):
        forged = msgspec.structs.replace(envelope, **changed)
        bench.raw("a", subject, encode_envelope(forged), reply)
    await bench.world.sleep(0.3)
    assert (service.taken, b.bus.counters["malformed"]) == ([KEY], 2)


async def swapped_ids(bench: Bench) -> None:
    """A key arrives under the id that its sender gave it, or not at all."""
    a, b = [await bench.node(n, Keeper) for n in "ab"]
    service = b.service
    assert isinstance(service, Keeper)
    wire = a.bus._wire
    send = wire.send

    def swapped(subject: str, payload: bytes, reply: str = "") -> None:
        body = encode_message(AddKeys(keys=(WRONG,), material=Sealed.in_box(0)))
        envelope = msgspec.structs.replace(decode_envelope(payload), body=body)
        send(subject, encode_envelope(envelope), reply)

    wire.send = swapped  # type: ignore[method-assign]
    message = AddKeys(keys=(RIGHT,), material=Sealed.of(KEY))
    with pytest.raises(Malformed, match="does not open"):
        await a.bus.request(B, message, within_s=5)
    assert service.taken == []


async def cut_in_flight(bench: Bench) -> None:
    """The receiver drops what left its sender before the link was cut and comes in after."""
    a, b = await bench.node("a", Slow), await bench.node("b", Slow)
    service = b.service
    assert isinstance(service, Slow)
    service.gate.set()
    task = asyncio.get_running_loop().create_task(a.bus.request(B, DiscoverVersions(), within_s=1))
    while not a.bus.counters["requests"]:
        await asyncio.sleep(0)
    bench.rules(CutRule(id="t", src=NodeName("a"), dst=B))
    try:
        await task
    except TimedOut:
        pass
    else:
        raise AssertionError("it came through the cut")
    assert (service.asked, b.bus.counters["dropped_ingress"]) == (0, 1)


test_forged_reply = both(forged_reply)
test_replayed_box = both(replayed_box)
test_swapped_ids = both(swapped_ids)
test_cut_in_flight = both(cut_in_flight)
