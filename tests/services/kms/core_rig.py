"""A key server's core as a door asks it, for tests of what KMIP says."""

from __future__ import annotations

from typing import Any, TypeVar

from protocol.attributes import Attribute, ObjectName, Value
from protocol.messages.kms.keys import QueryAudit
from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller
from services.kms.objects.request_types import (
    AddObjectAttribute,
    CoreRequest,
    Create,
    GetObjectAttributes,
    Response,
)
from services.kms.operations.batches import Continuation, Item
from services.kms.settings.config import KmsRole
from tests.services.kms.ports import LOCAL, Server

R = TypeVar("R", bound=Response)

OWNER = KeyServerCaller("app", KmsRole.OWNER, "default")
STRANGER = KeyServerCaller("app-b", KmsRole.OWNER, "b")


async def do(server: Server, request: CoreRequest[R], caller: KeyServerCaller = OWNER) -> R:
    """One operation; raises its refusal."""
    return await server.service.core.execute(caller, request)


async def items(
    server: Server,
    *requests: CoreRequest[Any],
    option: Continuation = Continuation.STOP,
    caller: KeyServerCaller = OWNER,
) -> tuple[Item, ...]:
    """A message of items; what came of each that was begun."""
    return await server.service.core.process(caller, requests, option)


def named(value: str) -> Attribute:
    return Attribute(name="Name", value=ObjectName(value=value))


async def made(server: Server, *attributes: Attribute, caller: KeyServerCaller = OWNER) -> KeyId:
    """A new key with these attributes."""
    created = await do(server, Create(attributes=attributes), caller)
    return created.unique_identifier


async def add(server: Server, key_id: KeyId, name: str, value: Value) -> Attribute:
    request = AddObjectAttribute(
        unique_identifier=key_id, attribute=Attribute(name=name, value=value)
    )
    return (await do(server, request)).attribute


async def values(server: Server, key_id: KeyId, *names: str) -> list[tuple[str, int, Value]]:
    """Attributes of a key as (name, index, value), those of these names or all."""
    request = GetObjectAttributes(unique_identifiers=(key_id,), names=names)
    [found] = (await do(server, request)).objects
    return [(one.name, one.index, one.value) for one in found.attributes]


async def value(server: Server, key_id: KeyId, name: str) -> Value | None:
    found = await values(server, key_id, name)
    return found[0][2] if found else None


async def trail(server: Server) -> list[tuple[str, str, str]]:
    rows = (await server.ask(QueryAudit(), LOCAL)).rows
    return [(row.operation, row.key_id, row.result) for row in rows]
