"""What servers of a group say to each other of themselves, and what is made of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from protocol.messages.agent import DiskAct, SkewClock
from protocol.messages.kms import replication as m
from protocol.messages.kms.replication import MakeActive
from protocol.terms import NodeName
from services.kms.audit.audit_trail import EMPTY
from services.kms.operations.core import KeyServerCore
from services.kms.replication import oplog, replicas, standing
from services.kms.replication.group import ReplicationGroup
from services.kms.service import KmsService
from tests.services.kms.group_rig import A, B, C, GroupRig

ACTIVE = "kms.active"


@pytest.fixture
def rig() -> Iterator[GroupRig]:
    made = GroupRig()
    yield made
    made.healthy()
    made.close()


def service(rig: GroupRig, server: NodeName) -> KmsService:
    found = rig.agent.machine(server).runner.service
    assert isinstance(found, KmsService)
    return found


def group_of(rig: GroupRig, server: NodeName) -> ReplicationGroup:
    found = service(rig, server).group
    assert found is not None
    return found


def test_a_life_that_has_not_looked_does_not_say_that_it_has(rig: GroupRig) -> None:
    """Nor to one that knows no end of its trail: that may be what it has lost."""
    one = service(rig, B)
    said, _ = rig.run(
        one._database.query(
            lambda connection: standing.describe_standing(
                connection, one._vault, B, A, None, total=False
            )
        )
    )
    other = service(rig, A)

    def believed(connection: sqlite3.Connection) -> bool:
        oplog.record_peer(connection, B, {}, EMPTY)
        return standing.looked(connection, B, said)

    assert not rig.run(other._database.transact(believed))


def test_who_is_refused_a_key_writes_down_the_breach_too(rig: GroupRig) -> None:
    """It may never be told of the other material: that one's teller may be gone."""
    bus = group_of(rig, A)._bus
    request = bus.request

    async def refused(to: NodeName, message: Any, **how: Any) -> Any:
        reply = await request(to, message, **how)
        if to != B or not isinstance(message, m.TellChanges):
            return reply
        keys = tuple([key.key_id for key in message.keys])
        return msgspec.structs.replace(reply, refused=keys)

    bus.request = refused  # type: ignore[method-assign]
    key = rig.key(A, "one")
    rig.sleep(1)
    assert [(one.key_id, one.peer) for one in rig.group(A).breaches] == [(key, B)]
    [said] = rig.seen("kms.breach")
    assert (said.node, said.fields["peer"]) == (A, B)
    assert not rig.group(B).breaches


def test_who_was_put_back_has_all_told_at_once_and_only_once(rig: GroupRig) -> None:
    """By its own word, and not because totals differ later."""
    for number in range(3):
        rig.key(A, f"old {number}")
    rig.sleep(1)
    rig.power_off(A)
    rig.disk(A, DiskAct.SAVE)
    rig.power_on(A)
    lost = rig.key(A, "lost")
    rig.sleep(1)
    rig.power_off(A)
    rig.disk(A, DiskAct.RESTORE)
    rig.power_on(A)
    rig.sleep(10)
    assert lost in rig.attributes(A)
    assert rig.seen("kms.behind_peer") and not rig.seen("kms.differs")
    logs = "SELECT epoch, last FROM epochs ORDER BY epoch"
    before = [rig.at_rest(server, logs) for server in rig.servers]
    rig.sleep(100)
    assert [rig.at_rest(server, logs) for server in rig.servers] == before, "told for ever"


@pytest.fixture
def forward() -> Iterator[GroupRig]:
    made = GroupRig(mode="forward")
    yield made
    made.healthy()
    made.close()


def taking(rig: GroupRig) -> list[NodeName | None]:
    """Who takes changes, as each server knows it."""
    return [rig.group(server).active for server in rig.servers]


@pytest.mark.parametrize("order", [(B, C), (C, B), (B, A), (B, C, B), (B, B, C), (C, C, B)])
def test_of_appointments_that_knew_nothing_of_each_other_the_last_one_counts(
    forward: GroupRig, order: tuple[NodeName, ...]
) -> None:
    """Whatever their names, and however many each side has seen; also of the one that was active
    before, which thinks that it still is."""
    forward.cut((A, B), (A, C), (B, C))
    for server in order:
        forward.at(server, MakeActive())
        forward.sleep(1)
    forward.heal()
    forward.sleep(60)
    assert taking(forward) == [order[-1]] * 3
    key = forward.key(order[0], "one")
    assert key in forward.attributes(order[-1])


def test_who_hears_that_another_one_was_appointed_says_so(forward: GroupRig) -> None:
    forward.at(B, MakeActive())
    forward.sleep(40)
    said = [(one.node, one.fields["active"], one.fields["term"]) for one in forward.seen(ACTIVE)]
    assert sorted(said) == [(server, B, 1) for server in forward.servers], "once each"


def test_an_appointment_that_another_one_overtook_is_not_obeyed(
    forward: GroupRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are durable in their order; the handler that was told of the first goes on later."""
    core, go = service(forward, B).core, asyncio.Event()
    store_replicas = replicas.store_replicas

    async def slow(at: KeyServerCore, *told: Any) -> Any:
        done = await store_replicas(at, *told)
        if at is core:
            await go.wait()
        return done

    monkeypatch.setattr(replicas, "store_replicas", slow)
    forward.at(A, MakeActive())
    forward.sleep(1)
    forward.at(B, MakeActive())
    go.set()
    forward.sleep(60)
    assert taking(forward) == [B] * 3
    assert forward.key(B, "one") in forward.attributes(B), "it does not think that A is active"


@pytest.mark.slow
def test_an_appointment_follows_those_that_are_known_whatever_the_clock_says(
    forward: GroupRig,
) -> None:
    """Also once all have begun anew: the stamp is durable."""
    forward.run(forward.agent.skew(SkewClock(node=B, skew_s=86400)))
    forward.at(B, MakeActive())
    forward.sleep(2)
    for server in forward.servers:
        forward.power_off(server)
        forward.power_on(server)
    forward.sleep(2)
    forward.at(C, MakeActive())
    forward.sleep(60)
    assert taking(forward) == [C] * 3
    assert forward.group(A).term == 2
