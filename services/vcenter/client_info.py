"""Answers for clients about clusters, hosts, VMs and providers, from rows and reports. Pure."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from protocol.messages.host.session import HostSummary
from protocol.messages.vcenter.inventory import (
    ClusterInfo,
    CryptoModePolicy,
    HostInfo,
    TpmAttestation,
)
from protocol.messages.vcenter.providers import ProviderInfo, ProviderKeys
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    HostConnectionState,
    MigrateEncryption,
    PowerState,
    ProviderHealth,
    VmConnectionState,
    VmCryptoState,
)
from services.vcenter.key_server_status import (
    UNKNOWN_STATUS,
    KeyServerContacts,
    host_alarms,
    vm_alarms,
)
from services.vcenter.locks import shows_invalid
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.tables import ClusterRow, HostRow, ProviderRow, VmRow, WrappingConfig


def host_info(
    row: HostRow,
    state: HostConnectionState,
    summary: HostSummary | None,
    seen_at: float,
    *,
    wanted_safe: bool,
) -> HostInfo:
    """A host for clients. ``summary`` is its last report, None when there was none in this life."""
    crypto = None if summary is None else summary.crypto_state
    seen = row.attestation
    alarms = host_alarms(
        state,
        crypto,
        wanted_safe,
        None if seen is None else seen.status,
        recovery_key_new=row.recovery_id not in ("", row.recovery_acknowledged),
    )
    attestation = (
        None
        if seen is None
        else TpmAttestation(time=seen.at, status=seen.status, message=seen.message)
    )
    if summary is None:
        return HostInfo(
            host=row.name,
            cluster=row.cluster,
            connection=state,
            crypto_state=None,
            attestation=attestation,
            alarms=alarms,
        )
    return HostInfo(
        host=row.name,
        cluster=row.cluster,
        connection=state,
        crypto_state=crypto,
        crypto_key_id=summary.crypto_key_id,
        version=summary.version,
        tpm_present=summary.tpm_present,
        key_persistence=summary.key_persistence,
        boot=summary.boot,
        cached_keys=summary.cached_keys,
        seen_at=seen_at,
        attestation=attestation,
        in_maintenance_mode=summary.in_maintenance_mode,
        alarms=alarms,
    )


_USUAL: Final = MigrateEncryption.OPPORTUNISTIC


def stream_policy(row: VmRow) -> MigrateEncryption:
    """MOB-02: an encrypted VM always moves encrypted, whatever is configured."""
    return MigrateEncryption.REQUIRED if row.keys else row.migrate_encryption


def vm_info(
    row: VmRow, *, host_connected: bool, listed: bool, not_granted: tuple[CryptoKeyId, ...] = ()
) -> VmInfo:
    """A VM for clients. It is locked if vCenter marked it (LOCK-01), whatever the host reports.

    A mark on a running VM is void (LOCK-04), even before a pass removes it. ``listed``: its host
    has it registered; of a VM that its host does not list, the crypto state is unknown.
    """
    lock_event = None if row.power is PowerState.ON else row.lock_event
    missing = () if lock_event is None else row.missing
    if not host_connected:
        connection = VmConnectionState.DISCONNECTED
    elif not listed:
        connection = VmConnectionState.ORPHANED
    elif row.unreadable or shows_invalid(row.keys, lock_event, missing):
        connection = VmConnectionState.INVALID
    else:
        connection = VmConnectionState.CONNECTED
    crypto = None
    if row.keys and lock_event is not None:
        crypto = VmCryptoState.LOCKED
    elif row.keys and connection is not VmConnectionState.ORPHANED:
        crypto = VmCryptoState.UNLOCKED
    return VmInfo(
        vm=row.name,
        cluster=row.cluster,
        host=row.host,
        power=row.power,
        connection=connection,
        crypto=crypto,
        key=row.keys[0] if row.keys else None,
        missing=missing,
        lock_event=lock_event,
        alarms=vm_alarms(lock_event),
        vtpm=True if row.vtpm else msgspec.UNSET,
        snapshots=row.snapshots or msgspec.UNSET,
        with_memory=row.with_memory or msgspec.UNSET,
        template=True if row.template else msgspec.UNSET,
        not_granted=not_granted or msgspec.UNSET,
        migrate_encryption=policy
        if (policy := stream_policy(row)) is not _USUAL
        else msgspec.UNSET,
    )


def cluster_info(
    row: ClusterRow, *, hosts: int, vms: int, vsan_problems: tuple[str, ...]
) -> ClusterInfo:
    """A cluster for clients. ``hosts`` and ``vms``: how many it has."""
    return ClusterInfo(
        cluster=row.name,
        crypto_mode=row.crypto_mode,
        host_key=row.host_key,
        default_provider=row.default_provider,
        das_enabled=row.ha,
        hosts=hosts,
        vms=vms,
        policy=row.policy if row.policy != CryptoModePolicy() else msgspec.UNSET,
        vsan_problems=vsan_problems or msgspec.UNSET,
        drs=row.drs or msgspec.UNSET,
    )


def provider_info(
    row: ProviderRow,
    contacts: KeyServerContacts,
    default_of: tuple[ClusterName, ...],
    health: tuple[ProviderHealth, tuple[str, ...]] = (ProviderHealth.NONE, ()),
) -> ProviderInfo:
    """``status`` is gray where health does not come from key servers that vCenter asks; ``health``
    of one with presence on hosts, with the ids of its details."""
    native = row.native
    has_servers = CAPABILITIES[row.management_type].has_key_servers
    return ProviderInfo(
        provider=row.name,
        management_type=row.management_type,
        servers=row.servers,
        default=row.default,
        default_of=default_of,
        status=contacts.status(row.name, row.servers) if has_servers else UNKNOWN_STATUS,
        contacts=contacts.rows(row.name, row.servers),
        health=health[0],
        details=health[1],
        key_id="" if native is None else native.key_id,
        tpm_required=native is not None and native.tpm_required,
        keys=_provider_keys(row),
    )


def _provider_keys(row: ProviderRow) -> ProviderKeys | UnsetType:
    config = row.keys
    if not isinstance(config, WrappingConfig):
        return UNSET
    current = config.current
    rotated = [one.since for one in config.known if not one.by_id][1:]
    return ProviderKeys(
        key_type=config.spec.key_type,
        wrapping_key=current,
        rotation_days=config.spec.rotation_days,
        rotated_at=rotated[-1] if rotated and current and not current.by_id else None,
    )
