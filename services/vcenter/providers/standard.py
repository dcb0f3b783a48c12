"""The standard key provider: a named group of key servers that vCenter asks itself (STD-01).

STD-08: requests go round robin over the servers, and on to the next until one answers; the
provider is down only when all are. A server that answers with an error has answered, but for
refused identities: those look as if it were down. C22: an id one server does not know is
asked of the others only when ``failover_on_missing`` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

from protocol.errors import (
    Busy,
    Disconnected,
    Internal,
    KeyProviderUnreachable,
    NoPermission,
    NotConnected,
    NotSent,
    PermissionDenied,
    ProductError,
    Refused,
    TimedOut,
    WrongKeyLifecycleState,
)
from protocol.messages.base import Request
from protocol.messages.kms import (
    Activate,
    CreateKey,
    DiscoverVersions,
    GetAttributes,
    GetKeys,
    KeyValue,
    KeyValues,
)
from protocol.messages.vcenter import KmipServer
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KeyUnavailableReason, KmipState, ProviderId
from services.runtime.ports import Bus
from services.vcenter.health import Contacts
from services.vcenter.providers.terms import CreatedKey, FetchedKeys

R = TypeVar("R")

NO_ANSWER = (
    NotSent,
    Refused,
    TimedOut,
    Disconnected,
    NotConnected,
    Busy,
    Internal,
    PermissionDenied,
    NoPermission,
)

ATTRIBUTES_PER_REQUEST = 500


class StandardProvider:
    """See ``KeyProvider``. ``within``: lab seconds that each server gets for an answer."""

    def __init__(
        self,
        name: ProviderId,
        servers: tuple[KmipServer, ...],
        bus: Bus,
        contacts: Contacts,
        *,
        within: float,
        failover_on_missing: bool,
    ) -> None:
        self._name, self._servers = name, servers
        self._bus, self._contacts, self._within = bus, contacts, within
        self._failover_on_missing = failover_on_missing
        self._turn = 0

    async def create_key(self, operation_id: str) -> CreatedKey:
        made, server = await self._ask(
            CreateKey(operation_id=operation_id, activate=True, get=True)
        )
        if made.material is None or made.state is not KmipState.ACTIVE:
            raise WrongKeyLifecycleState(
                f"{server.name}: the key made for this operation is now {made.state.value}"
            )
        return CreatedKey(made.key_id, made.material.keys[0])

    async def fetch_keys(self, key_ids: Sequence[KeyId]) -> FetchedKeys:
        material: dict[KeyId, KeyMaterial] = {}
        reply, server = await self._ask(GetKeys(key_ids=tuple(key_ids)))
        missing = await self._sort(reply, server, material)
        if self._failover_on_missing:
            for other in self._servers:
                unknown = tuple(
                    k for k, r in missing.items() if r is KeyUnavailableReason.MISSING_IN_KMS
                )
                if other == server or not unknown:
                    continue
                try:
                    reply = await self._ask_one(other, GetKeys(key_ids=unknown))
                except NO_ANSWER:
                    continue
                missing.update(await self._sort(reply, other, material))
                missing = {k: r for k, r in missing.items() if k not in material}
        return FetchedKeys(material, missing)

    async def _sort(
        self, reply: KeyValues, server: KmipServer, material: dict[KeyId, KeyMaterial]
    ) -> dict[KeyId, KeyUnavailableReason]:
        """Usable values into ``material``; the reasons for the others."""
        missing: dict[KeyId, KeyUnavailableReason] = {}
        for value in reply.values:
            reason = _unusable(value)
            if reason is None and value.state is KmipState.PRE_ACTIVE:
                reason = await self._activate(server, value.key_id)
            if reason is None and value.index is not None:
                material[value.key_id] = reply.material.keys[value.index]
            else:
                missing[value.key_id] = reason or KeyUnavailableReason.MISSING_IN_KMS
        return missing

    async def _activate(self, server: KmipServer, key_id: KeyId) -> KeyUnavailableReason | None:
        """STD-18: a Pre-Active key is activated by vSphere before it is used."""
        try:
            await self._ask_one(server, Activate(key_id=key_id))
        except ProductError:
            return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
        return None

    async def health(self) -> Mapping[str, tuple[str, ...]]:
        answers: dict[str, tuple[str, ...]] = {}
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(self._probe(server, answers))
        if not answers:
            self._contacts.all_failed(self._name)
        return {s.name: answers[s.name] for s in self._servers if s.name in answers}

    async def _probe(self, server: KmipServer, answers: dict[str, tuple[str, ...]]) -> None:
        try:
            reply = await self._ask_one(server, DiscoverVersions())
        except ProductError:
            return
        answers[server.name] = reply.versions

    async def status(self, key_ids: Sequence[KeyId]) -> Mapping[KeyId, KeyUnavailableReason | None]:
        found: dict[KeyId, KeyUnavailableReason | None] = dict.fromkeys(
            key_ids, KeyUnavailableReason.MISSING_IN_KMS
        )
        for start in range(0, len(key_ids), ATTRIBUTES_PER_REQUEST):
            part = tuple(key_ids[start : start + ATTRIBUTES_PER_REQUEST])
            reply, _ = await self._ask(GetAttributes(key_ids=part))
            for key in reply.keys:
                found[key.key_id] = _state_reason(key.state)
        return found

    # ---- servers ----------------------------------------------------------------------------

    async def _ask(self, message: Request[R]) -> tuple[R, KmipServer]:
        """Ask the servers in turn until one answers; ``KeyProviderUnreachable`` if none does."""
        first = self._turn % max(1, len(self._servers))
        self._turn += 1
        last = "it has no server"
        for server in (*self._servers[first:], *self._servers[:first]):
            try:
                return await self._ask_one(server, message), server
            except NO_ANSWER as error:
                last = f"{server.name}: {error}"
        self._contacts.all_failed(self._name)
        raise KeyProviderUnreachable(f"no server of key provider {self._name} answers ({last})")

    async def _ask_one(self, server: KmipServer, message: Request[R]) -> R:
        try:
            reply = await self._bus.request(server.node, message, within=self._within)
        except NO_ANSWER as error:
            await self._contacts.failed(self._name, server.name, str(error))
            raise
        except ProductError:
            await self._contacts.worked(self._name, server.name)
            raise
        await self._contacts.worked(self._name, server.name)
        return reply


def _unusable(value: KeyValue) -> KeyUnavailableReason | None:
    """Why this key must not be used, by its state (STD-18, STD-19); None when it may be."""
    if value.state is None:
        return KeyUnavailableReason.MISSING_IN_KMS
    return _state_reason(value.state)


def _state_reason(state: KmipState) -> KeyUnavailableReason | None:
    match state:
        case KmipState.ACTIVE | KmipState.PRE_ACTIVE:
            return None
        case KmipState.DEACTIVATED | KmipState.COMPROMISED:
            return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
        case KmipState.DESTROYED | KmipState.DESTROYED_COMPROMISED:
            return KeyUnavailableReason.MISSING_IN_KMS
