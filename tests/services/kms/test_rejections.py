"""What a key server rejects because its administrator says so: what, how often, until when."""

from __future__ import annotations

import random
from typing import Any

import pytest

from protocol.errors import (
    AuthenticationNotSuccessful,
    CryptographicFailure,
    GeneralFailure,
    InvalidArgument,
    ItemNotFound,
    PermissionDenied,
    ProductError,
)
from protocol.kmip import payloads as p
from protocol.kmip.enums import ResultReason as WireReason
from protocol.kmip.enums import ResultStatus
from protocol.messages.kms import administration as admin_messages
from protocol.messages.kms import keys as key_messages
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, ResultReason, RevocationReason
from services.kms.access.authorization import caller_at, refuse
from services.kms.access.rejections import KEYS_LIMIT, MOST, NAME_LIMIT, REASONS
from services.kms.objects import request_types as r
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.batches import Continuation
from services.kms.service import ACCEPT_OPTION, RESTORED_OPTION
from services.runtime.incarnation import NodeDown, WayDown
from services.runtime.service import Halted, PowerInputs
from tests.services.kms.core_rig import OWNER, STRANGER, do, items, made
from tests.services.kms.kmip_rig import Client, new_key, reason
from tests.services.kms.ports import CONFIG, LOCAL, OPERATOR, VCENTER, Server, SqliteDatabase


async def told(
    server: Server,
    *operations: str,
    reason: ResultReason = ResultReason.GENERAL_FAILURE,
    name: str = "sealed",
    **more: Any,
) -> admin_messages.Rejections:
    message = admin_messages.RejectRequests(
        name=name, reason=reason.value, operations=operations, **more
    )
    return await server.ask(message, LOCAL)


async def times(server: Server) -> dict[str, int]:
    found = (await server.ask(admin_messages.QueryRejections(), LOCAL)).items
    return {one.name: one.times for one in found}


async def trail(server: Server) -> list[tuple[str, str, str, str]]:
    rows = (await server.ask(key_messages.QueryAudit(), LOCAL)).rows
    return [(row.who, row.operation, row.key_id, row.result) for row in rows]


def test_the_names_that_can_be_given_are_those_of_the_server() -> None:
    ours = {CoreOperation.UNREAD, CoreOperation.QUERY_AUDIT}
    asked = {one for one in CoreOperation if one.value in admin_messages.REJECTABLE}
    assert {one.value for one in asked} == {*admin_messages.REJECTABLE}
    assert asked == {one for one in CoreOperation if refuse(OWNER, one) is None} - ours
    assert {*admin_messages.OF_MATERIAL} < {*admin_messages.REJECTABLE}
    assert {*REASONS} == {one.value for one in admin_messages.REJECTION_REASONS}
    assert all(cls.reason.value == name for name, cls in REASONS.items())


@pytest.mark.parametrize("why", admin_messages.REJECTION_REASONS)
async def test_a_client_is_given_the_reason_through_both_doors(
    server: Server, why: ResultReason
) -> None:
    key = (await server.ask(key_messages.CreateKey(operation_id="1", activate=True))).key_id
    await told(server, "Get", reason=why)
    client = Client(server, caller_at(CONFIG, VCENTER.node, local=False))
    refused = await client.refused(p.GetRequest(unique_identifier=key))
    assert refused == WireReason[why.name]
    if why is ResultReason.ITEM_NOT_FOUND:  # many keys are one message there
        [value] = (await server.ask(key_messages.GetKeys(key_ids=(key,)))).values
        assert (value.state, value.index) == (None, None)
    else:
        with pytest.raises(REASONS[why.value]):
            await server.ask(key_messages.GetKeys(key_ids=(key,)))
    rows = [row for row in await trail(server) if row[1] == "Get"]
    assert rows == [("vcenter", "Get", key, why.value)] * 2
    assert await times(server) == {"sealed": 2}


async def test_what_is_not_named_goes_on_and_health_is_no_exception(server: Server) -> None:
    key = (await server.ask(key_messages.CreateKey(operation_id="1", activate=True))).key_id
    await told(server, *admin_messages.OF_MATERIAL)
    assert (await server.ask(key_messages.DiscoverVersions())).versions
    [found] = (await server.ask(key_messages.GetAttributes(key_ids=(key,)))).keys
    assert found.state is KmipState.ACTIVE
    with pytest.raises(GeneralFailure, match="rejects Create"):
        await server.ask(key_messages.CreateKey(operation_id="2"))
    await told(server, "Discover Versions", name="mute", reason=ResultReason.PERMISSION_DENIED)
    with pytest.raises(PermissionDenied):
        await server.ask(key_messages.DiscoverVersions())
    assert await Client(server).refused(p.DiscoverVersionsRequest()) == WireReason.PERMISSION_DENIED
    assert await times(server) == {"mute": 2, "sealed": 1}


REQUESTS: dict[str, Any] = {
    "Query": lambda _: r.Query(),
    "Create": lambda _: r.Create(),
    "Locate": lambda _: r.LocateObjects(),
    "Get": lambda key: r.Get(unique_identifiers=(key,)),
    "Get Attributes": lambda key: r.GetObjectAttributes(unique_identifiers=(key,)),
    "Re-key": lambda key: r.ReKey(unique_identifier=key),
    "Check": lambda key: r.CheckUsage(unique_identifier=key),
    "Obtain Lease": lambda key: r.ObtainLease(unique_identifier=key),
    "Activate": lambda key: r.ActivateObject(unique_identifier=key),
    "Revoke": lambda key: r.RevokeObject(
        unique_identifier=key, reason=RevocationReason.KEY_COMPROMISE
    ),
    "Destroy": lambda key: r.DestroyObject(unique_identifier=key),
}


@pytest.mark.parametrize("operation", REQUESTS)
async def test_each_operation_is_rejected_by_its_name_and_nothing_happens(
    server: Server, operation: str
) -> None:
    key = await made(server)
    before = server.platter.sql("SELECT * FROM keys")
    await told(server, operation, reason=ResultReason.AUTHENTICATION_NOT_SUCCESSFUL)
    with pytest.raises(AuthenticationNotSuccessful):
        await do(server, REQUESTS[operation](key))
    assert server.platter.sql("SELECT * FROM keys") == before
    await server.ask(admin_messages.EndRejection(name="sealed"), LOCAL)
    assert await times(server) == {}
    await do(server, REQUESTS[operation](key))


async def test_a_rejected_item_spoils_no_other_of_its_batch(server: Server) -> None:
    """The second Create takes the key that was drawn for it, not that of the first."""
    await told(server, "Register")
    brought = r.Register(algorithm="AES", length=128, usage_mask=4, material=KeyMaterial(bytes(16)))
    first, second, third = await items(
        server,
        brought,
        r.Create(length=256),
        r.Get(),
        option=Continuation.CONTINUE,
    )
    assert isinstance(first.error, GeneralFailure)
    assert second.response is not None and third.response is not None
    [got] = third.response.keys  # type: ignore[attr-defined]
    assert got.length == 256 and len(got.material) == 32


async def test_the_placeholder_of_a_batch_is_judged_as_the_key_that_it_means(
    server: Server,
) -> None:
    await told(server, "Activate")
    client = Client(server)
    create, activate = await client.items(new_key(), p.ActivateRequest())
    assert create.result_status is ResultStatus.SUCCESS
    assert reason(activate) == WireReason.GENERAL_FAILURE
    # As one whole, it did not happen.
    before = len(server.platter.sql("SELECT 1 FROM keys"))
    with pytest.raises(GeneralFailure):
        await server.ask(key_messages.CreateKey(operation_id="1", activate=True))
    assert len(server.platter.sql("SELECT 1 FROM keys")) == before


async def test_only_the_keys_that_are_named(server: Server) -> None:
    mine, other = [await made(server) for _ in range(2)]
    await told(server, "Get", "Get Attributes", keys=(mine,), reason=ResultReason.ITEM_NOT_FOUND)
    values = (await server.ask(key_messages.GetKeys(key_ids=(mine, other)))).values
    assert [value.index for value in values] == [None, 0]
    listed = (await server.ask(key_messages.GetAttributes(key_ids=(mine, other)))).keys
    assert [one.key_id for one in listed] == [other]
    with pytest.raises(ItemNotFound):
        await do(server, r.Get(unique_identifiers=(KeyId("nobody's"),), required=True))
    assert await times(server) == {"sealed": 2}


@pytest.mark.parametrize(
    "why",
    [
        ResultReason.GENERAL_FAILURE,
        ResultReason.OPERATION_NOT_SUPPORTED,
        ResultReason.PERMISSION_DENIED,
    ],
)
async def test_what_is_rejected_of_one_key_says_nothing_of_those_that_are_asked_for_with_it(
    server: Server, why: ResultReason
) -> None:
    """Over the bus many are one message, and an answer of one key has it asked for in parts."""
    mine, other = [await made(server) for _ in range(2)]
    await told(server, "Get", "Get Attributes", keys=(mine,), reason=why)
    for message in (key_messages.GetKeys, key_messages.GetAttributes):
        for key_ids in ((other, mine), (mine,)):
            told_of = f"key {mine}: this key server rejects Get"
            with pytest.raises(CryptographicFailure, match=told_of):
                await server.ask(message(key_ids=key_ids))
        await server.ask(message(key_ids=(other,)))
    refused = await Client(server).refused(p.GetRequest(unique_identifier=mine))
    assert refused == WireReason[why.name], "one key is asked for there, and the reason is its own"
    await told(server, "Get", reason=why)  # of any key, always: that is no key's matter
    with pytest.raises(REASONS[why.value]):
        await server.ask(key_messages.GetKeys(key_ids=(other, mine)))


async def test_a_stranger_learns_nothing_of_a_key_that_is_named(server: Server) -> None:
    key = await made(server)
    await told(server, "Activate", keys=(key,))
    for caller, error in ((OWNER, GeneralFailure), (STRANGER, ItemNotFound)):
        with pytest.raises(error):
            await do(server, r.ActivateObject(unique_identifier=key), caller)


async def test_the_console_and_the_administrator_are_not_judged(server: Server) -> None:
    key = await made(server)
    await told(server, *admin_messages.REJECTABLE)
    assert (await server.ask(key_messages.Locate(), LOCAL)).total == 1
    assert (await server.ask(key_messages.Activate(key_id=key), LOCAL)).state is KmipState.ACTIVE
    assert await times(server) == {"sealed": 0}


async def test_a_share_is_drawn_from_the_seed(server: Server) -> None:
    key = await made(server)

    async def play(seed: int) -> list[bool]:
        server.rng.streams["kms.rejections"] = random.Random(seed)
        found = []
        for _ in range(40):
            try:
                await do(server, r.Get(unique_identifiers=(key,)))
                found.append(True)
            except ProductError:
                found.append(False)
        return found

    await told(server, "Get", probability=0.3)
    runs = [await play(seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert 0.4 < sum(runs[0]) / 40 < 0.95
    assert await times(server) == {"sealed": sum(run.count(False) for run in runs)}


async def test_it_lasts_over_starts_and_stands_in_the_trail(server: Server) -> None:
    await told(server, "Get")
    await told(server, "Get")  # again: no change
    await server.boot()
    assert await times(server) == {"sealed": 0}
    await server.ask(admin_messages.EndRejection(name="sealed"), LOCAL)
    await server.ask(admin_messages.EndRejection(name="sealed"), LOCAL)
    await server.boot()
    assert await times(server) == {}
    assert [row[1:3] for row in await trail(server)] == [
        ("Reject", "sealed"),
        ("End Rejection", "sealed"),
    ]
    assert [kind for kind, _ in server.node.records if kind.startswith("kms.rejects")] == [
        "kms.rejects",
        "kms.rejects",
        "kms.rejects_no_more",
        "kms.rejects_no_more",
    ]


@pytest.mark.parametrize("option", [RESTORED_OPTION, ACCEPT_OPTION])
async def test_an_older_database_begins_without_any(server: Server, option: str) -> None:
    await told(server, "Get")
    if option == ACCEPT_OPTION:
        older = server.platter.databases["keys"].serialize()
        await made(server)
        server.platter.databases["keys"].deserialize(older)
    server.node.power = PowerInputs(boot_options={option: "nightly"})
    await server.boot()
    assert await times(server) == {}


async def test_a_crash_at_the_start_of_a_backup_leaves_no_rejection_behind_its_row(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start is an ordinary one: nobody says again that a backup was restored."""
    right, left = SqliteDatabase.transact, [0]

    async def transact(database: SqliteDatabase, *given: Any) -> Any:
        done = await right(database, *given)
        left[0] -= 1
        if not left[0]:
            server.life.end(WayDown.CRASH)
            server.life.check()
        return done

    monkeypatch.setattr(SqliteDatabase, "transact", transact)
    crashes, begun = 0, False
    while not begun:
        for name in ("a", "b"):
            await told(server, "Get", name=name)
        rows = len(await trail(server))
        left[0] = crashes + 1
        server.node.power = PowerInputs(boot_options={RESTORED_OPTION: "nightly"})
        try:
            await server.boot()
            begun = True
        except NodeDown:
            crashes += 1
        server.node.power = PowerInputs()
        left[0] = 0
        await server.boot()
        said = [row[1] for row in (await trail(server))[rows:]]
        assert (sorted(await times(server)), said) in (
            ([], ["Restore", "End Rejection", "End Rejection"]),
            (["a", "b"], []),
        )
    assert crashes and not await times(server)


@pytest.mark.parametrize("probability", [1.0, 0.999_999])
async def test_a_key_that_is_rejected_to_encrypt_wraps_none(
    server: Server, probability: float
) -> None:
    """Its use on the way out of another key is Encrypt, in the trail and for its limits too."""
    server.rng.streams["kms.rejections"] = random.Random(1)
    key, under = (
        await made(server),
        (await do(server, r.Create(usage_mask=16))).unique_identifier,
    )
    await do(server, r.ActivateObject(unique_identifier=under))
    get = r.Get(unique_identifiers=(key, key), wrapping=r.KeyWrapping(key_id=under))
    await told(server, "Get", "Encrypt", name="seldom", probability=1e-300)
    assert len((await do(server, get)).keys) == 2
    await told(server, "Get", "Encrypt", name="another", keys=(KeyId("another"),))
    before = len(await trail(server))
    await told(server, "Encrypt", keys=(under,), probability=probability)
    with pytest.raises(GeneralFailure, match="rejects Encrypt"):
        await do(server, get)
    assert (await trail(server))[before + 1 :] == [(OWNER.who, "Get", key, "General Failure")] * 2
    assert await times(server) == {"another": 0, "sealed": 1, "seldom": 0}
    assert (await do(server, r.Get(unique_identifiers=(key,)))).keys[0].material is not None


async def test_a_row_that_was_edited_is_not_served_from(server: Server) -> None:
    await told(server, "Get")
    await told(server, "Create", name="other")
    server.platter.sql("UPDATE rejections SET name = 'mine' WHERE name = 'sealed'")
    with pytest.raises(Halted, match="the row of rejection mine is another's"):
        await server.boot()


@pytest.mark.parametrize(
    ("change", "told_of"),
    [
        ({"name": ""}, "name: 1 to"),
        ({"name": "x" * (NAME_LIMIT + 1)}, "name: 1 to"),
        ({"reason": "No Way"}, "reason: one of General Failure"),
        ({"reason": ResultReason.RESPONSE_TOO_LARGE.value}, "reason: one of General Failure"),
        ({"operations": ()}, "operations: some of Discover Versions"),
        ({"operations": ("Get", "Rotate KEK")}, "not 'Rotate KEK'"),
        ({"probability": 0.0}, "probability: above 0"),
        ({"probability": 1.01}, "probability: above 0"),
        ({"probability": float("nan")}, "probability: above 0"),
        ({"keys": tuple(map(KeyId, map(str, range(KEYS_LIMIT + 1))))}, "keys: 1000 at most"),
    ],
)
async def test_what_is_no_rejection_is_refused(
    server: Server, change: dict[str, Any], told_of: str
) -> None:
    good: dict[str, Any] = {"name": "n", "reason": "General Failure", "operations": ("Get",)}
    with pytest.raises(InvalidArgument, match=told_of):
        await server.ask(admin_messages.RejectRequests(**(good | change)), LOCAL)
    assert await times(server) == {}
    assert await trail(server) == []


async def test_there_are_so_many_at_most(server: Server) -> None:
    for number in range(MOST):
        await told(server, "Get", name=f"n{number}")
    with pytest.raises(InvalidArgument, match="end one of them first"):
        await told(server, "Get", name="one more")
    await told(server, "Create", name="n0")


@pytest.mark.parametrize(
    "message",
    [
        admin_messages.RejectRequests(name="n", reason="General Failure", operations=("Get",)),
        admin_messages.EndRejection(name="n"),
        admin_messages.QueryRejections(),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_it_is_said_at_the_console_alone(server: Server, message: Any) -> None:
    for peer, told_of in ((VCENTER, "may not"), (OPERATOR, "is not at the server's console")):
        with pytest.raises(PermissionDenied, match=told_of):
            await server.ask(message, peer)
