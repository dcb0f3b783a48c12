"""Servers that replicate after the answer: mode ``async``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from protocol.errors import InvalidArgument, NotAvailable, NotConnected, PermissionDenied, TimedOut
from protocol.messages.agent import DiskAct, SkewClock
from protocol.messages.base import Sealed
from protocol.messages.kms.keys import AddAttribute, CreateKey, Destroy, GetKeys, OnBehalf, Revoke
from protocol.messages.kms.replication import MakeActive, QueryGroup, TellChanges
from protocol.terms import KmipState, RevocationReason
from services.kms.access.authorization import caller_at
from services.kms.objects import request_types
from services.kms.replication.standing import describe_standing
from services.kms.service import KmsService
from services.kms.settings.config import kms_config
from services.runtime.service import Peer
from tests.services.kms.group_rig import A, B, C, GroupRig
from tests.services.kms.pair_rig import CLIENT


@pytest.fixture
def group() -> Iterator[Callable[..., GroupRig]]:
    """Makes groups, and closes them."""
    made: list[GroupRig] = []

    def make(**settings: Any) -> GroupRig:
        made.append(GroupRig(**settings))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


Groups = Callable[..., GroupRig]


def test_a_key_is_answered_at_once_and_reaches_all_soon(group: Groups) -> None:
    rig = group()
    rig.cut((A, B), (A, C))
    key = rig.key(A, "one")
    assert rig.group(A).at_risk == (key,)
    assert rig.values(B, (key,)) == {key: None}, "the replication gap: what has not come is missing"
    rig.sleep(20)
    peers = rig.group(A).peers
    assert [(peer.node, peer.waiting) for peer in peers] == [(B, 1), (C, 1)]
    assert all(peer.down_since is not None for peer in peers)
    rig.heal()
    rig.sleep(10)
    for server in (A, B, C):
        assert rig.values(server, (key,)) == {key: rig.material[key]}
    assert rig.group(A).at_risk == ()
    assert rig.agree()
    rig.healthy()


def test_of_many_keys_at_risk_the_first_are_told_and_the_number(
    group: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.kms.replication.group.LISTED", 2)
    rig = group()
    rig.cut((A, B), (A, C))
    keys = [rig.key(A, f"{number}") for number in range(3)]
    told = rig.group(A)
    assert (told.keys_at_risk, told.at_risk) == (3, tuple(keys[:2]))


def test_lag_is_measured_and_not_what_somebody_set(group: Groups) -> None:
    rig = group()
    rig.key(A, "quick")
    rig.sleep(1)
    [origin] = rig.group(B).origins
    assert origin.node == A and 0 <= origin.worst_lag_s < 1
    rig.cut((A, B))
    rig.key(A, "slow")
    rig.sleep(25)
    waits = {peer.node: peer.oldest_s for peer in rig.group(A).peers}
    assert 24 < waits[B] < 27 and waits[C] == 0
    rig.heal()
    rig.sleep(10)
    [origin] = rig.group(B).origins
    assert 24 < origin.worst_lag_s < 40
    assert origin.applied == 2


def test_a_third_server_tells_what_it_has_of_one_that_is_gone(group: Groups) -> None:
    rig = group(group_exchange_s=10)
    rig.cut((A, C))
    key = rig.key(A, "one")
    rig.sleep(1)
    rig.power_off(A)
    rig.sleep(30)
    assert rig.values(C, (key,)) == {key: rig.material[key]}
    rig.healthy()


def test_revoked_elsewhere_and_given_here_is_counted(group: Groups) -> None:
    rig = group()
    key = rig.key(A, "one")
    rig.sleep(1)
    rig.cut((A, B))
    rig.at(A, Revoke(key_id=key, reason=RevocationReason.KEY_COMPROMISE))
    rig.sleep(1)
    for _ in range(3):
        rig.ask(B, GetKeys(key_ids=(key,)))
    assert rig.group(B).stale_serves == 0, "it does not know yet"
    rig.heal()
    rig.sleep(40)
    assert rig.group(B).stale_serves == 3
    assert rig.attributes(B)[key].state is KmipState.COMPROMISED
    assert rig.group(C).stale_serves == 0


def test_a_tombstone_does_not_come_back(group: Groups) -> None:
    rig = group()
    key = rig.key(A, "one")
    rig.sleep(1)
    rig.cut((A, B), (A, C))
    rig.at(A, Revoke(key_id=key, reason=RevocationReason.CESSATION_OF_OPERATION))
    rig.at(A, Destroy(key_id=key))
    rig.at(B, Revoke(key_id=key, reason=RevocationReason.KEY_COMPROMISE))
    rig.heal()
    rig.sleep(60)
    for server in (A, B, C):
        assert rig.attributes(server)[key].state is KmipState.DESTROYED_COMPROMISED
        assert rig.values(server, (key,)) == {key: None}
    assert rig.agree()
    assert sum(rig.group(server).conflicts for server in (A, B, C)) > 0
    rig.healthy()


def test_numbered_ids_collide_in_a_split_brain(group: Groups) -> None:
    rig = group(settings={"ids": "sequential"})
    first = rig.key(A, "one")
    rig.sleep(1)
    assert rig.key(B, "two") == "2" and first == "1", "while they hear of each other they go on"
    rig.sleep(1)
    rig.cut((A, B), (B, C), (A, C))
    at_a = rig.key(A, "three")
    rig.material.clear()  # of this id there are two
    assert rig.key(B, "four") == at_a
    rig.heal()
    rig.sleep(40)
    assert (at_a, A) in [(breach.key_id, breach.peer) for breach in rig.group(B).breaches]
    assert rig.seen("kms.breach")
    assert not rig.agree(A, B)


def test_a_restart_forgets_nothing_that_is_to_be_told(group: Groups) -> None:
    rig = group()
    rig.cut((A, B), (A, C))
    key = rig.key(A, "one")
    rig.power_off(A, "power_loss")
    rig.heal()
    rig.power_on(A)
    rig.sleep(10)
    assert rig.values(B, (key,)) == {key: rig.material[key]}


def test_random_ids_never_meet(group: Groups) -> None:
    rig = group()
    rig.cut((A, B), (B, C), (A, C))
    keys = [rig.key(server, server) for server in (A, B, C)]
    assert len(set(keys)) == 3
    rig.heal()
    rig.sleep(60)
    assert rig.agree()
    assert not rig.group(A).breaches


def test_a_server_put_back_to_an_older_state_is_filled_again(
    group: Groups,
) -> None:
    rig = group()
    old = rig.key(A, "old")
    rig.sleep(1)
    rig.power_off(A)
    rig.disk(A, DiskAct.SAVE)
    rig.power_on(A)
    new = rig.key(A, "new")
    rig.sleep(1)
    rig.power_off(A)
    rig.disk(A, DiskAct.RESTORE)
    rig.power_on(A)
    newest = rig.key(A, "newest")
    rig.sleep(60)
    for server in (A, B, C):
        assert set(rig.attributes(server)) == {old, new, newest}
    assert rig.agree()
    assert rig.seen("kms.behind_peer")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_kills_under_load_lose_no_key(group: Groups, seed: int) -> None:
    """A crash keeps the disk, so not even keys at risk are lost when the server comes back."""
    rig = group(seed=seed, group_exchange_s=5)
    made = []
    for number in range(24):
        server = (A, B, C)[number % 3]
        made.append(rig.key(server, f"{seed}-{number}"))
        if number % 5 == 4:
            victim = (A, B, C)[(number // 5) % 3]
            rig.power_off(victim, "crash" if number % 2 else "power_loss")
            rig.power_on(victim)
    rig.sleep(60)
    for server in (A, B, C):
        assert rig.values(server, tuple(made)) == {key: rig.material[key] for key in made}
    assert rig.agree()
    rig.healthy()


def test_only_a_peer_tells_and_only_an_operator_asks(group: Groups) -> None:
    rig = group()
    assert isinstance(rig.refused(A, QueryGroup()), PermissionDenied)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"replication": "forward"}, "active"),
        ({"active": "kms-1"}, "active"),
        ({"identities": {"a": {"role": "peer"}, "b": {"role": "peer"}}}, "a pair has two"),
    ],
)
def test_settings_that_do_not_go_together(config: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        kms_config(config)


def test_a_standby_hands_changes_on_and_reads_for_itself(group: Groups) -> None:
    rig = group(mode="forward")
    key = rig.key(B, "one")
    assert rig.attributes(A)[key].state is KmipState.ACTIVE
    assert rig.values(A, (key,)) == {key: rig.material[key]}
    rig.sleep(1)
    assert rig.values(B, (key,)) == {key: rig.material[key]}
    [row] = rig.at_rest(A, "SELECT who FROM audit WHERE operation = 'Create'")
    assert row == (CLIENT,), "the trail tells who asked, and not who handed it on"
    rig.at(C, Revoke(key_id=key, reason=RevocationReason.KEY_COMPROMISE))
    assert rig.attributes(A)[key].state is KmipState.COMPROMISED
    assert rig.at_rest(A, "SELECT who FROM audit WHERE operation = 'Revoke'") == [("local/kms-3",)]
    rig.healthy()


def test_without_the_active_server_nothing_changes_until_another_is_appointed(
    group: Groups,
) -> None:
    rig = group(mode="forward")
    key = rig.key(A, "one")
    rig.sleep(1)
    rig.power_off(A)
    assert isinstance(rig.refused(B, CreateKey(operation_id="two")), TimedOut)
    assert rig.values(B, (key,)) == {key: rig.material[key]}, "it still reads"
    assert rig.at(B, MakeActive()).active == B
    rig.sleep(1)
    rig.power_off(B)
    rig.power_on(B)
    rig.sleep(2)
    assert rig.group(B).active == rig.group(C).active == B, "durable, and told"
    second = rig.key(C, "two")
    rig.power_on(A)
    rig.sleep(40)
    assert [rig.group(server).active for server in (A, B, C)] == [B, B, B]
    assert rig.values(A, (second,)) == {second: rig.material[second]}
    assert rig.agree()
    rig.healthy()


def test_two_active_servers_are_merged(group: Groups) -> None:
    """Cut off, the one that was active does not hear of the other's appointment."""
    rig = group(mode="forward")
    rig.cut((A, B), (A, C))
    rig.at(B, MakeActive())
    at_a, at_b = rig.key(A, "one"), rig.key(B, "two")
    assert {rig.group(A).active, rig.group(B).active} == {A, B}
    rig.heal()
    rig.sleep(60)
    assert rig.group(A).active == B
    for server in (A, B, C):
        assert set(rig.attributes(server)) == {at_a, at_b}
    assert rig.agree()


def test_only_a_peer_speaks_for_others(group: Groups) -> None:
    rig = group(mode="forward")
    said = OnBehalf(node=CLIENT)
    refused = rig.refused(A, CreateKey(operation_id="one", on_behalf=said))
    assert isinstance(refused, PermissionDenied)


def test_a_door_that_does_not_hand_changes_on_is_refused_them(group: Groups) -> None:
    rig = group(mode="forward")
    service = rig.agent.machine(B).runner.service
    assert isinstance(service, KmsService)
    client, core = caller_at(service.config, CLIENT, local=False), service.core
    with pytest.raises(NotConnected, match="kms-2 takes no changes; kms-1 does"):
        rig.run(core.execute(client, request_types.Create(operation_id="one")))
    assert rig.attributes(A) == rig.attributes(B) == {}


def test_in_mode_async_nobody_is_active(group: Groups) -> None:
    rig = group()
    assert rig.group(A).active is None
    with pytest.raises(NotAvailable):
        rig.at(A, MakeActive())


def test_two_servers_that_fail_each_other_do_not_wake_each_other_for_ever(group: Groups) -> None:
    """Both disks take nothing: neither what they are told, nor what they hear in an answer."""
    rig = group(group_exchange_s=5)
    rig.cut((A, B))
    rig.key(A, "one")
    rig.key(B, "two")
    for server in (A, B):
        rig.world.stores[server].full = True
    rig.heal()
    before = len(rig.wire)
    rig.sleep(60)
    assert len(rig.wire) - before < 600
    for server in (A, B):
        rig.world.stores[server].full = False
    rig.sleep(20)
    assert rig.agree()
    rig.healthy()


def test_stale_serves_are_counted_from_the_revocation_and_not_from_a_later_change(
    group: Groups,
) -> None:
    rig = group()
    key = rig.key(A, "one")
    rig.sleep(1)
    rig.cut((A, C), (B, C))
    rig.values(C, (key,))
    rig.at(B, Revoke(key_id=key))
    rig.sleep(5)
    rig.values(C, (key,))
    rig.sleep(5)
    rig.at(A, AddAttribute(key_id=key, name="x-later", value="1"))
    rig.sleep(20)
    rig.cut((A, C))  # B tells what it has of A's log too
    rig.sleep(40)
    assert rig.group(C).stale_serves == 1


@pytest.mark.slow
def test_lag_is_nothing_where_the_clock_of_who_applies_is_behind(group: Groups) -> None:
    rig = group()
    rig.run(rig.agent.skew(SkewClock(node=B, skew_s=-7200)))
    rig.key(A, "one")
    rig.sleep(1)
    [origin] = rig.group(B).origins
    assert origin.lag_s == origin.worst_lag_s == 0


def test_the_word_of_an_earlier_life_is_not_heard(group: Groups) -> None:
    """It says what that one had, which another disk may not have any more."""
    rig = group()
    rig.power_off(A)
    rig.power_on(A)
    rig.sleep(1)
    service = rig.agent.machine(B).runner.service
    assert isinstance(service, KmsService) and service.group is not None
    standing = rig.run(
        service._database.query(
            lambda c: describe_standing(c, service._vault, B, A, None, total=False)
        )
    )[0]
    message = TellChanges(material=Sealed.of(), standing=standing)
    with pytest.raises(NotConnected, match="earlier life"):
        rig.run(service.group.take(message, Peer(node=A, boot=1, local=False)))
