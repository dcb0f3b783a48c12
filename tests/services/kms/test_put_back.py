"""A server's whole disk is put back, also what it keeps of itself: nobody but the others can tell.

What it made since then is on them, and must be again on all; what it makes anew must be too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from protocol.messages.agent import DiskAct, DiskAction
from protocol.messages.kms.keys import CreateKey
from protocol.terms import KeyId, NodeName
from services.kms.access.authorization import caller_at
from services.kms.audit.audit_trail import EMPTY
from services.kms.commit.unit_of_work import KeyChange
from services.kms.replication import checksums, replicas
from services.kms.service import KmsService
from tests.services.kms.group_rig import A, B, C, GroupRig
from tests.services.kms.pair_rig import PAIR, PairRig

SOON = 60.0  # all servers have compared where they stand


@pytest.fixture
def pair() -> Iterator[PairRig]:
    rig = PairRig()
    yield rig
    rig.close()


@pytest.fixture
def group() -> Iterator[GroupRig]:
    rig = GroupRig(group_exchange_s=5)
    yield rig
    rig.close()


def copied(rig: PairRig, server: NodeName) -> None:
    rig.power_off(server)
    rig.run(rig.agent.disk(DiskAction(node=server, act=DiskAct.SAVE, label="old")))
    rig.power_on(server)
    rig.sleep(5)


def put_back(rig: PairRig, server: NodeName) -> None:
    rig.power_off(server)
    rig.run(rig.agent.disk(DiskAction(node=server, act=DiskAct.RESTORE, label="old")))
    rig.power_on(server)


def created(rig: PairRig, server: NodeName, operation_id: str) -> KeyId:
    """At the console, so that no link to a client matters."""
    return rig.at(server, CreateKey(operation_id=operation_id, activate=True)).key_id


@pytest.mark.parametrize("anew", [False, True])
def test_keys_that_a_server_of_a_pair_has_made_itself_come_back_to_it(
    pair: PairRig, anew: bool
) -> None:
    pair.key(A, "old")
    copied(pair, A)
    lost = pair.key(A, "lost")
    put_back(pair, A)
    if anew:
        pair.key(A, "anew")
    pair.sleep(SOON)
    assert pair.in_step() and pair.attributes(A) == pair.attributes(B)
    assert pair.values(A, tuple(pair.material)) == pair.material
    assert lost in pair.material and pair.seen("kms.behind_peer")
    pair.healthy()


def test_the_word_of_a_server_of_a_pair_that_lost_its_disk_may_be_lost_too(pair: PairRig) -> None:
    """The other does not hear that it shall tell all, and is told of a new key before it does."""
    copied(pair, A)
    lost = created(pair, A, "lost")
    pair.power_off(B)
    put_back(pair, A)
    created(pair, A, "anew")
    pair.power_on(B)
    pair.sleep(0.001)
    pair.cut((A, B))
    pair.sleep(3)
    pair.heal()
    created(pair, A, "last")
    pair.sleep(SOON)
    assert lost in pair.attributes(A)
    assert pair.attributes(A) == pair.attributes(B)


def test_an_operation_that_is_repeated_has_two_keys_then_and_jams_nothing(pair: PairRig) -> None:
    copied(pair, A)
    lost = created(pair, A, "x")
    pair.power_off(B)
    put_back(pair, A)
    again = created(pair, A, "x")
    assert again != lost
    pair.power_on(B)
    pair.sleep(SOON)
    after = pair.key(A, "after")
    pair.sleep(SOON)
    assert pair.in_step() and set(pair.attributes(B)) == {lost, again, after}
    assert pair.attributes(A) == pair.attributes(B)
    assert {created(pair, server, "x") for server in PAIR} == {lost}, "the oldest, on both"
    pair.healthy()


def test_so_it_is_in_a_group(group: GroupRig) -> None:
    copied(group, A)
    lost = created(group, A, "x")
    group.sleep(1)
    group.cut((A, B), (A, C))
    put_back(group, A)
    again = created(group, A, "x")
    group.heal()
    group.sleep(SOON)
    after = group.key(A, "after")
    group.sleep(SOON)
    assert group.agree() and set(group.attributes(C)) == {lost, again, after}
    group.healthy()


def test_a_number_is_not_given_again_though_the_only_one_who_could_tell_is_gone(
    group: GroupRig,
) -> None:
    """The lost key came to C by way of B, which then goes; C has never seen A's trail go so far."""
    group.key(A, "old")
    copied(group, A)
    group.cut((A, C))
    lost = group.key(A, "lost")
    group.sleep(20)
    group.power_off(B)
    put_back(group, A)
    anew = group.key(A, "anew")
    group.heal()
    group.sleep(SOON)
    assert group.agree(A, C) and {lost, anew} <= set(group.attributes(C))
    assert not group.group(A).at_risk
    group.power_on(B)
    group.sleep(SOON)
    assert group.agree()
    group.healthy()


def test_nor_when_the_two_have_never_met(group: GroupRig) -> None:
    group.cut((A, C))
    group.key(A, "old")
    copied(group, A)
    lost = group.key(A, "lost")
    group.sleep(20)
    group.power_off(B)
    put_back(group, A)
    anew = group.key(A, "anew")
    group.heal()
    group.sleep(SOON)
    assert group.agree(A, C) and {lost, anew} <= set(group.attributes(C))
    group.healthy()


def test_what_two_have_is_compared_though_both_have_heard_of_the_same(group: GroupRig) -> None:
    """Each was told by another life of a third server, which is gone, and neither can know."""
    copied(group, A)
    group.cut((A, C), (B, C))
    lost = group.key(A, "lost")
    group.sleep(1)
    group.power_off(B)
    put_back(group, A)
    group.heal()
    anew = group.key(A, "anew")
    group.sleep(1)
    group.power_off(A)
    assert anew in group.attributes(C)
    group.power_on(B)
    group.sleep(SOON)
    assert group.agree(B, C) and {lost, anew} <= set(group.attributes(C))
    group.power_on(A)
    group.sleep(SOON)
    assert group.agree()
    group.healthy()


def test_a_key_that_no_log_has_is_found_by_comparing_totals(group: GroupRig) -> None:
    """Whatever brought it there: two that have heard of the same changes tell everything."""
    group.key(A, "old")
    group.cut((A, B), (A, C))
    key = group.key(A, "secret")
    service = group.agent.machine(A).runner.service
    assert isinstance(service, KmsService)
    [replica] = group.run(replicas.read_replicas(service.core, [KeyChange(key, 0)]))
    other = group.agent.machine(C).runner.service
    assert isinstance(other, KmsService)

    def also(connection: sqlite3.Connection, _: object) -> None:
        checksums.mark_unsummed(connection, [key])

    caller = caller_at(other.config, A, local=False)
    group.run(replicas.store_replicas(other.core, caller, [replica], EMPTY, also))
    assert key in group.attributes(C) and key not in group.attributes(B)
    group.sleep(SOON)
    assert key in group.attributes(B) and group.seen("kms.differs")
    group.heal()
    group.sleep(SOON)
    assert group.agree()
    group.wire.clear()
    group.sleep(SOON)
    assert len(group.wire) < 400, "they compare, and have nothing to say"
    group.healthy()
