"""What a management type means for vCenter: one table that every flow asks. Pure.

| type           | key made by                 | values brought by | health from | key status |
|---|---|---|---|---|
| vCenter        | vCenter, at the key server  | vCenter, by push  | key servers | key server |
| trustAuthority | the host, at a Key Provider Service | the host, fetched | hosts | this table |
| nativeProvider | the host, by derivation     | the host, derived | its backup  | this table |
| unknown        | nobody                      | nobody            | nobody      | this table |

A trusted or native key is named by the host that made it (KEY-02): vCenter sees opaque ids and
never a value (KPS-01, NKP-11). So ``status from the table`` means that for every such key vCenter
gives the same reason and asks nobody (STD-20).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.errors import NotAvailable
from protocol.events import EventTypeId
from protocol.messages.vcenter.providers import CreateNativeProvider, RegisterKmsCluster
from protocol.terms import KeyUnavailableReason, ManagementType, ProviderId


class KeyMaker(StrEnum):
    """The node that makes a key of the provider."""

    VCENTER = "vCenter, at the key server"
    KEY_PROVIDER_SERVICE = "the host, at a Key Provider Service"
    DERIVATION = "the host, by derivation"
    NOBODY = "nobody"


class ValueBringer(StrEnum):
    """The node that delivers the value of a key to a host that needs it."""

    VCENTER = "vCenter, by push"
    HOST_FETCHES = "the host, from a Key Provider Service"
    HOST_DERIVES = "the host, by derivation"
    NOBODY = "nobody"


class HealthSource(StrEnum):
    """The source of the provider's health."""

    KEY_SERVERS = "its key servers, asked by vCenter"
    HOSTS = "the hosts, of their Trust Authority"
    BACKUP = "its backup, and the hosts that have its key derivation key"
    NOBODY = "nobody"


@dataclass(frozen=True)
class LockEvents:
    """The events with the reason why a VM is locked, by the state of its key.

    ``missing_on_host``: the host has no key and accepts none. ``missing_at_provider``: the provider
    answers that it has no usable key. ``provider_unusable``: the provider does not answer, or there
    is none of that name.
    """

    missing_on_host: EventTypeId
    missing_at_provider: EventTypeId
    provider_unusable: EventTypeId


@dataclass(frozen=True)
class Capability:
    """The capabilities of one management type.

    ``fixed_status``: the reason that vCenter reports for every key of it (STD-20); None when it
    asks the provider. ``created_by``: the message that creates such a provider; None when vCenter
    cannot create one. ``vsan``: whether vSAN encryption can use its keys.
    """

    key_made_by: KeyMaker
    values_brought_by: ValueBringer
    health_from: HealthSource
    fixed_status: KeyUnavailableReason | None
    lock_events: LockEvents
    created_by: type[RegisterKmsCluster] | type[CreateNativeProvider] | None
    vsan: bool

    @property
    def has_key_servers(self) -> bool:
        """Whether vCenter knows key servers of the provider and asks them."""
        return self.health_from is HealthSource.KEY_SERVERS

    @property
    def pushed(self) -> bool:
        """Whether vCenter has to deliver values to hosts (STD-12)."""
        return self.values_brought_by is ValueBringer.VCENTER

    @property
    def derived(self) -> bool:
        """Whether hosts derive values, from a key that vCenter delivers (NKP-02, NKP-11)."""
        return self.values_brought_by is ValueBringer.HOST_DERIVES

    @property
    def fetched(self) -> bool:
        """Whether hosts fetch values by themselves, without anything from vCenter (KPS-02)."""
        return self.values_brought_by is ValueBringer.HOST_FETCHES

    @property
    def self_served(self) -> bool:
        """Whether hosts get values by themselves, and vCenter has nothing to deliver (KPS-02)."""
        return self.values_brought_by in (ValueBringer.HOST_FETCHES, ValueBringer.HOST_DERIVES)


_NATIVE_LOCKS = LockEvents(
    missing_on_host=EventTypeId.VM_LOCKED_KEY_MISSING_ON_HOST,
    missing_at_provider=EventTypeId.VM_LOCKED_KEY_MISSING_ON_HOST,
    provider_unusable=EventTypeId.VM_LOCKED_KEY_MISSING_ON_HOST,
)
"""There is no key server to ask: a key is derivable on its host, or missing."""

_STANDARD_LOCKS = LockEvents(
    missing_on_host=EventTypeId.VM_LOCKED_KEY_MISSING_ON_HOST,
    missing_at_provider=EventTypeId.VM_LOCKED_KEY_MISSING_ON_KMS,
    provider_unusable=EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR,
)

CAPABILITIES: Final[Mapping[ManagementType, Capability]] = {
    ManagementType.VCENTER: Capability(
        key_made_by=KeyMaker.VCENTER,
        values_brought_by=ValueBringer.VCENTER,
        health_from=HealthSource.KEY_SERVERS,
        fixed_status=None,
        lock_events=_STANDARD_LOCKS,
        created_by=RegisterKmsCluster,
        vsan=True,
    ),
    ManagementType.TRUST_AUTHORITY: Capability(
        key_made_by=KeyMaker.KEY_PROVIDER_SERVICE,
        values_brought_by=ValueBringer.HOST_FETCHES,
        health_from=HealthSource.HOSTS,
        fixed_status=KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY,
        lock_events=LockEvents(
            missing_on_host=EventTypeId.VM_LOCKED_TA_KEY_MISSING_ON_HOST,
            missing_at_provider=EventTypeId.VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE,
            provider_unusable=EventTypeId.VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE,
        ),
        created_by=RegisterKmsCluster,
        vsan=False,
    ),
    ManagementType.NATIVE_PROVIDER: Capability(
        key_made_by=KeyMaker.DERIVATION,
        values_brought_by=ValueBringer.HOST_DERIVES,
        health_from=HealthSource.BACKUP,
        fixed_status=KeyUnavailableReason.MANAGED_BY_NKP,
        lock_events=_NATIVE_LOCKS,
        created_by=CreateNativeProvider,
        vsan=True,
    ),
    ManagementType.UNKNOWN: Capability(
        key_made_by=KeyMaker.NOBODY,
        values_brought_by=ValueBringer.NOBODY,
        health_from=HealthSource.NOBODY,
        fixed_status=KeyUnavailableReason.CLUSTER_INVALID,
        lock_events=_STANDARD_LOCKS,
        created_by=None,
        vsan=False,
    ),
}

NO_PROVIDER: Final = CAPABILITIES[ManagementType.UNKNOWN]
"""The capabilities of a name without a registered provider."""


def of_provider(types: Mapping[ProviderId, ManagementType], provider: ProviderId) -> Capability:
    """The capabilities of the provider of that name; ``NO_PROVIDER`` when there is none."""
    kind = types.get(provider)
    return NO_PROVIDER if kind is None else CAPABILITIES[kind]


def keys_not_available(provider: ProviderId, kind: ManagementType) -> NotAvailable:
    """The error of a task that needs something of vCenter that this type does not allow."""
    maker = CAPABILITIES[kind].key_made_by.value
    return NotAvailable(
        f"key provider {provider}: vCenter makes and fetches no keys of a provider of management "
        f"type {kind.value} (they are made by {maker})"
    )
