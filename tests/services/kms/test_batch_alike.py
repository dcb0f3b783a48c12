"""A message of items is what its items are one by one; one that is undone has never been.

The same random items go to three servers: as one message with Continue, each in a message of its
own with the placeholder put in by the test, and as one message with Undo. Dates come and pass
meanwhile, and every few messages the servers start again, which checks rows and trail.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest

from protocol.attributes import (
    Attribute,
    CryptographicParametersValue,
    ObjectName,
    UsageLimitsValue,
    Value,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, RevocationReason
from services.kms.objects import attributes, key_row
from services.kms.objects import request_types as r
from services.kms.operations.batches import Continuation, Item
from tests.services.kms.core_rig import items, trail
from tests.services.kms.ports import Server

MESSAGES, ITEMS, KEYS = 12, 12, 8
DATES = ("Activation Date", "Deactivation Date", "Process Start Date", "Protect Stop Date")
NAMES = (
    *(*DATES, "x-a", "x-b", "Name", "Object Group", "State", "Cryptographic Parameters", "None"),
    *("Fresh", "Original Creation Date", "Lease Time", "Usage Limits"),
)
ALIKE = (
    "SELECT ordinal, scope, algorithm, length, usage_mask, state, initial_date, activation_date, "
    "deactivation_date, compromise_date, destroy_date, last_change_date, wrapped IS NULL, "
    "attributes FROM keys"
)
EVERYTHING = ("SELECT * FROM keys", "SELECT * FROM attribute_index")
MAKERS = (r.Create, r.Register, r.LocateObjects)


class Step(NamedTuple):
    """An item; ``key``: the place of its key in order of creation, None is the placeholder."""

    kind: type[r.CoreRequest[Any]]
    key: int | None
    fields: dict[str, Any]


def attribute(choose: Random, now: float) -> Attribute:
    name = choose.choice(NAMES)
    value: Value = choose.choice("123")
    if name in DATES:
        value = now + choose.randrange(-5, 15)
    elif name == "Name":
        value = ObjectName(value=choose.choice("abc"))
    elif name == "Usage Limits":
        value = UsageLimitsValue(total=choose.choice([2, 9]), unit="Object")
    elif name == "Fresh":
        value = choose.choice([True, False])
    elif name == "Original Creation Date":
        value = now - choose.randrange(9)
    elif name.startswith("Crypto"):
        value = CryptographicParametersValue(random_iv=True, tag_length=choose.choice([None, 12]))
    return Attribute(name=name, index=choose.choice([0, 0, 0, 1]), value=value)


def step(choose: Random, now: float) -> Step:
    given = tuple(attribute(choose, now) for _ in range(choose.choice([0, 0, 1, 2])))
    fields: dict[type[r.CoreRequest[Any]], Callable[[], dict[str, Any]]] = {
        r.Create: lambda: {"length": choose.choice([256, 128, 99]), "attributes": given},
        r.Register: lambda: {"material": KeyMaterial(bytes(choose.choice([32, 31])))},
        r.ActivateObject: dict,
        r.RevokeObject: lambda: {"reason": choose.choice(list(RevocationReason)), "message": "m"},
        r.DestroyObject: dict,
        r.AddObjectAttribute: lambda: {"attribute": attribute(choose, now)},
        r.ModifyObjectAttribute: lambda: {"attribute": attribute(choose, now)},
        r.DeleteObjectAttribute: lambda: {"name": choose.choice(NAMES)},
        r.Get: dict,
        r.GetObjectAttributes: lambda: {"names": ()},
        r.ListObjectAttributes: dict,
        r.ReKey: lambda: {"offset": choose.choice([None, None, 3]), "attributes": given[:1]},
        r.GetUsageAllocation: lambda: {"count": choose.choice([1, 2, 9])},
        r.ObtainLease: dict,
        r.CheckUsage: lambda: {"usage_limits_count": 2},
        r.EncryptData: lambda: {
            "data": KeyMaterial(b"abc"),
            "iv": choose.choice([None, bytes(12)]),
        },
        r.LocateObjects: lambda: {
            "attributes": given[:1],
            "maximum_items": choose.choice([1, 2, 1000]),
        },
    }
    kinds: list[type[r.CoreRequest[Any]]] = [
        *fields,
        r.Create,
        r.Register,
        r.LocateObjects,
        r.ActivateObject,
    ]
    kind = choose.choice(kinds)
    key = choose.choice([None, None, None, *range(KEYS)])
    return Step(kind, None if kind in MAKERS else key, fields[kind]())


def request(one: Step, keys: list[KeyId], placeholder: KeyId | None = None) -> r.CoreRequest[Any]:
    if one.kind in MAKERS:
        return one.kind(**one.fields)
    named = placeholder
    if one.key is not None:
        named = keys[one.key] if one.key < len(keys) else KeyId("no such key")
    if one.kind in (r.Get, r.GetObjectAttributes):
        ids = None if named is None else (named,)
        return one.kind(unique_identifiers=ids, **one.fields)
    return one.kind(unique_identifier=named, **one.fields)


def rows(server: Server) -> list[tuple[Any, ...]]:
    """What must be alike. A key that was given by the message that made it was fresh for nobody,
    so nothing is held of that."""
    found: list[tuple[Any, ...]] = []
    for *columns, packed in server.platter.sql(ALIKE):
        held = attributes.unpack(packed)
        if not key_row.is_fresh(held):
            held.pop(key_row.FRESH, None)
        found.append((*columns, told(server, held)))
    return found


async def operations(server: Server) -> list[tuple[str, str, str]]:
    """The trail, without what it says of a key that is fresh no more, or whose date has come: one
    row of a message may tell what it takes two of single items to tell."""
    apart = (r.CoreOperation.SERVE, r.CoreOperation.DATE_REACHED)
    return [row for row in await trail(server) if row[0] not in apart]


def keys_of(server: Server) -> list[KeyId]:
    return [KeyId(row[0]) for row in server.platter.sql("SELECT key_id FROM keys ORDER BY ordinal")]


def told(server: Server, what: Any) -> Any:
    """An answer without what is drawn: keys by their places, no bytes."""
    places: dict[str, str] = {key: f"key {place}" for place, key in enumerate(keys_of(server))}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        if isinstance(value, bytes):
            return "bytes"
        return places.get(value, value) if isinstance(value, str) else value

    return plain(msgspec.to_builtins(what, builtin_types=(bytes,), enc_hook=lambda _: "secret"))


def outcome(server: Server, item: Item) -> Any:
    return type(item.error).__name__ if item.error is not None else told(server, item.response)


async def one_by_one(server: Server, steps: list[Step]) -> list[Item]:
    keys, placeholder, done = keys_of(server), None, list[Item]()
    for one in steps:
        [item] = await items(server, request(one, keys, placeholder))
        done.append(item)
        match item.response:
            case r.Created(unique_identifier=key) | r.ReplacedKey(unique_identifier=key):
                placeholder = key
            case r.LocatedObjects(unique_identifiers=found, total=total):
                alone = found and 1 in (total, one.fields["maximum_items"])
                placeholder = found[0] if alone else None
    return done


@pytest.mark.parametrize("seed", range(8))
async def test_a_message_is_its_items(seed: int) -> None:
    choose = Random(seed)
    whole, single, undone = servers = (Server(), Server(), Server())
    for number in range(MESSAGES):
        for server in servers if number % 4 == 0 else ():
            await server.boot()
        now = whole.clock.wall
        steps = [step(choose, now) for _ in range(choose.randrange(1, ITEMS))]
        message = [request(one, keys_of(whole)) for one in steps]
        together = await items(whole, *message, option=Continuation.CONTINUE)
        apart = await one_by_one(single, steps)
        for one, a, b in zip(steps, together, apart, strict=True):
            assert outcome(whole, a) == outcome(single, b), one
        assert rows(whole) == rows(single)
        assert told(whole, await operations(whole)) == told(single, await operations(single))
        before = [undone.platter.sql(table) for table in EVERYTHING]
        message = [request(one, keys_of(undone)) for one in steps]
        back = await items(undone, *message, option=Continuation.UNDO)
        if back[-1].error is not None:
            assert [undone.platter.sql(table) for table in EVERYTHING] == before
        passed = choose.choice([0, 1, 4, 9])
        for server in servers:
            server.clock.wall += passed
    for server in servers:
        for connection in server.platter.databases.values():
            connection.close()
