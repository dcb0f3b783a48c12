"""A pair of key servers: what one acknowledges the other has, or is marked as not having."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from protocol.attributes import ObjectDigest
from protocol.errors import GeneralFailure, PermissionDenied
from protocol.messages.agent import CutRule, DelayRule, DiskAct, DiskAction
from protocol.messages.base import Sealed
from protocol.messages.kms.keys import (
    AddAttribute,
    CreateKey,
    Destroy,
    GetKeyAttributes,
    GetKeys,
    Locate,
    QueryAudit,
    Revoke,
)
from protocol.messages.kms.replication import JoinPair, QueryPair, Replica, ReplicateKeys
from protocol.secret import KeyMaterial
from protocol.terms import KmipState, NodeName, RevocationReason
from services.kms.access.authorization import caller_at
from services.kms.replication.pair import KEYS_AT_ONCE, ReplicationPair
from services.kms.replication.pair_state import PeerView
from services.kms.service import KmsService
from services.runtime.service import Peer
from tests.services.kms.pair_rig import PAIR, A, B, PairRig


@pytest.fixture
def rig() -> Iterator[PairRig]:
    made = PairRig()
    yield made
    made.healthy()
    made.close()


def test_a_key_is_on_both_when_it_is_acknowledged(rig: PairRig) -> None:
    """At the very moment of the answer: the other loses nothing of it, whatever comes."""
    key = rig.key(A, "1")
    for server in PAIR:
        rig.power_off(server, "power_loss")
    rig.power_on(B)
    assert rig.values(B, (key,)) == {key: rig.material[key]}


def test_both_directions(rig: PairRig) -> None:
    keys = (rig.key(A, "1"), rig.key(B, "2"))
    for server in PAIR:
        assert rig.values(server, keys) == rig.material
    assert rig.attributes(A) == rig.attributes(B)


def test_a_repeat_at_the_other_server_finds_the_same_key(rig: PairRig) -> None:
    """What vCenter does when the first does not answer in time."""
    assert rig.key(A, "1") == rig.key(B, "1")
    assert len(rig.attributes(A)) == 1


def test_states_are_on_both_when_they_are_acknowledged(rig: PairRig) -> None:
    key = rig.key(A, "1")
    rig.at(B, Revoke(key_id=key, reason=RevocationReason.KEY_COMPROMISE))
    assert rig.attributes(A)[key].state is KmipState.COMPROMISED
    rig.at(A, Destroy(key_id=key))
    assert rig.attributes(B)[key].state is KmipState.DESTROYED_COMPROMISED
    assert rig.values(B, (key,)) == {key: None}
    assert rig.attributes(A) == rig.attributes(B)


def test_a_peer_that_is_off_is_marked_and_told_when_it_is_back(rig: PairRig) -> None:
    rig.power_off(B)
    key = rig.key(A, "1")
    view = rig.at(A, QueryPair())
    assert (view.peer, view.waiting) == (B, 1) and view.down_since is not None
    rig.power_on(B)
    assert rig.values(B, (key,)) == rig.material, "at the first question after the start"
    rig.sleep(20)
    assert rig.in_step()
    assert [record.fields["in_step"] for record in rig.seen("kms.pair")] == [False, True]


def test_a_silent_peer_costs_one_wait_of_less_than_a_call(rig: PairRig) -> None:
    rig.cut((A, B))
    start = rig.world.monotonic()
    rig.key(A, "1")
    first = rig.world.monotonic() - start
    rig.key(A, "2")
    second = rig.world.monotonic() - start - first
    assert 4 < first < 6 and second < 0.2
    rig.heal()
    rig.sleep(30)
    assert rig.in_step() and set(rig.attributes(B)) == set(rig.material)


def test_the_mark_outlives_a_crash_of_who_made_it(rig: PairRig) -> None:
    """Made while the peer was away, told by a later life of the server that made it."""
    rig.power_off(B)
    key = rig.key(A, "1")
    rig.power_off(A, "power_loss")
    rig.power_on(A)
    assert rig.at(A, QueryPair()).waiting == 1
    rig.power_on(B)
    rig.sleep(1)
    rig.power_off(A)
    assert rig.values(B, (key,)) == rig.material


def test_apart_both_go_on_and_agree_afterwards(rig: PairRig) -> None:
    """One operation at both, one key destroyed at one and compromised at the other."""
    key = rig.key(A, "1")
    rig.cut((A, B))
    apart = {rig.key(A, "2"), rig.key(B, "2")}
    assert len(apart) == 2
    rig.at(A, Revoke(key_id=key))
    rig.at(A, Destroy(key_id=key))
    rig.at(B, Revoke(key_id=key, reason=RevocationReason.KEY_COMPROMISE))
    rig.heal()
    rig.sleep(30)
    assert rig.in_step()
    assert rig.attributes(A) == rig.attributes(B)
    assert rig.attributes(A)[key].state is KmipState.DESTROYED_COMPROMISED
    for server in PAIR:
        values = rig.values(server, tuple(rig.material))
        assert values == {**rig.material, key: None}
    assert rig.key(A, "2") == rig.key(B, "2"), "a repeat means one key wherever it comes"


def test_who_begins_answers_only_when_it_has_the_last_of_many_messages(rig: PairRig) -> None:
    """More waits than one message holds: the first of them is not all that was missed."""
    rig.power_off(B)

    async def some(numbers: range) -> None:
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(rig.make(A, str(number)))

    for begin in range(0, KEYS_AT_ONCE + 1, 64):
        rig.run(some(range(begin, begin + 64)))
    rig.world.rules.apply(rig.rules.put([DelayRule(id="slow", src=A, dst=B, base_s=0.5)]))
    rig.power_on(B)
    last = list(rig.attributes(A))[-1]
    assert len(rig.material) > KEYS_AT_ONCE
    assert rig.values(B, (last,)) == {last: rig.material[last]}


def test_who_is_met_by_a_peer_that_has_news_waits_for_them(rig: PairRig) -> None:
    """Both have begun anew, and the peer's word comes first: it says that keys wait there."""
    rig.power_off(B)
    key = rig.key(A, "1")
    rig.power_off(A)
    rig.power_on(A)
    rules = [
        DelayRule(id="join", src=B, dst=A, base_s=3),
        DelayRule(id="news", src=A, dst=B, base_s=0.1),
    ]
    rig.world.rules.apply(rig.rules.put(rules))
    rig.power_on(B)
    assert rig.values(B, (key,)) == rig.material


def test_a_peer_that_has_news_and_falls_silent_is_waited_for_as_long_as_a_call_may_last(
    rig: PairRig,
) -> None:
    """It said so when it joined, and it hears nothing since; its mark does not end the wait."""
    rig.cut((A, B))
    apart = {rig.key(A, "1"), rig.key(B, "2")}
    for server in PAIR:
        rig.power_off(server)
    rig.heal()
    rig.world.rules.apply(rig.rules.put([DelayRule(id="slow", src=B, dst=A, base_s=60)]))
    rig.power_on(A)
    rig.sleep(12)  # its call has failed, and it tries again after five
    rig.power_on(B)
    start = rig.world.monotonic()
    found = rig.run(rig.request(B, GetKeys(key_ids=tuple(sorted(apart))), within_s=30)).values
    assert len([value for value in found if value.state is not None]) == 1
    assert 9.5 < rig.world.monotonic() - start < 10.5


def test_a_cut_one_way_keeps_nobody_waiting(rig: PairRig) -> None:
    """The peer hears, but its answers are lost: acknowledged as marked, and no key is twice."""
    rig.world.rules.apply(rig.rules.put([CutRule(id="cut", src=B, dst=A)]))
    key = rig.key(A, "1")
    assert rig.values(B, (key,)) == rig.material
    rig.heal()
    rig.sleep(30)
    assert rig.in_step() and rig.attributes(A) == rig.attributes(B)


def test_a_peer_that_is_marked_in_the_moment_of_its_answer_is_told_all_the_same(
    rig: PairRig,
) -> None:
    """What it was told is written down just before the mark: nothing waits, and it is marked."""
    for number in range(40):
        slow = DelayRule(id="slow", src=B, dst=A, base_s=4.98 + number * 0.0005)
        rig.world.rules.apply(rig.rules.put([slow]))
        rig.key(A, f"slow {number}")
        rig.world.rules.apply(rig.rules.drop("slow"))
        rig.sleep(12)
        assert rig.in_step()
    assert rig.seen("kms.pair"), "some of them came too late"


def test_a_mark_that_is_heard_of_late_is_not_remembered_for_ever(
    rig: PairRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for two commits may go on in any order: what counts is what was committed last."""
    service = rig.agent.machine(A).runner.service
    assert isinstance(service, KmsService) and service.pair is not None
    database = service.pair._database
    transact = database.transact

    async def heard_late(fn: Callable[..., Any], *applied: Callable[..., Any]) -> Any:
        told = await transact(fn, *applied)
        if told is True and "mark_down" in fn.__code__.co_names:
            await rig.world.sleep(2)  # meanwhile the peer answers
        return told

    monkeypatch.setattr(database, "transact", heard_late)
    rig.world.rules.apply(rig.rules.put([DelayRule(id="slow", src=B, dst=A, base_s=6)]))
    rig.key(A, "1")
    rig.world.rules.apply(rig.rules.drop("slow"))
    rig.sleep(30)
    assert rig.in_step()
    rig.wire.clear()
    rig.sleep(30)
    assert not rig.wire, "they are in step, and nothing is to be said"


@pytest.mark.parametrize("silent", [False, True])
def test_a_disk_that_notes_neither_answer_nor_mark_is_no_success(
    rig: PairRig, silent: bool
) -> None:
    """The key itself is durable; but the client must not believe that the other server has it."""
    disk = rig.world.stores[A]
    if silent:
        rig.cut((A, B))
    else:
        slow = DelayRule(id="slow", src=B, dst=A, base_s=1)
        rig.world.rules.apply(rig.rules.put([slow]))

    async def disk_fills_up() -> None:
        await rig.world.sleep(0.3)
        disk.full = True

    async def asked() -> None:
        with pytest.raises(GeneralFailure):
            await asyncio.gather(rig.make(A, "1"), disk_fills_up())

    rig.run(asked())
    disk.full = False
    rig.heal()
    rig.world.rules.apply(rig.rules.drop("slow"))
    rig.sleep(30)
    assert rig.in_step() and rig.key(A, "1") in rig.attributes(B)


def test_of_many_changes_those_that_were_told_are_answered(
    rig: PairRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message holds two of them: the others wait for the next one, and their clients too."""
    monkeypatch.setattr("services.kms.replication.pair.KEYS_AT_ONCE", 2)
    slow = DelayRule(id="slow", src=A, dst=B, base_s=0.5)
    rig.world.rules.apply(rig.rules.put([slow]))

    async def made(operation_id: str) -> None:
        key = await rig.make(A, operation_id)
        assert rig.at_rest(B, "SELECT 1 FROM keys WHERE key_id = ?", key)

    async def at_once() -> None:
        await asyncio.gather(*(made(str(number)) for number in range(6)))

    rig.run(at_once())
    assert not rig.seen("kms.pair"), "the other server was never marked"


def test_many_at_once_share_messages(rig: PairRig) -> None:
    async def many() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(rig.make(PAIR[number % 2], str(number)))

    rig.run(many())
    assert len(rig.material) == 300
    assert rig.attributes(A) == rig.attributes(B)
    pushed = rig.agent.machine(A).status().counters["requests"]
    assert pushed < 60


UNSEEN: dict[str, Any] = {
    "sequence": 0,
    "digest": bytes(32),
    "end_sequence": 0,
    "end_digest": bytes(32),
}


def test_only_the_peer_replicates(rig: PairRig) -> None:
    empty = ReplicateKeys(keys=(), material=Sealed.of(), last=True, **UNSEEN)
    assert isinstance(rig.refused(A, empty), PermissionDenied)
    joining = JoinPair(sequence=0, digest=bytes(32), waiting=0, everything=True)
    assert isinstance(rig.refused(A, joining), PermissionDenied)
    assert isinstance(rig.refused(A, QueryPair()), PermissionDenied)


def test_the_peer_does_nothing_else(rig: PairRig) -> None:
    bus = rig.agent.machine(B).runner.ports.bus
    with pytest.raises(PermissionDenied):
        rig.run(bus.request(A, CreateKey(operation_id="1", get=True), within_s=10))


FOREIGN: dict[str, object] = {
    "scope": "another",
    "operation_id": "2",
    "origin": B,
    "algorithm": "Camellia",
    "length": 128,
    "usage_mask": 1,
    "initial_date": 1.0,
    "digest": bytes(32),
    "index": 0,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_never_changes_of_a_key_is_refused_when_the_peer_says_otherwise(
    rig: PairRig, name: str
) -> None:
    """No id has two materials, and none moves into another client's scope: refused, noted, told."""
    key = rig.key(A, "1")
    known = rig.attributes(A)[key]
    [digest] = rig.ask(A, GetKeyAttributes(key_id=key, names=("Digest",))).attributes
    assert isinstance(digest.value, ObjectDigest)
    told = Replica(
        key_id=key,
        scope="default",
        operation_id="1",
        origin=A,
        algorithm=known.algorithm,
        length=known.length,
        usage_mask=known.usage_mask,
        state=known.state,
        initial_date=known.initial_date,
        activation_date=known.activation_date,
        last_change_date=known.last_change_date,
        digest=digest.value.digest,
    )
    bus = rig.agent.machine(B).runner.ports.bus
    for replica in (told, msgspec.structs.replace(told, **{name: FOREIGN[name]})):
        material = Sealed.of(*([KeyMaterial(bytes(32))] if replica.index is not None else []))
        message = ReplicateKeys(keys=(replica,), material=material, last=True, **UNSEEN)
        reply = rig.run(bus.request(A, message, within_s=10))
        assert reply.refused == (() if replica is told else (key,))
    assert rig.values(A, (key,)) == rig.material
    assert rig.attributes(A) == {key: known}
    assert [record.node for record in rig.seen("kms.replica_refused")] == [A]
    [row] = [row for row in rig.at(A, QueryAudit()).rows if row.result != "Success"]
    noted = (row.who, row.operation, row.key_id, row.result)
    assert noted == (B, "Replicate", key, "Cryptographic Failure")


def test_no_key_bytes_travel_or_lie_in_clear(rig: PairRig) -> None:
    rig.power_off(B)
    keys = [rig.key(A, str(number)) for number in range(3)]
    rig.power_on(B)
    rig.sleep(20)
    rig.key(A, "last")
    places = [*rig.wire, *(data for s in PAIR for _, data in rig.world.stores[s].images())]
    assert any(keys[0].encode() in data for data in rig.wire), "ids are seen, so material would be"
    for secret in rig.material.values():
        raw = secret.reveal()
        assert not any(raw in data or raw.hex().encode() in data for data in places)
    rig.wire.append(b"." + raw)
    assert any(raw in data for data in rig.wire), "a planted one is found"


def test_a_disk_put_back_is_filled_again(rig: PairRig) -> None:
    """The whole disk of one server, also what it keeps of itself: its peer sees it."""
    rig.key(A, "1")
    rig.power_off(B)
    rig.run(rig.agent.disk(DiskAction(node=B, act=DiskAct.SAVE, label="old")))
    rig.power_on(B)
    later = rig.key(A, "2")
    rig.power_off(B)
    rig.run(rig.agent.disk(DiskAction(node=B, act=DiskAct.RESTORE, label="old")))
    rig.power_on(B)
    assert rig.values(B, (later,)) == {later: rig.material[later]}
    assert [record.node for record in rig.seen("kms.behind_peer")] == [B]
    rig.sleep(20)
    assert rig.in_step() and rig.attributes(A) == rig.attributes(B)


def test_a_disk_put_back_is_seen_also_by_who_tells_it_something_first(rig: PairRig) -> None:
    """What it says when it begins is lost, and it is told of a new key before it says it again."""
    rig.power_off(B)
    rig.run(rig.agent.disk(DiskAction(node=B, act=DiskAct.SAVE, label="old")))
    rig.power_on(B)
    rig.sleep(5)
    later = rig.key(A, "1")
    rig.power_off(B)
    rig.run(rig.agent.disk(DiskAction(node=B, act=DiskAct.RESTORE, label="old")))
    rig.world.rules.apply(rig.rules.put([CutRule(id="cut", src=B, dst=A)]))
    rig.power_on(B)
    rig.sleep(1)
    rig.heal()
    rig.key(A, "2")
    assert not rig.seen("kms.pair"), "nobody was marked"
    rig.sleep(60)
    assert rig.in_step() and rig.attributes(A) == rig.attributes(B)
    assert rig.values(B, (later,)) == {later: rig.material[later]}


def test_a_disk_put_back_is_filled_again_by_a_peer_that_begins_after_it(rig: PairRig) -> None:
    """It is the peer that says first how far it has seen the trail, and hears that it is lost."""
    rig.power_off(B)
    rig.run(rig.agent.disk(DiskAction(node=B, act=DiskAct.SAVE, label="old")))
    rig.power_on(B)
    rig.sleep(5)
    key = rig.key(A, "1")
    for server in PAIR:
        rig.power_off(server)
    rig.run(rig.agent.disk(DiskAction(node=B, act=DiskAct.RESTORE, label="old")))
    rig.power_on(B)
    rig.sleep(1)
    rig.power_on(A)
    assert rig.values(B, (key,)) == {key: rig.material[key]}
    rig.sleep(30)
    assert rig.in_step() and rig.attributes(A) == rig.attributes(B)


def test_a_change_that_comes_while_an_earlier_one_is_told_is_told_too(rig: PairRig) -> None:
    key = rig.key(A, "1")
    rig.world.rules.apply(rig.rules.put([DelayRule(id="slow", src=A, dst=B, base_s=1)]))

    async def revoked_and_destroyed() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.console(A, Revoke(key_id=key)))
            await rig.world.sleep(0.5)
            group.create_task(rig.console(A, Destroy(key_id=key)))

    rig.run(revoked_and_destroyed())
    assert rig.attributes(B)[key].state is KmipState.DESTROYED
    assert rig.attributes(A) == rig.attributes(B)


def test_a_peer_that_does_not_answer_is_tried_again_after_a_pause(rig: PairRig) -> None:
    """A try lasts as long as a call may, and the pause is half as long."""
    rig.world.rules.apply(rig.rules.put([CutRule(id="cut", src=B, dst=A)]))
    rig.key(A, "1")
    before = len(rig.wire)
    rig.sleep(600)
    assert len(rig.wire) - before == 600 / 15


def test_attributes_reach_the_peer_and_meet_again(rig: PairRig) -> None:
    """While the two were apart each has written; afterwards both have all of it."""
    key = rig.key(A, "1")
    rig.ask(A, AddAttribute(key_id=key, name="x-a", value="1"))
    [told] = rig.ask(B, GetKeyAttributes(key_id=key, names=("x-a",))).attributes
    assert told.value == "1"
    rig.cut((A, B))
    rig.ask(A, AddAttribute(key_id=key, name="x-b", value="2"))
    rig.ask(B, AddAttribute(key_id=key, name="x-c", value="3"))
    rig.heal()
    rig.sleep(60)
    for server in PAIR:
        names = ("x-a", "x-b", "x-c", "Digest")
        there = rig.ask(server, GetKeyAttributes(key_id=key, names=names)).attributes
        assert [one.value for one in there][:3] == ["1", "2", "3"] and len(there) == 4
        found = rig.ask(server, Locate(attributes=there[:3]))
        assert found.key_ids == (key,)


@pytest.mark.parametrize("how", ["met", "told"])
def test_who_has_lost_what_its_peer_saw_tells_it_nothing_before_it_has_asked(
    rig: PairRig, how: str
) -> None:
    """Its answer, which says so, may be lost; and what it tells first would hide the loss."""
    rig.key(A, "1")
    rig.sleep(5)
    service = rig.agent.machine(A).runner.service
    assert isinstance(service, KmsService) and service.pair is not None
    pair, lost = service.pair, bytes(32)
    sent: list[str] = []
    request = pair._bus.request

    async def noted(to: Any, message: Any, **how: Any) -> Any:
        sent.append(type(message).__name__)
        return await request(to, message, **how)

    pair._bus.request = noted  # type: ignore[method-assign]
    if how == "met":
        joining = JoinPair(sequence=99, digest=lost, waiting=0, everything=False)
        assert rig.run(pair.accept_join(joining)).everything
    else:
        [(end, digest)] = rig.at_rest(B, "SELECT sequence, digest FROM audit_head")
        told = ReplicateKeys(
            keys=(),
            material=Sealed.of(),
            last=True,
            sequence=99,
            digest=lost,
            end_sequence=end,
            end_digest=digest,
        )
        caller = caller_at(service.config, B, local=False)
        peer = Peer(node=B, boot=1, local=False)
        assert not rig.run(pair.take(told, peer, caller)).intact
    key = rig.key(A, "2")
    assert sent[:2] == ["JoinPair", "ReplicateKeys"]
    assert rig.values(B, (key,)) == {key: rig.material[key]}


def test_an_answer_of_an_earlier_life_does_not_hide_what_a_server_has_lost(
    rig: PairRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both disks are put back, and the answer of the peer's first life comes after the question of
    its second one. What A tells before it has asked again would hide that A has lost a key."""
    start, arrived, released = ReplicationPair.start, asyncio.Event(), asyncio.Event()

    async def start_slow(pair: ReplicationPair) -> None:
        request, view, first_life = pair._bus.request, pair.view, not arrived.is_set()

        async def hold_answer(to: Any, message: Any, **how: Any) -> Any:
            reply = await request(to, message, **how)
            if isinstance(message, JoinPair) and message.everything:
                arrived.set()
                await released.wait()
            return reply

        async def push_nothing(waiting: Any) -> None:
            await asyncio.Event().wait()

        async def read_slowly() -> PeerView:
            await rig.world.sleep(0.05)
            return await view()

        if pair._node.name == A:
            monkeypatch.setattr(pair._bus, "request", hold_answer)
        elif first_life:
            monkeypatch.setattr(pair, "_push", push_nothing)
        else:
            monkeypatch.setattr(pair, "view", read_slowly)
        await start(pair)

    def restart(server: NodeName, act: DiskAct) -> None:
        rig.power_off(server)
        rig.run(rig.agent.disk(DiskAction(node=server, act=act, label="old")))
        rig.power_on(server)

    restart(A, DiskAct.SAVE)
    rig.sleep(5)
    lost = rig.key(A, "lost")
    monkeypatch.setattr(ReplicationPair, "start", start_slow)
    restart(B, DiskAct.SAVE)
    rig.sleep(5)
    restart(A, DiskAct.RESTORE)
    rig.run(arrived.wait())
    rig.world.rules.apply(rig.rules.put([CutRule(id="cut", src=A, dst=B)]))
    restart(B, DiskAct.RESTORE)
    rig.sleep(1)
    released.set()
    rig.sleep(1)  # the answer to B is lost; B asks again in 13 seconds, and so does A
    rig.heal()
    rig.key(A, "new")
    rig.sleep(60)
    assert rig.in_step() and rig.attributes(A) == rig.attributes(B)
    assert rig.values(A, (lost,)) == {lost: rig.material[lost]}
