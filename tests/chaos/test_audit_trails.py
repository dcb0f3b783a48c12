"""Audit trails that are followed: also where an older database has come in their place, and what
they say of who asked is what was said on the bus."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.administration import back_up, restore
from chaos.matrix.judging.account import Audited, KeyRequest, requests_in_trail, requests_on_bus
from chaos.matrix.scene import Heard, Trails
from chaos.observe.audit import AuditTail
from chaos.observe.look import all_vms
from protocol.errors import TimedOut
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.vcenter.vms import PowerOffVm, PowerOnVm
from protocol.terms import NodeName
from tests.chaos.bad_labs import Bad
from tests.chaos.worlds import World

KMS = NodeName("kms")


async def fetch(world: World) -> str:
    """The host of the one VM lost its key, so that vCenter fetches it; its id."""
    lab = world.lab
    [vm] = await all_vms(lab, lab.vcenter)
    assert vm.key is not None
    await lab.ask(lab.vcenter, PowerOffVm(vm=vm.vm))
    await lab.ask(vm.host, RemoveKeys(keys=(vm.key,)))
    await lab.ask(lab.vcenter, PowerOnVm(vm=vm.vm))
    return str(vm.key.key_id)


def by_vcenter(world: World, tail: AuditTail) -> list[KeyRequest]:
    began_at = world.lab.loop.epoch
    rows = zip(tail.of, tail.rows, strict=True)
    trail = [Audited(t=row.at - began_at, server=of, row=row) for of, row in rows]
    return [one for one in requests_in_trail(trail) if one.by == world.lab.vcenter]


def test_the_trail_says_of_a_fetch_what_the_bus_has_heard() -> None:
    """So that it may speak where the bus hears nothing."""
    world = World(hosts=1, vms=1)
    heard, tail = Heard(world.lab.monotonic), AuditTail(world.lab)
    world.run(tail.position())
    before, since = len(by_vcenter(world, tail)), world.lab.monotonic()
    world.lab.broker.tap = heard.hear
    key = world.run(fetch(world))
    world.run(tail.position())
    told = by_vcenter(world, tail)[before:]
    on_bus = list(requests_on_bus(list(heard.of(world.lab.vcenter, since)), (KMS,)))
    told_of = {(one.server, one.key, one.usable) for one in told}
    assert told_of == {(one.server, one.key, one.usable) for one in on_bus} == {(KMS, key, True)}
    assert all(0 <= one.t - on_bus[0].t < 0.1 for one in told[:1])
    world.close()


def test_trails_are_read_where_a_key_server_is_behind_kmip_and_nowhere_else() -> None:
    for transport, keys in (("bus", 0), ("kmip", 1)):
        world = World(hosts=1, vms=1, kms={"replicas": 1, "transport": transport})
        trails = Trails(world.lab, world.lab.loop.epoch)
        since = world.lab.monotonic()
        key = world.run(fetch(world))
        until = world.lab.monotonic()
        world.run(trails.follow())
        asked = trails.requests_by(world.lab.vcenter, since, until)
        assert {one.key for one in asked} == {key} if keys else not asked
        assert not trails.requests_by(world.lab.vcenter, until, until + 1) and not trails.unread
        assert not trails.requests_by(world.lab.hosts()[0], since, until)
        world.close()


def test_a_trail_that_was_put_back_is_read_on_from_where_it_is() -> None:
    world = World(hosts=1, vms=1)
    tail = AuditTail(world.lab)
    world.run(back_up(world.lab, (KMS,), "before"))
    world.run(fetch(world))
    first = world.run(tail.position())
    assert len(by_vcenter(world, tail)) and tail.of == [KMS] * first
    world.run(restore(world.lab, (KMS,), "before"))
    world.run(fetch(world))
    second = world.run(tail.position())
    digests = [row.digest for row in tail.rows]
    assert second > first and len(set(digests)) == len(digests) == second
    assert "Get" in {row.operation for row in tail.rows[first:]}, "what came after the restore"
    world.close()


@pytest.mark.parametrize("put_back", [False, True])
def test_a_server_that_was_silent_is_unread_until_it_is_read_on(put_back: bool) -> None:
    world = World(hosts=1, vms=1)
    world.run(back_up(world.lab, (KMS,), "before"))
    bad: Any = Bad(world)
    tail, real = AuditTail(bad), bad.ask
    world.run(fetch(world))
    world.run(tail.position())

    async def silent(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        raise TimedOut("silence")

    bad.ask = silent
    world.run(tail.position())
    assert tuple(tail.unread) == (KMS,) and tail.blind
    bad.ask = real
    if put_back:
        world.run(restore(world.lab, (KMS,), "before"))
    world.run(tail.position())
    assert bool(tail.unread) is put_back, "rows of in between may have gone with the database"
    assert tail.blind
    world.close()
