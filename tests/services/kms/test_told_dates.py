"""No state that was told leads back when the clock does: what a date has led to is written down
when somebody is told of it (KMIP 1.4 section 3.22 has no way from Deactivated to Active)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from protocol.attributes import Attribute
from protocol.errors import GeneralFailure, PermissionDenied
from protocol.messages.agent import SkewClock
from protocol.messages.kms.keys import AddAttribute as AddAttributeMessage
from protocol.terms import KeyId, KmipState
from services.kms.commit import group_commit, store
from services.kms.commit.key_cache import keys_touched_by
from services.kms.commit.unit_of_work import Written
from services.kms.objects.request_types import (
    ActivateObject,
    Create,
    Get,
    GetObjectAttributes,
    LocateObjects,
    ObtainLease,
)
from services.kms.operations.batches import Continuation
from services.kms.settings.config import Auditing
from tests.services.kms.core_rig import OWNER, STRANGER, do, items, made, trail, value
from tests.services.kms.group_rig import A, B, GroupRig
from tests.services.kms.pair_rig import PairRig
from tests.services.kms.ports import CONFIG, Server

DATED = "Date Reached"


@pytest.fixture(params=Auditing)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A key server with either audit of reads."""
    made = Server(config=msgspec.structs.replace(CONFIG, audit=request.param))
    await made.boot()
    yield made
    for connection in made.platter.databases.values():
        connection.close()


def date(name: str, at: float) -> Attribute:
    return Attribute(name=name, value=at)


def in_state(state: KmipState) -> LocateObjects:
    return LocateObjects(attributes=(Attribute(name="State", value=state.value),))


async def dated(server: Server, name: str = "Deactivation Date") -> KeyId:
    """An active key, or one that will be, which was given before and whose date has just come."""
    key_id = await made(server, date(name, server.clock.wall + 10))
    if name == "Deactivation Date":
        await do(server, ActivateObject(unique_identifier=key_id))
    for _ in range(2):  # it is fresh no more, and in the memory of a server that keeps rows
        await do(server, Get(unique_identifiers=(key_id,)))
    server.clock.wall += 20
    return key_id


async def reached(server: Server) -> list[str]:
    return [key for operation, key, _ in await trail(server) if operation == DATED]


async def asked(server: Server, key_id: KeyId, how: str) -> None:
    """Somebody is told that the key is Deactivated."""
    match how:
        case "read":
            assert await value(server, key_id, "State") == "Deactivated"
        case "get":
            [got] = (await do(server, Get(unique_identifiers=(key_id,)))).keys
            assert got.state is KmipState.DEACTIVATED
        case "found":
            found = await do(server, in_state(KmipState.DEACTIVATED))
            assert found.unique_identifiers == (key_id,)
        case "missed":
            assert not (await do(server, in_state(KmipState.ACTIVE))).total
        case "batch":
            found_, got_ = await items(
                server, in_state(KmipState.DEACTIVATED), GetObjectAttributes()
            )
            assert found_.error is None and got_.error is None
        case "lent":
            lent = await do(server, ObtainLease(unique_identifier=key_id))
            assert lent.last_change_date == server.clock.wall - 10, "since its date"
        case _:
            with pytest.raises(PermissionDenied, match="Deactivated"):
                await do(server, ActivateObject(unique_identifier=key_id, repeat=False))


@pytest.mark.parametrize("how", ["read", "get", "found", "missed", "batch", "lent", "refused"])
async def test_deactivated_stays_so(server: Server, how: str) -> None:
    key_id = await dated(server)
    await asked(server, key_id, how)
    server.clock.wall -= 20
    for _ in range(2):
        assert await value(server, key_id, "State") == "Deactivated"
        assert not (await do(server, in_state(KmipState.ACTIVE))).total
        await server.boot()
    assert await reached(server) == [key_id], "once"


async def test_active_stays_so(server: Server) -> None:
    key_id = await dated(server, "Activation Date")
    assert await value(server, key_id, "State") == "Active"
    server.clock.wall -= 20
    assert await value(server, key_id, "State") == "Active"
    assert await reached(server) == [key_id]


async def test_a_key_that_is_made_with_a_date_in_the_past_is_written_as_it_is_told(
    server: Server,
) -> None:
    created = await do(server, Create(attributes=(date("Activation Date", server.clock.wall - 5),)))
    assert created.state is KmipState.ACTIVE
    server.clock.wall -= 20
    assert await value(server, created.unique_identifier, "State") == "Active"
    assert not await reached(server), "its own row says so"


async def test_the_repeat_of_a_create_tells_it_too(server: Server) -> None:
    create = Create(operation_id="1", attributes=(date("Activation Date", server.clock.wall + 10),))
    await do(server, create)
    server.clock.wall += 20
    assert (await do(server, create)).state is KmipState.ACTIVE
    server.clock.wall -= 20
    assert (await do(server, create)).state is KmipState.ACTIVE


async def test_nobody_is_told_what_could_not_be_written(server: Server) -> None:
    """A disk that takes nothing: who asks is refused, and finds the key as it was afterwards."""
    key_id = await dated(server)
    right = server.database.transact

    async def refuse(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.database.transact = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(GeneralFailure, match="No space left"):
        await value(server, key_id, "State")
    server.database.transact = right  # type: ignore[method-assign]
    server.clock.wall -= 20
    assert await value(server, key_id, "State") == "Active"


class Noted:
    """A witness of the commits; ``changed`` of each."""

    def __init__(self) -> None:
        self.changed: list[bool] = []

    def handle_commit(self, written: Written) -> None:
        self.changed.append(written.changed)

    async def confirm(self, written: Written) -> None:
        pass


@pytest.mark.parametrize("passed", [0, 20])
async def test_the_first_get_of_a_key_waits_for_witnesses_when_its_date_has_come(
    server: Server, passed: int
) -> None:
    """Without one it does not: nobody misses that a key is fresh no more."""
    key_id = await made(server, date("Activation Date", server.clock.wall + 10))
    witness = Noted()
    server.service.core.commits.witnesses.append(witness)
    server.clock.wall += passed
    await do(server, Get(unique_identifiers=(key_id,)))
    assert witness.changed == [passed > 0]


async def test_where_no_date_has_come_nothing_is_written(server: Server) -> None:
    key_id = await dated(server)
    server.clock.wall -= 20
    commits, query = server.database.commits, GetObjectAttributes(unique_identifiers=(key_id,))
    for request in (query, in_state(KmipState.ACTIVE), LocateObjects()):
        await do(server, request)
    server.clock.wall += 20
    await do(server, LocateObjects())
    assert server.database.commits == commits, "nor by who is told of no state"


async def test_who_looks_for_states_writes_those_of_its_own_scope(server: Server) -> None:
    key_id = await dated(server)
    assert not (await do(server, in_state(KmipState.ACTIVE), STRANGER)).total
    assert await reached(server) == []
    await do(server, in_state(KmipState.ACTIVE), OWNER)
    assert await reached(server) == [key_id]


async def test_many_dates_that_have_come_are_many_transactions_and_others_are_answered_between(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "AT_ONCE", 3)
    gone = [await made(server, date("Deactivation Date", server.clock.wall + 10)) for _ in range(8)]
    for key_id in gone:
        await do(server, ActivateObject(unique_identifier=key_id))
    stays = await made(server)
    server.clock.wall += 20
    sizes, core = list[int](), server.service.core
    witness = Noted()
    witness.handle_commit = lambda written: sizes.append(len(written.keys))  # type: ignore[method-assign]
    core.commits.witnesses.append(witness)
    message = [
        Create(),
        in_state(KmipState.DEACTIVATED),
        GetObjectAttributes(unique_identifiers=(stays,)),
    ]
    locate = asyncio.create_task(core.process(OWNER, message, Continuation.STOP))
    order: list[str] = []
    locate.add_done_callback(lambda _: order.append("locate"))
    while not sizes:
        await asyncio.sleep(0)
    await do(server, ActivateObject(unique_identifier=stays))
    order.append("activate")
    made_, found, told = await locate
    assert order == ["activate", "locate"]
    assert found.response.unique_identifiers == tuple(gone)  # type: ignore[union-attr]
    assert made_.error is None and told.error is None
    assert sorted(await reached(server)) == sorted(gone), "once each"
    assert max(sizes) <= 3
    server.clock.wall -= 20
    await server.boot()
    assert not (await do(server, in_state(KmipState.ACTIVE))).unique_identifiers[1:]


async def test_many_dates_that_a_disk_does_not_take_are_told_to_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "AT_ONCE", 3)
    for _ in range(8):
        await made(server, date("Activation Date", server.clock.wall + 10))
    server.clock.wall += 20
    right, left = server.database.transact, [None]

    async def refuse(*given: Any) -> Any:
        if left:
            left.pop()
            return await right(*given)
        raise OSError(errno.ENOSPC, "No space left on device")

    server.database.transact = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(GeneralFailure, match="No space left"):
        await do(server, in_state(KmipState.ACTIVE))
    server.database.transact = right  # type: ignore[method-assign]
    assert len(await reached(server)) == 3, "what was written stays"
    assert (await do(server, in_state(KmipState.ACTIVE))).total == 8
    assert len(await reached(server)) == 8


async def test_looking_for_dates_that_have_come_reads_no_key_without_one(server: Server) -> None:
    """Each state is asked by an index that has only keys with a date ahead of them."""
    plan: list[Any] = []

    class Planned:
        def execute(self, statement: str, values: tuple[object, ...]) -> list[tuple[str]]:
            plan.extend(server.platter.sql("EXPLAIN QUERY PLAN " + statement, *values))
            return []

    store.find_due_keys(Planned(), "default", 1.0, 10)  # type: ignore[arg-type]
    steps = [row[3] for row in plan if "keys" in row[3]]
    assert [step.split(" (")[0] for step in steps] == [
        "SEARCH keys USING INDEX keys_to_activate",
        "SEARCH keys USING INDEX keys_to_deactivate",
    ]


def test_what_a_read_may_change() -> None:
    key_id = KeyId("1")
    assert keys_touched_by((GetObjectAttributes(unique_identifiers=(key_id,)),)) == [key_id]
    assert keys_touched_by((in_state(KmipState.ACTIVE),)) is None
    assert keys_touched_by((LocateObjects(),)) == []


@pytest.mark.slow
@pytest.mark.parametrize("rig", [PairRig, GroupRig])
def test_the_other_servers_learn_it(rig: type[PairRig]) -> None:
    """One whose clock is behind would call the key active otherwise. Of a pair, it has it sooner
    than who has asked."""
    servers = rig()
    try:
        key = servers.key(A, "1")
        initial = servers.attributes(A)[key].initial_date
        servers.at(A, AddAttributeMessage(key_id=key, name="Deactivation Date", value=initial + 30))
        servers.sleep(1)
        servers.run(servers.agent.skew(SkewClock(node=B, skew_s=-3600)))
        servers.sleep(40)
        assert servers.attributes(B)[key].state is KmipState.ACTIVE
        assert servers.attributes(A)[key].state is KmipState.DEACTIVATED
        if rig is GroupRig:
            servers.sleep(1)
        servers.power_off(A)
        assert servers.attributes(B)[key].state is KmipState.DEACTIVATED
        servers.healthy()
    finally:
        servers.close()
