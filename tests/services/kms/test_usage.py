"""Leases, checks and Usage Limits: what is given, what is refused, what two servers agree on."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.attributes import (
    Attribute,
    CryptographicParametersValue,
    Stamped,
    UsageLimitsValue,
    Value,
)
from protocol.errors import (
    IllegalOperation,
    InvalidField,
    ItemNotFound,
    PermissionDenied,
    ProductError,
)
from protocol.kmip import objects as s
from protocol.kmip import payloads as p
from protocol.kmip.enums import ResultReason, UsageLimitsUnit
from protocol.kmip.objects import Attribute as WireAttribute
from protocol.messages.kms.keys import AddAttribute as AddMessage
from protocol.messages.kms.keys import CreateKey, GetKeyAttributes
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, NodeName, RevocationReason
from services.kms.access.authorization import KeyServerCaller
from services.kms.objects import key_row
from services.kms.objects.request_types import (
    ActivateObject,
    AddObjectAttribute,
    Checked,
    CheckUsage,
    CoreOperation,
    Create,
    Created,
    DeleteObjectAttribute,
    DestroyObject,
    EncryptData,
    Get,
    GetUsageAllocation,
    Got,
    LocateObjects,
    ModifyObjectAttribute,
    ObtainLease,
    RevokeObject,
)
from services.kms.operations import key_usage
from services.kms.settings.config import KmsRole
from tests.services.kms.core_rig import STRANGER, add, do, items, made, trail, value
from tests.services.kms.kmip_rig import Client
from tests.services.kms.pair_rig import A, B, PairRig
from tests.services.kms.ports import Server

LIMITS = "Usage Limits"
BYTES = UsageLimitsValue(total=48, unit="Byte")
ECB = CryptographicParametersValue(block_cipher_mode="ECB")


async def limited(server: Server, limits: Value = BYTES) -> KeyId:
    key_id = await made(server, Attribute(name=LIMITS, value=limits))
    await do(server, ActivateObject(unique_identifier=key_id))
    return key_id


async def take(server: Server, key_id: KeyId, count: int) -> None:
    await do(server, GetUsageAllocation(unique_identifier=key_id, count=count))


async def left(server: Server, key_id: KeyId) -> int | None:
    found = await value(server, key_id, LIMITS)
    return found.left if isinstance(found, UsageLimitsValue) else None


def encrypting(key_id: KeyId, size: int) -> EncryptData:
    return EncryptData(
        unique_identifier=key_id, parameters=ECB, data=KeyMaterial(bytes(size)), iv=b""
    )


# ---- limits ---------------------------------------------------------------------------------


async def test_what_is_taken_is_gone_and_outlives_a_restart(server: Server) -> None:
    key_id = await limited(server)
    await take(server, key_id, 40)
    await server.boot()
    assert await left(server, key_id) == 8
    with pytest.raises(PermissionDenied, match="left"):
        await take(server, key_id, 9)
    await take(server, key_id, 8)
    assert await left(server, key_id) == 0
    rows = [row for row in await trail(server) if row[0] == CoreOperation.GET_USAGE_ALLOCATION]
    assert [result for _, _, result in rows] == ["Success", "Permission Denied", "Success"]


@pytest.mark.parametrize(("unit", "total"), [("Byte", 16), ("Object", 1)])
async def test_encrypt_takes_what_it_encrypts(server: Server, unit: str, total: int) -> None:
    """OASIS CS-BC-M-7."""
    key_id = await limited(server, UsageLimitsValue(total=total, unit=unit))
    await do(server, encrypting(key_id, 16))
    assert await left(server, key_id) == 0
    with pytest.raises(PermissionDenied):
        await do(server, encrypting(key_id, 16))
    assert (await trail(server))[-3:] == [
        ("Get Usage Allocation", key_id, "Success"),
        ("Encrypt", key_id, "Success"),
        ("Encrypt", key_id, "Permission Denied"),
    ]


async def test_who_is_refused_takes_nothing(server: Server) -> None:
    key_id, free, early = await limited(server), await made(server), await made(server)
    await add(server, early, LIMITS, BYTES)
    await do(server, ActivateObject(unique_identifier=free))
    for wrong, error in (
        (GetUsageAllocation(unique_identifier=key_id, count=0), InvalidField),
        (GetUsageAllocation(unique_identifier=key_id, count=-1), InvalidField),
        (GetUsageAllocation(unique_identifier=free, count=1), IllegalOperation),
        (GetUsageAllocation(unique_identifier=early, count=1), IllegalOperation),
        (encrypting(key_id, 15), InvalidField),
    ):
        with pytest.raises(error):
            await do(server, wrong)
    with pytest.raises(ItemNotFound):
        await do(server, GetUsageAllocation(unique_identifier=key_id, count=1), STRANGER)
    for role, may in (
        (KmsRole.CLIENT, False),
        (KmsRole.OPERATOR, False),
        (KmsRole.KPS, False),
        (KmsRole.OWNER, True),
    ):
        request = GetUsageAllocation(unique_identifier=key_id, count=1)
        caller = KeyServerCaller("who", role, "default")
        if may:
            await do(server, request, caller)
            continue
        with pytest.raises(PermissionDenied):
            await do(server, request, caller)
    assert await left(server, key_id) == 47


@pytest.mark.parametrize(
    "limits",
    [
        UsageLimitsValue(total=0, unit="Byte"),
        UsageLimitsValue(total=-5, unit="Byte"),
        UsageLimitsValue(total=2**63, unit="Byte"),
        UsageLimitsValue(total=5, unit="Meter"),
        UsageLimitsValue(total=5, unit="Byte", spent=(("kms", -7),)),
        "5",
    ],
    ids=str,
)
async def test_limits_that_nobody_may_set(server: Server, limits: Value) -> None:
    with pytest.raises(InvalidField):
        await limited(server, limits)


async def test_limits_change_until_something_is_taken(server: Server) -> None:
    key_id = await limited(server)
    other = Attribute(name=LIMITS, value=UsageLimitsValue(total=2**40, unit="Byte"))
    await do(server, ModifyObjectAttribute(unique_identifier=key_id, attribute=other))
    await do(server, DeleteObjectAttribute(unique_identifier=key_id, name=LIMITS))
    await do(server, AddObjectAttribute(unique_identifier=key_id, attribute=other))
    with pytest.raises(IllegalOperation):
        await do(server, AddObjectAttribute(unique_identifier=key_id, attribute=other))
    await take(server, key_id, 1)
    for request in (
        ModifyObjectAttribute(unique_identifier=key_id, attribute=other),
        DeleteObjectAttribute(unique_identifier=key_id, name=LIMITS),
    ):
        with pytest.raises(PermissionDenied):
            await do(server, request)
    assert await left(server, key_id) == 2**40 - 1
    with pytest.raises(InvalidField):
        await do(server, LocateObjects(attributes=(other,)))


async def test_they_come_and_go_over_the_wire(server: Server) -> None:
    client = Client(server)
    asked = s.UsageLimits(usage_limits_total=2**40, usage_limits_unit=UsageLimitsUnit.OBJECT)
    wire = WireAttribute(attribute_name=LIMITS, attribute_value=asked)
    key_id = await client.made(wire)
    await client.ask(p.ActivateRequest(unique_identifier=key_id), p.ActivateResponse)
    taking = p.GetUsageAllocationRequest(unique_identifier=key_id, usage_limits_count=7)
    await client.ask(taking, p.GetUsageAllocationResponse)
    wanted = p.GetAttributesRequest(unique_identifier=key_id, attribute_name=(LIMITS,))
    [told] = (await client.ask(wanted, p.GetAttributesResponse)).attribute
    assert told.attribute_value == s.UsageLimits(
        usage_limits_total=2**40,
        usage_limits_count=2**40 - 7,
        usage_limits_unit=UsageLimitsUnit.OBJECT,
    )
    wrong = s.UsageLimits(
        usage_limits_total=5, usage_limits_count=4, usage_limits_unit=UsageLimitsUnit.BYTE
    )
    adding = p.AddAttributeRequest(
        unique_identifier=await client.made(),
        attribute=WireAttribute(attribute_name=LIMITS, attribute_value=wrong),
    )
    assert await client.refused(adding) is ResultReason.INVALID_FIELD


async def test_nothing_is_allocated_of_a_key_that_does_not_protect_now(server: Server) -> None:
    """KMIP 1.4 section 4.18: after its Activation Date and before its Protect Stop Date."""
    stops = server.clock.wall + 10
    key_id = await made(
        server,
        Attribute(name=LIMITS, value=BYTES),
        Attribute(name="Protect Stop Date", value=stops),
    )
    await do(server, ActivateObject(unique_identifier=key_id))
    await take(server, key_id, 1)
    server.clock.wall = stops
    with pytest.raises(IllegalOperation, match="Protect Stop Date"):
        await take(server, key_id, 1)
    assert await left(server, key_id) == 47
    reads = Create(usage_mask=8, attributes=(Attribute(name=LIMITS, value=BYTES),))
    key_id = (await do(server, reads)).unique_identifier
    await do(server, ActivateObject(unique_identifier=key_id))
    with pytest.raises(IllegalOperation, match="nothing that protects"):
        await take(server, key_id, 1)


# ---- leases and checks --------------------------------------------------------------------------


async def test_a_key_is_lent_as_long_as_it_may_be_used(server: Server) -> None:
    key_id = await made(server)
    lease = ObtainLease(unique_identifier=key_id)
    for step in (
        None,
        ActivateObject(unique_identifier=key_id),
        RevokeObject(unique_identifier=key_id),
    ):
        if step is not None:
            await do(server, step)
        lent = await do(server, lease)
        assert lent.lease_time == key_row.LEASE_S
        assert lent.last_change_date == await value(server, key_id, "Last Change Date")
    await do(server, RevokeObject(unique_identifier=key_id, reason=RevocationReason.KEY_COMPROMISE))
    for over in (None, DestroyObject(unique_identifier=key_id)):
        if over is not None:
            await do(server, over)
        with pytest.raises(PermissionDenied):
            await do(server, lease)
    with pytest.raises(ItemNotFound):
        await do(server, lease, STRANGER)


async def test_a_check_tells_what_may_be_in_place_of_what_may_not(server: Server) -> None:
    key_id, free = await limited(server), await made(server)
    await take(server, key_id, 8)
    asked: list[tuple[dict[str, int], dict[str, int]]] = [
        ({}, {}),
        ({"usage_limits_count": 40}, {}),
        ({"usage_limits_count": 41}, {"usage_limits_count": 40}),
        ({"usage_mask": 4}, {}),
        ({"usage_mask": 5}, {"usage_mask": 12}),
        ({"lease_time": 3600}, {}),
        ({"lease_time": 3601, "usage_mask": 1}, {"lease_time": 3600, "usage_mask": 12}),
    ]
    for fields, refused in asked:
        found = await do(server, CheckUsage(unique_identifier=key_id, **fields))
        told = {name: getattr(found, name) for name in ("usage_limits_count", "usage_mask")}
        told["lease_time"] = found.lease_time
        assert {name: told[name] for name in told if told[name] is not None} == refused, fields
        assert found.unique_identifier == (None if refused else key_id), fields
    found = await do(server, CheckUsage(unique_identifier=free, usage_limits_count=2**60))
    assert found.usage_limits_count is None, "it has no limits"


async def test_what_a_check_denies_does_not_follow_in_the_batch(server: Server) -> None:
    """KMIP 1.4 section 4.10: it empties the ID Placeholder, and tells no Unique Identifier."""
    for mask, given_ in ((4, True), (1, False)):
        made_, checked, got = await items(server, Create(), CheckUsage(usage_mask=mask), Get())
        assert isinstance(made_.response, Created) and isinstance(checked.response, Checked)
        if given_:
            assert checked.response == Checked(unique_identifier=made_.response.unique_identifier)
            assert isinstance(got.response, Got)
            continue
        assert checked.response == Checked(usage_mask=12)
        assert isinstance(got.error, ItemNotFound)
    client = Client(server)
    asked = p.CheckRequest(unique_identifier=await client.made(), cryptographic_usage_mask=1)
    assert await client.ask(asked, p.CheckResponse) == p.CheckResponse(cryptographic_usage_mask=12)


# ---- two servers --------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 9), st.sampled_from("aba.")),
        max_size=12,
    )
)
def test_what_two_servers_have_given_is_counted_once_each(
    steps: list[tuple[str, int, str]],
) -> None:
    """Each counts for itself, and hears of the other now and then, in any order."""
    held = {name: Stamped(LIMITS, 0.0, "a", ((0, BYTES),)) for name in ("a", "b")}
    for at, (server, amount, hears) in enumerate(steps, 1):
        [(_, limits)] = held[server].instances
        assert isinstance(limits, UsageLimitsValue)
        spent = dict(limits.spent)
        spent[server] = spent.get(server, 0) + amount
        value = UsageLimitsValue(total=48, unit="Byte", spent=tuple(sorted(spent.items())))
        held[server] = Stamped(LIMITS, float(at), server, ((0, value),))
        if hears in held:
            held[hears] = joined(held[hears], held["b" if hears == "a" else "a"])
    both = [joined(held["a"], held["b"]), joined(held["b"], held["a"])]
    assert both[0] == both[1]
    assert joined(both[0], held["a"]) == both[0], "hearing it again changes nothing"
    [(_, limits)] = both[0].instances
    assert isinstance(limits, UsageLimitsValue)
    assert limits.left == max(0, 48 - sum(amount for _, amount, _ in steps))


def joined(mine: Stamped, theirs: Stamped) -> Stamped:
    latest, other = sorted((mine, theirs), key=lambda one: one.at, reverse=True)
    return key_usage.join_limits(latest, other)


def test_a_pair_that_was_apart_knows_together_what_is_left() -> None:
    rig = PairRig()
    key_id = rig.ask(A, CreateKey(operation_id="1", activate=True)).key_id
    rig.ask(A, AddMessage(key_id=key_id, name=LIMITS, value=BYTES))

    def shown(server: NodeName) -> Any:
        asked = GetKeyAttributes(key_id=key_id, names=(LIMITS,))
        [found] = rig.ask(server, asked).attributes
        return found.value

    assert shown(A) == shown(B) == BYTES
    rig.healthy()
    rig.close()


@pytest.mark.parametrize("seed", range(4))
async def test_no_order_of_operations_gives_more_than_there_is(seed: int) -> None:
    """A random walk over one key with limits: what was given is never more than the total."""
    choose, server = Random(seed), Server()
    await server.boot()
    key_id, given_ = await limited(server), 0
    total = BYTES.total
    for _ in range(60):
        limits = UsageLimitsValue(total=choose.choice([16, 48, 64]), unit="Byte")
        request: Any = choose.choice(
            [
                GetUsageAllocation(unique_identifier=key_id, count=choose.randrange(-1, 20)),
                encrypting(key_id, choose.choice([16, 32, 15])),
                ModifyObjectAttribute(
                    unique_identifier=key_id, attribute=Attribute(name=LIMITS, value=limits)
                ),
                DeleteObjectAttribute(unique_identifier=key_id, name=LIMITS),
                AddObjectAttribute(
                    unique_identifier=key_id, attribute=Attribute(name=LIMITS, value=limits)
                ),
            ]
        )
        there = await left(server, key_id)
        try:
            await do(server, request)
        except ProductError:
            assert await left(server, key_id) == there
        else:
            match request:
                case GetUsageAllocation(count=count):
                    given_ += count
                case EncryptData(data=data) if there is not None:
                    given_ += len(data)
                case DeleteObjectAttribute():
                    assert given_ == 0
                case ModifyObjectAttribute() | AddObjectAttribute():
                    assert given_ == 0
                    total = limits.total
        now = await left(server, key_id)
        assert now is None or now == total - given_ >= 0
        if choose.random() < 0.1:
            await server.boot()
    for connection in server.platter.databases.values():
        connection.close()
