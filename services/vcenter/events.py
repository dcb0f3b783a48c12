"""Events with the product's ids: drafts and their texts, those of vSphere HA, DRS and Trust
Authority too; ``inventory`` makes them durable. An event about a host may be raised only once in
each of its boots, however often its cause recurs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from protocol.events import EventTypeId
from protocol.messages.vcenter.inventory import HaIncident, HaIncidentKind, VcEvent
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    DrsBehavior,
    KeyUnavailableReason,
    NodeName,
    ProviderId,
    VmName,
)
from protocol.trust import TrustAttestationStatus
from services.vcenter.providers.provider import UNUSABLE_AT_SERVER


class EventDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An event before it has a number and a time."""

    event: EventTypeId
    text: str
    host: NodeName | None = None
    vm: VmName | None = None
    provider: ProviderId | None = None
    keys: tuple[CryptoKeyId, ...] = ()

    def with_sequence(self, sequence: int, at: float) -> VcEvent:
        """``at`` in Unix seconds of this node's clock."""
        return VcEvent(
            sequence=sequence,
            at=at,
            event=self.event,
            text=self.text,
            host=self.host,
            vm=self.vm,
            provider=self.provider,
            keys=self.keys,
        )


KEYS_PER_EVENT = 64  # an event is one message; its text has the number of further keys


def _ids(keys: Sequence[CryptoKeyId]) -> str:
    shown = ", ".join(str(key) for key in keys[:4])
    return shown + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _cause(reason: KeyUnavailableReason) -> str:
    match reason:
        case KeyUnavailableReason.CLUSTER_INVALID:
            return "there is no key provider of that name"
        case KeyUnavailableReason.CLUSTER_UNREACHABLE:
            return "no server of the key provider can be reached"
        case KeyUnavailableReason.MISSING_IN_KMS:
            return "the key server does not have the key"
        case KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED:
            return "the key is not active at the key server"
        case KeyUnavailableReason.WRAPPING_KEY_MISSING_IN_KMS:
            return "the key server does not have the wrapping key"
        case KeyUnavailableReason.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED:
            return "the wrapping key is not active at the key server"
        case KeyUnavailableReason.MISSING_IN_CACHE:
            return "the host has no such key, and vCenter does not bring it"
        case KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY | KeyUnavailableReason.MANAGED_BY_NKP:
            return "vCenter does not manage the key"


def vm_locked(
    vm: VmName,
    host: NodeName,
    event: EventTypeId,
    missing: tuple[CryptoKeyId, ...],
    reasons: Mapping[CryptoKeyId, KeyUnavailableReason],
) -> EventDraft:
    """LOCK-07: names the missing key ids, and the provider of the key that decided on the event.

    ``reasons``: why each missing key is not available, the deciding key first; see ``locks.Lock``.
    """
    decisive, why = next(iter(reasons.items()))
    text = f"Virtual machine {vm} on host {host} is locked: {_cause(why)} ({why.value}). "
    of_it = [key for key in missing if reasons.get(key, why) is why]
    text += f"Missing keys: {_ids(of_it)}"
    for other in dict.fromkeys(reasons.values()):
        if other is not why:
            these = [key for key in missing if reasons.get(key) is other]
            text += f"; {_cause(other)} ({other.value}): {_ids(these)}"
    return EventDraft(
        event=event, text=text, host=host, vm=vm, provider=decisive.provider_id, keys=missing
    )


def vm_unlocked(vm: VmName, host: NodeName) -> EventDraft:
    text = f"Virtual machine {vm} on host {host} is unlocked"
    return EventDraft(event=EventTypeId.VM_UNLOCKED, text=text, host=host, vm=vm)


def host_enabled(host: NodeName, key: CryptoKeyId) -> EventDraft:
    text = f"Encryption mode is enabled on host {host} with host key {key}"
    return EventDraft(
        event=EventTypeId.HOST_CRYPTO_ENABLED,
        text=text,
        host=host,
        provider=key.provider_id,
        keys=(key,),
    )


def host_refused(host: NodeName) -> EventDraft:
    """``HostCryptoDisabled``: an operation was refused for it (HEM-03)."""
    text = f"Host {host} has encryption disabled and must reboot before it takes encrypted VMs"
    return EventDraft(event=EventTypeId.HOST_CRYPTO_DISABLED, text=text, host=host)


def host_needs_mode(
    host: NodeName, key: CryptoKeyId | None, reason: KeyUnavailableReason
) -> EventDraft:
    """``ReqEnable.*``: the host needs encryption mode and its key is not available (HEM-07)."""
    missing = reason in UNUSABLE_AT_SERVER
    event = (
        EventTypeId.HOST_REQ_ENABLE_KEY_MISSING_ON_KMS
        if missing
        else EventTypeId.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR
    )
    text = f"Host {host} requires encryption mode, but {_cause(reason)} ({reason.value})"
    return EventDraft(
        event=event,
        text=text,
        host=host,
        provider=None if key is None else key.provider_id,
        keys=() if key is None else (key,),
    )


def host_key_renewed(
    host: NodeName, old: CryptoKeyId, new: CryptoKeyId, reason: KeyUnavailableReason
) -> EventDraft:
    """``HostKey.NewKey.*`` (HEM-07): dumps under the old key stay unreadable."""
    missing = reason in UNUSABLE_AT_SERVER
    event = (
        EventTypeId.HOST_NEW_KEY_KEY_MISSING_ON_KMS
        if missing
        else EventTypeId.HOST_NEW_KEY_KMS_CLUSTER_ERROR
    )
    text = f"A new host key {new} replaces {old} for host {host}: {_cause(reason)}"
    return EventDraft(event=event, text=text, host=host, provider=new.provider_id, keys=(old, new))


def host_key_updated(host: NodeName, key: CryptoKeyId) -> EventDraft:
    text = f"The host key of {host} is now {key}"
    return EventDraft(
        event=EventTypeId.HOST_KEY_UPDATED,
        text=text,
        host=host,
        provider=key.provider_id,
        keys=(key,),
    )


def host_send_error(host: NodeName, keys: tuple[CryptoKeyId, ...], why: str) -> EventDraft:
    which = f" Keys: {_ids(keys)}" if keys else ""
    text = f"Keys could not be sent to host {host}: {why}.{which}"
    return EventDraft(
        event=EventTypeId.HOST_SEND_KEY_ERROR, text=text, host=host, keys=keys[:KEYS_PER_EVENT]
    )


def send_error(
    host: NodeName,
    provider: ProviderId,
    keys: tuple[CryptoKeyId, ...],
    reason: KeyUnavailableReason,
) -> EventDraft:
    """``SendKeyError.*``: there is no key to send to this host (PT03)."""
    missing = reason in UNUSABLE_AT_SERVER
    event = (
        EventTypeId.KMS_SEND_KEY_ERROR_KEY_MISSING
        if missing
        else EventTypeId.KMS_SEND_KEY_ERROR_CLUSTER
    )
    text = f"Keys of {provider} cannot be sent to host {host}: {_cause(reason)}. Keys: {_ids(keys)}"
    return EventDraft(
        event=event, text=text, host=host, provider=provider, keys=keys[:KEYS_PER_EVENT]
    )


class Users(NamedTuple):
    """Who uses keys."""

    vms: tuple[VmName, ...]
    hosts: tuple[NodeName, ...]


def keys_unusable(
    provider: ProviderId,
    keys: tuple[CryptoKeyId, ...],
    reason: KeyUnavailableReason,
    users: Users,
) -> EventDraft:
    """Keys in use were revoked, expired or destroyed; hosts that have them continue (STD-19)."""
    text = (
        f"Keys of {provider} cannot be had any more: {_cause(reason)} ({reason.value}). Hosts that "
        f"have them go on, no other gets them. Keys: {_ids(keys)}"
    )
    if users.vms:
        text += f"; used by {_names(users.vms)}"
    if users.hosts:
        text += f"; host key of {_names(users.hosts)}"
    return EventDraft(
        event=EventTypeId.KMS_KEYS_UNUSABLE,
        text=text,
        host=users.hosts[0] if len(users.hosts) == 1 else None,
        vm=users.vms[0] if len(users.vms) == 1 else None,
        provider=provider,
        keys=keys[:KEYS_PER_EVENT],
    )


def unreachable(provider: ProviderId, server: str, why: str) -> EventDraft:
    text = f"Key server {server} of key provider {provider} cannot be reached: {why}"
    return EventDraft(event=EventTypeId.KMS_UNREACHABLE, text=text, provider=provider)


def certificate_ends(
    provider: ProviderId, who: str, end: float, *, client: str, behind_services: bool
) -> EventDraft:
    """STD-07. ``who``: the common name of the certificate; ``end`` in Unix seconds. ``client``: the
    client that presents it to the servers, empty for a server's own; ``behind_services``: of a
    trusted provider."""
    ids = _ENDS_BEHIND_SERVICES if behind_services else _ENDS
    of_whom = (
        f"that {client} shows the servers of key provider {provider}"
        if client
        else f"of {who}, a server of key provider {provider},"
    )
    until = datetime.fromtimestamp(end, UTC).isoformat(timespec="seconds")
    text = f"The certificate {of_whom} is good until {until}"
    return EventDraft(event=ids[bool(client)], text=text, provider=provider)


_ENDS: Final = {
    False: EventTypeId.KMS_SERVER_CERT_EXPIRATION,
    True: EventTypeId.KMS_CLIENT_CERT_EXPIRATION,
}
_ENDS_BEHIND_SERVICES: Final = {
    False: EventTypeId.TA_KMS_SERVER_CERT_EXPIRATION,
    True: EventTypeId.TA_KMS_CLIENT_CERT_EXPIRATION,
}


def vendor(provider: ProviderId, server: str, versions: Sequence[str]) -> EventDraft:
    text = f"Key server {server} of key provider {provider} speaks KMIP {', '.join(versions)}"
    return EventDraft(event=EventTypeId.KMS_VENDOR, text=text, provider=provider)


def not_backed_up(provider: ProviderId, *, after_update: bool) -> EventDraft:
    """NKP-05: raised at once, and every 24 hours while there is no backup."""
    event, text = EventTypeId.KMS_NOT_BACKED_UP, f"Key provider {provider} is not backed up"
    if after_update:
        event = EventTypeId.KMS_NOT_BACKED_UP_AFTER_UPDATE
        text = f"Key provider {provider} was changed, and is not backed up since"
    return EventDraft(event=event, text=text, provider=provider)


def all_backed_up(provider: ProviderId) -> EventDraft:
    """``provider``: the last one without a backup until now."""
    text = f"All native key providers are backed up, {provider} now"
    return EventDraft(event=EventTypeId.KMS_ALL_BACKED_UP, text=text, provider=provider)


def generate_failed(provider: ProviderId, why: str) -> EventDraft:
    text = f"Key provider {provider} made no key: {why}"
    return EventDraft(event=EventTypeId.KMS_KEY_GENERATE_FAIL, text=text, provider=provider)


def vm_encrypted(vm: VmName, host: NodeName, key: CryptoKeyId) -> EventDraft:
    text = f"Virtual machine {vm} was encrypted with key {key}"
    return EventDraft(
        event=EventTypeId.CRYPTO_OPERATION,
        text=text,
        host=host,
        vm=vm,
        provider=key.provider_id,
        keys=(key,),
    )


def vm_recrypted(
    vm: VmName, host: NodeName, old: tuple[CryptoKeyId, ...], new: tuple[CryptoKeyId, ...]
) -> EventDraft:
    """Recrypted, or decrypted when there are no new keys."""
    done = f"is under {_ids(new)} now" if new else "is not encrypted any more"
    text = f"Virtual machine {vm}, which was under {_ids(old)}, {done}"
    keys = new or old
    return EventDraft(
        event=EventTypeId.CRYPTO_OPERATION,
        text=text,
        host=host,
        vm=vm,
        provider=keys[0].provider_id if keys else None,
        keys=new,
    )


def recrypt_failed(vm: VmName, host: NodeName, why: str, *, no_space: bool) -> EventDraft:
    """REK-04: the old keys stay in force."""
    event = EventTypeId.VM_NO_DISK_SPACE if no_space else EventTypeId.VM_REKEY_FAIL
    text = f"The keys of virtual machine {vm} were not changed, and stay in force: {why}"
    return EventDraft(event=event, text=text, host=host, vm=vm)


def disk_encrypted(vm: VmName, host: NodeName, disk: int, key: CryptoKeyId) -> EventDraft:
    text = f"Hard disk {disk} of virtual machine {vm} was encrypted with key {key}"
    return EventDraft(
        event=EventTypeId.CRYPTO_OPERATION,
        text=text,
        host=host,
        vm=vm,
        provider=key.provider_id,
        keys=(key,),
    )


def diskchain_using_mixed_keys(
    vm: VmName, host: NodeName, keys: tuple[CryptoKeyId, ...]
) -> EventDraft:
    """``DiskchainUsingMixedKeys`` (KEY-04): a warning, the VM works."""
    text = (
        f"Virtual machine {vm} uses several keys, and needs all of them to start: {_ids(keys)}. "
        "A shallow recrypt of the whole machine gives it one key"
    )
    return EventDraft(
        event=EventTypeId.VM_DISKCHAIN_USING_MIXED_KEYS,
        text=text,
        host=host,
        vm=vm,
        provider=keys[0].provider_id,
        keys=keys[:KEYS_PER_EVENT],
    )


def tpm_encryption(host: NodeName, recovery_id: str) -> EventDraft:
    """The trigger of the recovery-key alarm: back up the recovery key of this id."""
    text = (
        f"The configuration of host {host} is encrypted with its TPM; "
        f"keep its recovery key {recovery_id} in a safe place"
    )
    return EventDraft(event=EventTypeId.HOST_TPM_CONFIG_ENCRYPTION, text=text, host=host)


def vsan_kms_connection(cluster: ClusterName, health: str, details: Sequence[str]) -> EventDraft:
    """The health of the connection to vSAN's key servers changed (VSAN-14)."""
    text = f"vSAN of {cluster}: key server connection is {health}: {_names(details)}"
    return EventDraft(event=EventTypeId.VSAN_KMS_CONNECTION, text=text)


def attestation_failed(host: NodeName, event: EventTypeId, why: str) -> EventDraft:
    """``TPMAttestationFailedEvent`` or ``TpmEndorsementKeyMismatch`` (ATT-09)."""
    return EventDraft(event=event, text=f"The TPM of host {host} is not accepted: {why}", host=host)


def vm_registered(vm: VmName, host: NodeName) -> EventDraft:
    """A VM whose files were there is in the inventory (RegisterVM_Task)."""
    text = f"Registered virtual machine {vm} on {host}"
    return EventDraft(event=EventTypeId.VM_REGISTERED, text=text, host=host, vm=vm)


def vm_removed(vm: VmName, host: NodeName) -> EventDraft:
    """A VM has left the inventory: it was unregistered or destroyed."""
    text = f"Removed {vm} on {host} from the inventory"
    return EventDraft(event=EventTypeId.VM_REMOVED, text=text, host=host, vm=vm)


def vtpm_added(vm: VmName, host: NodeName) -> EventDraft:
    text = f"Reconfigured {vm} on {host}: a virtual TPM was added"
    return EventDraft(event=EventTypeId.VM_RECONFIGURED, text=text, host=host, vm=vm)


def vtpm_removed(vm: VmName, host: NodeName) -> EventDraft:
    text = f"Reconfigured {vm} on {host}: its virtual TPM was removed"
    return EventDraft(event=EventTypeId.VM_RECONFIGURED, text=text, host=host, vm=vm)


def vtpm_certificates_failed(vm: VmName, host: NodeName, why: str) -> EventDraft:
    """VTPM-04: the vTPM was added without a certificate."""
    text = f"The certificates of the virtual TPM of {vm} could not be made: {why}"
    event = EventTypeId.VTPM_FAILED_PROCESSING_CERTS
    return EventDraft(event=event, text=text, host=host, vm=vm)


def ha_switched(cluster: ClusterName, *, on: bool) -> EventDraft:
    event = EventTypeId.DAS_ENABLED if on else EventTypeId.DAS_DISABLED
    return EventDraft(event=event, text=f"vSphere HA is {'en' if on else 'dis'}abled for {cluster}")


def drs_configured(
    cluster: ClusterName, before: DrsBehavior | None, now: DrsBehavior | None
) -> EventDraft:
    """DRS of a cluster was enabled, disabled, or set to another automation level."""
    if now is None:
        return EventDraft(event=EventTypeId.DRS_DISABLED, text=f"DRS is disabled for {cluster}")
    text = f"the automation level of DRS is {now.value}"
    if before is None:
        return EventDraft(
            event=EventTypeId.DRS_ENABLED, text=f"DRS is enabled for {cluster}: {text}"
        )
    return EventDraft(event=EventTypeId.CLUSTER_RECONFIGURED, text=f"{cluster} was changed: {text}")


def drs_powered_on(vm: VmName, host: NodeName) -> EventDraft:
    """``host``: the host that DRS chose, possibly the VM's own."""
    text = f"DRS powered on virtual machine {vm} on host {host}"
    return EventDraft(event=EventTypeId.DRS_VM_POWERED_ON, text=text, host=host, vm=vm)


def drs_migrated(vm: VmName, source: NodeName, host: NodeName) -> EventDraft:
    """DRS moved a running VM because its host is being evacuated."""
    text = f"DRS migrated virtual machine {vm} from host {source} to host {host}"
    return EventDraft(event=EventTypeId.DRS_VM_MIGRATED, text=text, host=host, vm=vm)


def ha_host_failed(host: NodeName) -> EventDraft:
    return EventDraft(
        event=EventTypeId.HA_HOST_FAILED,
        text=f"vSphere HA detected a failure of host {host}",
        host=host,
    )


def ha_host_isolated(host: NodeName) -> EventDraft:
    return EventDraft(
        event=EventTypeId.HA_HOST_ISOLATED,
        text=f"vSphere HA detected that host {host} is isolated from the network",
        host=host,
    )


def ha_of_vm(incident: HaIncident) -> EventDraft:
    """A restart that succeeded, or a try that failed (HA-02)."""
    host, vm, of = incident.host, incident.vm, incident.of
    if incident.kind is HaIncidentKind.VM_RESTARTED:
        text = f"vSphere HA restarted virtual machine {vm} of host {of} on host {host}"
        return EventDraft(event=EventTypeId.VM_RESTARTED_BY_HA, text=text, host=host, vm=vm)
    again = "It is not tried again" if incident.last else "It will be tried again"
    text = (
        f"vSphere HA unsuccessfully failed over virtual machine {vm} of host {of} on host {host}: "
        f"{incident.reason}. {again}"
    )
    return EventDraft(event=EventTypeId.VM_FAILOVER_FAILED, text=text, host=host, vm=vm)


def not_configured(host: NodeName, cluster: ClusterName) -> EventDraft:
    """A host of a trusted cluster without a configuration (HLT-03)."""
    text = f"Host {host} is in the trusted cluster {cluster} and is not configured: remediate it"
    return EventDraft(event=EventTypeId.TA_HOST_NOT_CONFIGURED, text=text, host=host)


def decommission(host: NodeName) -> EventDraft:
    """A host that keeps a configuration outside of a trusted cluster (HLT-03)."""
    text = f"Host {host} has a trusted configuration and is in no trusted cluster: decommission it"
    return EventDraft(event=EventTypeId.TA_DECOMMISSION_HOST, text=text, host=host)


def certificate_changed(vcenter: NodeName) -> EventDraft:
    """The principal that a Trust Authority has imported is stale (HLT-05)."""
    text = f"The STS certificate of {vcenter} has changed: import its principal again, remediate"
    return EventDraft(event=EventTypeId.TA_STS_CERTIFICATES_CHANGE, text=text)


def attestation(
    host: NodeName, status: TrustAttestationStatus | None, messages: Sequence[str]
) -> EventDraft:
    """A Trust Authority's result for a host (ATT-05)."""
    why = f": {'; '.join(dict.fromkeys(messages))}" if messages else ""
    match status:
        case TrustAttestationStatus.ATTESTED:
            event, text = EventTypeId.TA_HOST_ATTEST_PASS, f"Host {host} was attested"
        case TrustAttestationStatus.NOT_ATTESTED:
            event, text = EventTypeId.TA_HOST_ATTEST_FAIL, f"Host {host} is not attested{why}"
        case _:
            event = EventTypeId.TA_HOST_ATTEST_UNSET
            text = f"The attestation of host {host} is not known{why}"
    return EventDraft(event=event, text=text, host=host)


def provider(name: ProviderId, event: EventTypeId, details: Sequence[str]) -> EventDraft:
    """A trusted provider is in trouble (HLT-06)."""
    text = f"The Trust Authority of key provider {name} {_HOW[event]}: {'; '.join(details)}"
    return EventDraft(event=event, text=text, provider=name)


_HOW: Final = {
    EventTypeId.KMS_TA_CLUSTER_NOT_AVAILABLE: "is not available",
    EventTypeId.KMS_TA_CLUSTER_UNHEALTHY: "is not healthy",
    EventTypeId.KMS_TA_KMS_UNHEALTHY: "has key servers that are not healthy",
}


class OncePerBoot:
    """What was raised for each host in its present boot; a new life of vCenter raises it again."""

    def __init__(self) -> None:
        self._raised: dict[NodeName, tuple[int, set[tuple[str, str]]]] = {}

    def first(self, host: NodeName, boot: int, topic: str, detail: str = "") -> bool:
        """Whether this is the first call for the topic in that boot of the host."""
        known, raised = self._raised.get(host, (boot, set()))
        if known != boot:
            raised = set()
        self._raised[host] = (boot, raised)
        if (topic, detail) in raised:
            return False
        raised.add((topic, detail))
        return True

    def over(self, host: NodeName, topic: str) -> bool:
        """The cause has ended: if it recurs in the same boot, it is raised again. Returns whether
        it had been raised."""
        boot, raised = self._raised.get(host, (0, set()))
        left = {entry for entry in raised if entry[0] != topic}
        self._raised[host] = (boot, left)
        return left != raised

    def forget(self, host: NodeName) -> None:
        """The host left the inventory."""
        self._raised.pop(host, None)
