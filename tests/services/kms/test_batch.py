"""The core as any door sees it: a batch is one transaction, all of it or nothing."""

from __future__ import annotations

import pytest

from protocol.errors import InvalidField, PermissionDenied, WrongKeyLifecycleState
from protocol.messages.kms.keys import CreateKey, QueryAudit
from protocol.terms import KeyId, KmipState, ResultReason
from services.kms.access.authorization import caller_at
from services.kms.objects.request_types import (
    ActivateObject,
    CoreOperation,
    CoreRequest,
    Create,
    Created,
    DestroyObject,
    DiscoverServerVersions,
    Get,
    GetObjectAttributes,
    Got,
    LocateObjects,
    RevokeObject,
    StateChanged,
    Versions,
)
from services.kms.objects.request_types import QueryAuditTrail as QueryAuditRecords
from services.kms.operations import execution
from tests.services.kms.ports import CONFIG, LOCAL, OPERATOR, VCENTER, Server

CLIENT = caller_at(CONFIG, VCENTER.node, local=False)
GOVERNOR = caller_at(CONFIG, OPERATOR.node, local=False)


async def trail(server: Server) -> list[tuple[str, str, str]]:
    rows = (await server.ask(QueryAudit(), LOCAL)).rows
    return [(row.operation, row.key_id, row.result) for row in rows]


async def test_the_placeholder_is_what_the_last_create_made(server: Server) -> None:
    commits = server.database.commits
    batch = (
        Create(operation_id="1"),
        ActivateObject(),
        Create(operation_id="2"),
        Get(),
        GetObjectAttributes(unique_identifiers=()),
        DiscoverServerVersions(),
    )
    first, active, second, got, _, versions = await server.service.core.batch(CLIENT, batch)
    assert isinstance(first, Created) and isinstance(second, Created)
    assert isinstance(active, StateChanged) and isinstance(got, Got)
    assert first.unique_identifier == active.unique_identifier != second.unique_identifier
    assert (first.state, active.state) == (KmipState.PRE_ACTIVE, KmipState.ACTIVE)
    assert [key.unique_identifier for key in got.keys] == [second.unique_identifier]
    assert isinstance(versions, Versions)
    assert server.database.commits == commits + 1
    assert await trail(server) == [
        ("Create", first.unique_identifier, "Success"),
        ("Activate", first.unique_identifier, "Success"),
        ("Create", second.unique_identifier, "Success"),
        ("Get", second.unique_identifier, "Success"),
    ]
    await server.boot()  # each row agrees with its last change in the trail


async def test_a_key_can_live_its_whole_life_in_one_batch(server: Server) -> None:
    made = await server.ask(CreateKey(operation_id="1", activate=True))
    life = (
        RevokeObject(unique_identifier=made.key_id),
        DestroyObject(unique_identifier=made.key_id),
    )
    assert await server.service.core.batch(GOVERNOR, life) == tuple(
        StateChanged(unique_identifier=made.key_id, state=state)
        for state in (KmipState.DEACTIVATED, KmipState.DESTROYED)
    )
    await server.boot()


async def test_an_operation_makes_one_key_though_its_batch_has_it_twice(server: Server) -> None:
    twice = (Create(operation_id="1"), Create(operation_id="1"))
    first, second = await server.service.core.batch(CLIENT, twice)
    assert first == second
    assert (await server.service.core.execute(CLIENT, LocateObjects())).total == 1


async def test_the_trail_is_read_alone(server: Server) -> None:
    batch = (Create(operation_id="1"), QueryAuditRecords())
    with pytest.raises(InvalidField, match="no part of a batch"):
        await server.service.core.batch(GOVERNOR, batch)
    assert (await server.service.core.execute(GOVERNOR, LocateObjects())).total == 0


async def test_what_fails_undoes_what_went_before_it(server: Server) -> None:
    """The trail has one row, of the first operation: nothing else happened."""
    made = await server.ask(CreateKey(operation_id="1", activate=True))
    batch = (Create(operation_id="2"), DestroyObject(unique_identifier=made.key_id, repeat=True))
    with pytest.raises(WrongKeyLifecycleState) as refused:
        await server.service.core.batch(GOVERNOR, batch)
    assert refused.value.reason is ResultReason.WRONG_KEY_LIFECYCLE_STATE
    assert (await trail(server))[2:] == [("Create", "", "Wrong Key Lifecycle State")]
    located = await server.service.core.execute(CLIENT, LocateObjects())
    assert located.unique_identifiers == (made.key_id,)
    await server.boot()


async def test_a_role_that_may_not_do_all_of_it_does_none(server: Server) -> None:
    with pytest.raises(PermissionDenied):
        await server.service.core.batch(GOVERNOR, (Create(operation_id="1"), Get()))
    assert await trail(server) == [("Create", "", "Permission Denied")]


async def test_a_repeat_does_not_revoke_what_it_did_not_make(server: Server) -> None:
    made = await server.ask(CreateKey(operation_id="1", activate=True))
    batch = (Create(operation_id="1"), RevokeObject())
    _, told = await server.service.core.batch(GOVERNOR, batch)
    assert told == StateChanged(unique_identifier=made.key_id, state=KmipState.ACTIVE)


@pytest.mark.parametrize(
    "request_", [ActivateObject(), DestroyObject(), RevokeObject(), Get()], ids=repr
)
async def test_no_key_is_named_and_none_was_made(
    server: Server, request_: ActivateObject | DestroyObject | RevokeObject | Get
) -> None:
    for batch in ((request_,), (request_, Create(operation_id="1"))):
        with pytest.raises(InvalidField, match="names no key"):
            await server.service.core.batch(CLIENT, batch)
    assert await trail(server) == []


async def test_an_empty_id_is_a_name_not_the_placeholder(server: Server) -> None:
    empty = (KeyId(""),)
    _, got = await server.service.core.batch(
        CLIENT, (Create(operation_id="1"), Get(unique_identifiers=empty))
    )
    assert isinstance(got, Got)
    assert got.keys[0].state is None


def test_every_operation_has_its_request_and_is_done() -> None:
    asked = [kind.operation for kind in execution._PERFORM]
    not_asked = [
        CoreOperation.SERVE,  # by a Get
        CoreOperation.DATE_REACHED,  # by time
        CoreOperation.REPLICATE,  # by the peer; the others at a start, or of the key ring
        CoreOperation.ACCEPT_ROLLBACK,
        CoreOperation.RESTORE,
        CoreOperation.TRUST,  # at the console
        CoreOperation.CUT_TRAIL,
        CoreOperation.DISTRUST,
        CoreOperation.ADMIT,  # of who is refused at the door
        CoreOperation.MOVE_IDENTITY,
        CoreOperation.REJECT,
        CoreOperation.END_REJECTION,
        CoreOperation.UNREAD,  # refused before
        CoreOperation.ROTATE_KEK,
        CoreOperation.RETIRE_KEK,
        CoreOperation.CHANGE_ROOT,
    ]
    assert sorted([*asked, *not_asked]) == sorted(CoreOperation)
    assert all(issubclass(kind, CoreRequest) for kind in execution._PERFORM)
