"""What vCenter serves: to vSphere clients (through the control plane) and to its hosts."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.events import EventTypeId
from protocol.messages.base import Event, Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyUnavailableReason,
    ManagementType,
    NodeName,
    PowerState,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
    VmName,
)

# From hosts --------------------------------------------------------------------------------


class HostChanged(Request[Done], frozen=True, kw_only=True):
    """The doorbell of a host: something changed there, and vCenter should look for itself.

    A host rings when it has booted or lost its session (step B8), when it cannot find keys of
    a VM by itself (step 5 of resolving), and when VMs changed without vCenter's command. What
    has changed is in the view that vCenter then asks for; ``boot`` is the life of the host that
    rings, so that a late ring of an earlier life is told from a new one.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    boot: int


# Hosts and VMs -----------------------------------------------------------------------------


class AddHost(Request["HostAdded"], frozen=True, kw_only=True):
    """Add a host to a cluster: connect, push providers and keys. Same name, same cluster: once."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName
    cluster: ClusterName


class HostAdded(Reply, frozen=True, kw_only=True):
    """The host is in the inventory; its state is what it has told so far."""

    host: HostInfo


class RemoveHost(Request[Done], frozen=True, kw_only=True):
    """Take a host and its VMs out of the inventory; nothing is deleted elsewhere (KEY-03).

    ``InvalidState`` while VMs run on it. No change when it is not there.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class CreateVm(Request["VmCreated"], frozen=True, kw_only=True):
    """Create a VM on a host of the cluster (the emptiest when none is named)."""

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    cluster: ClusterName
    host: NodeName | None = None
    blocks: int = 64


class VmCreated(Reply, frozen=True, kw_only=True):
    """The VM, registered on its host and powered off."""

    vm: VmInfo


class EncryptVm(Request["VmEncrypted"], frozen=True, kw_only=True):
    """Encrypt a powered-off VM under a new KEK of ``provider`` (the default when None)."""

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    provider: ProviderId | None = None


class VmEncrypted(Reply, frozen=True, kw_only=True):
    """The VM after the task, and the key of its provider that it is encrypted under."""

    vm: VmInfo
    key: CryptoKeyId


class PowerOnVm(Request["VmPowered"], frozen=True, kw_only=True):
    """PowerOnVM_Task; vCenter fetches and pushes a missing key first when it can."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class PowerOffVm(Request["VmPowered"], frozen=True, kw_only=True):
    """PowerOffVM_Task: at once, without the guest; also when it is off."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class VmPowered(Reply, frozen=True, kw_only=True):
    """The VM after the task."""

    vm: VmInfo


class CryptoUnlock(Request["VmPowered"], frozen=True, kw_only=True):
    """CryptoUnlock_Task (LOCK-05); ``InvalidVmState`` when it is locked afterwards still."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class ConfigureCryptoKey(Request[Done], frozen=True, kw_only=True):
    """HostSystem.ConfigureCryptoKey: (re-)enable host encryption mode, push keys, unlock."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A host in vCenter's inventory; ``seen_at`` (Unix s) is when it last answered."""

    host: NodeName
    cluster: ClusterName
    connection: HostConnectionState
    crypto_state: HostCryptoState | None
    crypto_key_id: CryptoKeyId | None = None
    version: str = ""
    tpm_present: bool = False
    key_persistence: bool = False
    boot: int = 0
    cached_keys: int = 0
    seen_at: float = 0.0
    alarms: tuple[str, ...] = ()


class VmInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A VM in vCenter's inventory. ``lock_event`` is the event id that said why it is locked."""

    vm: VmName
    cluster: ClusterName
    host: NodeName
    power: PowerState
    connection: VmConnectionState
    crypto: VmCryptoState | None = None
    key: CryptoKeyId | None = None
    missing: tuple[CryptoKeyId, ...] = ()
    lock_event: EventTypeId | None = None
    alarms: tuple[str, ...] = ()


class ListHosts(Request["HostList"], frozen=True, kw_only=True):
    """Hosts by name, those after ``after``, as many as fit into the answer."""

    after: NodeName = NodeName("")


class HostList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last name as ``after`` (``listing.all_hosts``)."""

    hosts: tuple[HostInfo, ...]
    more: bool = False


class ListVms(Request["VmList"], frozen=True, kw_only=True):
    """VMs by name, those after ``after``, as many as fit into the answer."""

    after: VmName = VmName("")


class VmList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last name as ``after`` (``listing.all_vms``)."""

    vms: tuple[VmInfo, ...]
    more: bool = False


# Key providers -----------------------------------------------------------------------------


class KmipServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server of a standard provider: its node is its address in this lab."""

    name: str
    node: NodeName


class RegisterKmsCluster(Request["ProviderState"], frozen=True, kw_only=True):
    """Make a provider (or change its servers). The first becomes the default (STD-02).

    ``NotAvailable`` for management types this lab has not built yet.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    management_type: ManagementType = ManagementType.VCENTER
    servers: tuple[KmipServer, ...] = ()
    make_default: bool = False


class UnregisterKmsCluster(Request[Done], frozen=True, kw_only=True):
    """Delete a provider; use does not block it (DEL-01). Its keys stay on the key servers."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class MarkDefault(Request["ProviderState"], frozen=True, kw_only=True):
    """Make a provider the default of this vCenter (STD-02).

    ``InvalidArgument`` when there is none of that name.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class ProviderInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as vCenter sees it; ``status`` is green, yellow or red (STD-03), or gray where
    its health does not come from key servers that vCenter asks."""

    provider: ProviderId
    management_type: ManagementType
    servers: tuple[KmipServer, ...]
    default: bool
    status: str
    unreachable: tuple[str, ...] = ()  # names of servers that did not answer last


class ProviderState(Reply, frozen=True, kw_only=True):
    """The provider after the change."""

    provider: ProviderInfo


class ListKmsClusters(Request["ProviderList"], frozen=True, kw_only=True):
    """Providers by name: those after ``after``, as many as fit into the answer."""

    after: ProviderId = ProviderId("")


class ProviderList(Reply, frozen=True, kw_only=True):
    """A page of providers, by name; ``more``: there are others after the last."""

    providers: tuple[ProviderInfo, ...]
    more: bool = False


class GenerateKey(Request["KeyGenerated"], frozen=True, kw_only=True):
    """A new key of the provider (the default when None); failure comes in the reply."""

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    provider: ProviderId | None = None


class KeyGenerated(Reply, frozen=True, kw_only=True):
    """vim25 CryptoKeyResult: the key that was made, or ``success`` False and why there is none."""

    success: bool
    key: CryptoKeyId | None = None
    reason: str = ""


class QueryCryptoKeyStatus(Request["CryptoKeyStatusList"], frozen=True, kw_only=True):
    """Really asks the provider, and lists which VMs and hosts use each key (STD-20).

    Of the keys named, in that order; of all keys known to the inventory, by provider and id, when
    none are named. Those after ``after``, as many as fit into the answer.
    """

    keys: tuple[CryptoKeyId, ...] = ()
    after: CryptoKeyId | None = None


class CryptoKeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 CryptoKeyStatus: whether a key can be had of its provider, and who uses it.

    ``reason`` says why it is not ``available`` (STD-20).
    """

    key: CryptoKeyId
    available: bool
    reason: KeyUnavailableReason | None = None
    encrypted_vms: tuple[VmName, ...] = ()
    affected_hosts: tuple[NodeName, ...] = ()


class CryptoKeyStatusList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last key as ``after`` (``listing.all_key_status``)."""

    keys: tuple[CryptoKeyStatus, ...]
    more: bool = False


# Events ------------------------------------------------------------------------------------


class VcEvent(Event, frozen=True, kw_only=True):
    """One entry of vCenter's event log, as stored and as broadcast."""

    sequence: int
    at: float
    event: EventTypeId
    text: str
    host: NodeName | None = None
    vm: VmName | None = None
    provider: ProviderId | None = None
    keys: tuple[CryptoKeyId, ...] = ()


class ListEvents(Request["EventList"], frozen=True, kw_only=True):
    """Events with a sequence above ``after``, oldest first, at most ``limit``, as many as fit."""

    after: int = 0
    limit: int = 1000


class EventList(Reply, frozen=True, kw_only=True):
    """``more``: there are later events; ask again with the last sequence as ``after``."""

    events: tuple[VcEvent, ...]
    more: bool = False
