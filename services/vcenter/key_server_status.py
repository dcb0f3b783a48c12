"""The status of key servers as events and alarms: which server answered last and the consequences
of a change, and certificates between KMIP servers and their clients that expire soon (STD-07).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from protocol.crypto import certificates
from protocol.events import EventTypeId
from protocol.messages.vcenter.providers import KmipServer, KmipServerStatus
from protocol.terms import (
    AttestationStatus,
    HostConnectionState,
    HostCryptoState,
    NodeName,
    ProviderId,
)
from services.runtime.ports import Clock
from services.runtime.service import ServiceNode
from services.vcenter import events
from services.vcenter.events import EventDraft, certificate_ends
from services.vcenter.tables import AuthorityRow, ProviderRow


class AlarmId(StrEnum):
    """Ids of alarms in ``HostInfo`` and ``VmInfo``."""

    VM_LOCKED = "alarm.VmLocked"
    HOST_CONNECTION = "alarm.HostConnectionFailure"
    HOST_NEEDS_MODE = "alarm.HostRequiresEncryptionMode"
    HOST_TPM_ATTESTATION = "alarm.HostTpmAttestation"
    HOST_RECOVERY_KEY = "alarm.HostRecoveryKeyBackup"


def vm_alarms(lock_event: EventTypeId | None) -> tuple[str, ...]:
    """The alarms of a VM. ``lock_event``: the event with the reason why the VM is locked, None when
    it is not."""
    return (AlarmId.VM_LOCKED.value,) if lock_event is not None else ()


def host_alarms(
    connection: HostConnectionState,
    crypto_state: HostCryptoState | None,
    wanted_safe: bool,
    attestation: AttestationStatus | None,
    *,
    recovery_key_new: bool = False,
) -> tuple[str, ...]:
    """The alarms of a host. ``wanted_safe``: the host should be safe (HEM-02). ``attestation``:
    None for a TPM never seen. ``recovery_key_new``: its present recovery key was not acknowledged
    yet."""
    alarms: list[str] = []
    if connection is HostConnectionState.NOT_RESPONDING:  # disconnected is on purpose
        alarms.append(AlarmId.HOST_CONNECTION.value)
    connected = connection is HostConnectionState.CONNECTED
    if connected and wanted_safe and crypto_state is not HostCryptoState.SAFE:
        alarms.append(AlarmId.HOST_NEEDS_MODE.value)
    if attestation is AttestationStatus.NOT_ACCEPTED:
        alarms.append(AlarmId.HOST_TPM_ATTESTATION.value)
    if recovery_key_new:
        alarms.append(AlarmId.HOST_RECOVERY_KEY.value)
    return tuple(alarms)


UNKNOWN_STATUS: Final = "gray"
"""Status of a provider whose health does not come from key servers (ManagedEntityStatus)."""


def provider_status(servers: int, down: int, unknown: int) -> str:
    """Green, yellow or red (STD-03); down only when every server is (STD-08)."""
    if servers and down == servers:
        return "red"
    return "green" if down == 0 and unknown == 0 else "yellow"


DAY_S: Final = 86_400.0


class _Certificate(NamedTuple):
    """A certificate (``der``) that ``client`` presents; empty: a server."""

    der: bytes
    provider: ProviderId
    client: str = ""


def near_their_end(row: ProviderRow, until: float) -> dict[str, EventDraft]:
    """The events for certificates of a standard provider that expire by ``until`` (Unix seconds)
    and have had no event yet, by the SHA-256 of the certificate in hex."""
    own = () if row.client is None else row.client.chain[:1]
    found = [_Certificate(der, row.name, "vCenter") for der in own]
    found += [_Certificate(der, row.name) for der in row.trusted if der not in own]
    return _near(found, row.ending, until, behind_services=False)


def near_their_end_behind_services(
    row: AuthorityRow, shown: Mapping[NodeName, bytes], until: float
) -> dict[str, EventDraft]:
    """The same for the trusted providers of a Trust Authority; ``shown`` is the certificate (DER)
    that each Key Provider Service presents to KMIP servers."""
    found = []
    for provider in row.providers:
        servers = [one for one in provider.servers if one.address]
        if servers:
            found += [_Certificate(der, provider.provider, node) for node, der in shown.items()]
        found += [_Certificate(der, provider.provider) for s in servers for der in s.certificates]
    return _near(found, row.ending, until, behind_services=True)


def _near(
    shown: Iterable[_Certificate], reported: Collection[str], until: float, *, behind_services: bool
) -> dict[str, EventDraft]:
    found: dict[str, EventDraft] = {}
    for one in shown:
        digest = hashlib.sha256(one.der).hexdigest()
        _, end = certificates.validity(one.der)
        if end <= until and digest not in reported and digest not in found:
            found[digest] = certificate_ends(
                one.provider,
                certificates.common_name(one.der),
                end,
                client=one.client,
                behind_services=behind_services,
            )
    return found


Emit = Callable[[events.EventDraft], Awaitable[None]]


@dataclass
class _Contact:
    """``answered`` the last time; ``at``: when it last did, in Unix seconds, None: never."""

    answered: bool
    at: float | None = None
    why: str = ""


class KeyServerContacts:
    """The result of the last call, per (provider, server); none before the first."""

    def __init__(
        self, node: ServiceNode, clock: Clock, emit: Emit, recovered: Callable[[], None]
    ) -> None:
        self._node, self._clock, self._emit, self._recovered = node, clock, emit, recovered
        self._found: dict[tuple[ProviderId, str], _Contact] = {}
        self._down_at: dict[ProviderId, float] = {}

    async def record_answer(self, provider: ProviderId, server: str) -> None:
        """The server has answered."""
        before = self._found.get((provider, server))
        self._found[provider, server] = _Contact(True, self._clock.now())
        was_down = self._down_at.pop(provider, None) is not None
        if before is None or not before.answered:
            self._record_reachability(provider, server, reachable=True)
        if was_down:
            self._recovered()

    async def record_failure(self, provider: ProviderId, server: str, why: str) -> None:
        """The server has not answered; the first failure since its last answer raises an event."""
        before = self._found.get((provider, server))
        at = None if before is None else before.at
        self._found[provider, server] = _Contact(False, at, why)
        if before is None or before.answered:
            self._record_reachability(provider, server, reachable=False)
            await self._emit(events.unreachable(provider, server, why))

    def all_failed(self, provider: ProviderId) -> None:
        """A call has just failed on every server of the provider."""
        self._down_at[provider] = self._clock.monotonic()

    def just_failed(self, provider: ProviderId, within_s: float) -> bool:
        """Whether that was less than ``within_s`` lab seconds ago.

        Passes over hosts use it, so that a storm does not wait for the same silent servers once per
        host. Requests of users do not.
        """
        at = self._down_at.get(provider)
        return at is not None and self._clock.monotonic() - at < within_s

    def rows(
        self, provider: ProviderId, servers: Sequence[KmipServer]
    ) -> tuple[KmipServerStatus, ...]:
        """The last result of each server (RetrieveKmipServersStatus)."""
        found = [(server.name, self._found.get((provider, server.name))) for server in servers]
        return tuple(
            KmipServerStatus(name=name, status=UNKNOWN_STATUS)
            if contact is None
            else KmipServerStatus(
                name=name,
                status=provider_status(1, int(not contact.answered), 0),
                last_contact=contact.at,
                why=contact.why,
            )
            for name, contact in found
        )

    def status(self, provider: ProviderId, servers: Sequence[KmipServer]) -> str:
        """Green, yellow or red; yellow too before the first contact."""
        found = [self._found.get((provider, server.name)) for server in servers]
        unknown = sum(contact is None for contact in found)
        down = sum(contact is not None and not contact.answered for contact in found)
        return provider_status(len(servers), down, unknown)

    def forget(self, provider: ProviderId) -> None:
        """The provider was deleted."""
        self._down_at.pop(provider, None)
        for key in [key for key in self._found if key[0] == provider]:
            del self._found[key]

    def _record_reachability(self, provider: ProviderId, server: str, *, reachable: bool) -> None:
        self._node.record(
            "provider.contact",
            level="info" if reachable else "warning",
            provider=provider,
            server=server,
            reachable=reachable,
        )
