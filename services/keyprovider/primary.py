"""The primary key of a provider, from its key servers: the first that gives it (KPS-03, KPS-06).

| a key server | then |
|---|---|
| was not marked as trusted | it is not asked |
| gives the key in a state that allows the use | used |
| does not answer, is busy, or does not accept this service | the next one is asked |
| has no such key, or gives it in another state | that is the answer |

To wrap a new key, the primary key must be Active. Keys wrapped before are unwrapped under a
Deactivated one too (NIST SP 800-57: such a key may still be used to process).
"""

from __future__ import annotations

from typing import Final

from protocol.errors import (
    Busy,
    CryptographicFailure,
    Disconnected,
    GeneralFailure,
    Internal,
    ItemNotFound,
    KeyProviderUnreachable,
    NotSent,
    PermissionDenied,
    ProductError,
    Refused,
    TimedOut,
    TlsFailure,
    WrongKeyLifecycleState,
)
from protocol.messages.keyprovider import KeyServerStatus, TrustedKeyProviderHealth
from protocol.messages.kms import GetKeys
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName, ProviderHealth
from protocol.trust import KeyServerRecord, TrustedKeyProvider
from services.keyprovider.knobs import KeyProviderNode
from services.keyprovider.own import OwnIdentity
from services.keyservers.address import Kmip, address_of
from services.keyservers.refusals import by_the_server

NEXT: Final = (
    NotSent,
    Refused,
    TimedOut,
    Disconnected,
    Busy,
    Internal,
    GeneralFailure,
    PermissionDenied,
    TlsFailure,
    CryptographicFailure,
)
"""Errors after which the next key server is asked."""
TO_WRAP: Final = frozenset({KmipState.ACTIVE})
TO_OPEN: Final = frozenset({KmipState.ACTIVE, KmipState.DEACTIVATED})


class PrimaryKeys:
    """Gets primary keys for this life of the service."""

    def __init__(self, node: KeyProviderNode, own: OwnIdentity) -> None:
        self._node, self._own = node, own
        self._kept: dict[tuple[str, KeyId], tuple[KeyMaterial, KmipState]] = {}
        self._good: dict[str, NodeName] = {}  # by provider: the server that gave its key last
        self._configuration = 0  # how often it was changed in this life

    def forget(self) -> None:
        """Forget kept keys and servers: they belong to an earlier configuration, and so do answers
        still to come."""
        self._configuration += 1
        self._kept.clear()
        self._good.clear()

    async def key(
        self, provider: TrustedKeyProvider, key_id: KeyId, usable: frozenset[KmipState]
    ) -> KeyMaterial:
        """The key of that id, in a state in which it is ``usable``.

        ``KeyProviderUnreachable`` when no trusted key server answers; ``ItemNotFound`` or
        ``WrongKeyLifecycleState`` when one answers so.
        """
        place = provider.provider, key_id
        kept = self._kept.get(place)
        if kept is not None and kept[1] in usable:
            return kept[0]
        why, configuration = "none of its key servers is trusted", self._configuration
        for server in self._in_turn(provider):
            try:
                found, state = await self._ask(server, key_id, usable)
            except NEXT as error:
                why = f"{server.node}: {type(error).__name__}"
                self._node.record(
                    "keyprovider.server_failed",
                    level="warning",
                    server=server.node,
                    error=type(error).__name__,
                )
                continue
            if self._configuration != configuration:
                return found
            self._good[provider.provider] = server.node
            if self._node.knobs.kps_primary_key_cache:
                self._kept[place] = found, state
            return found
        raise KeyProviderUnreachable(
            f"the primary key of {provider.provider} is not available: {why}"
        )

    async def health(self, provider: TrustedKeyProvider) -> TrustedKeyProviderHealth:
        """The answer of each key server about the primary key now; kept keys do not count."""
        servers = [
            await self._status(server, provider.primary_key_id) for server in provider.servers
        ]
        good = sum(status.health is ProviderHealth.OK for status in servers)
        if good == len(servers):
            health = ProviderHealth.OK
        else:
            health = ProviderHealth.WARNING if good else ProviderHealth.ERROR
        return TrustedKeyProviderHealth(
            provider=provider.provider, health=health, servers=tuple(servers)
        )

    def _in_turn(self, provider: TrustedKeyProvider) -> list[KeyServerRecord]:
        """The trusted servers in their order, but the one that gave the key last comes first."""
        first = self._good.get(provider.provider)
        trusted = [server for server in provider.servers if server.trusted]
        return sorted(trusted, key=lambda server: server.node != first)

    async def _ask(
        self, server: KeyServerRecord, key_id: KeyId, usable: frozenset[KmipState]
    ) -> tuple[KeyMaterial, KmipState]:
        """The key, and the state in which the server has it."""
        to = address_of(server.node, server.address)
        if isinstance(to, Kmip):
            await self._own.ensure_certificate()
        answer = await self._own.client_for(server).request(
            to, GetKeys(key_ids=(key_id,)), within_s=self._node.knobs.primary_key_timeout_s
        )
        found = answer.values[0] if answer.values else None
        if found is None or found.state is None or found.index is None:
            raise ItemNotFound(f"the primary key {key_id} is not at {server.node}")
        if found.state not in usable:
            raise WrongKeyLifecycleState(f"the primary key {key_id} is {found.state.value}")
        return answer.material.keys[found.index], found.state

    async def _status(self, server: KeyServerRecord, key_id: KeyId) -> KeyServerStatus:
        takes: bool | None = None
        trusts = server.trusted
        reason = "" if trusts else "its identity was not marked as trusted"
        if server.trusted:
            try:
                await self._ask(server, key_id, TO_WRAP)
                takes = True
            except PermissionDenied as error:
                takes, reason = False, str(error)
            except TlsFailure as error:
                trusts = by_the_server(error)
                takes, reason = (False if trusts else None), str(error)
            except (ItemNotFound, WrongKeyLifecycleState) as error:
                takes, reason = True, str(error)
            except ProductError as error:
                reason = f"{type(error).__name__}: {error}"
        return KeyServerStatus(
            node=server.node,
            health=ProviderHealth.ERROR if reason else ProviderHealth.OK,
            client_trust_server=trusts,
            server_trust_client=takes,
            reason=reason,
        )
