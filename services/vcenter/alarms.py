"""Alarms as functions of the state. Pure; the ids are keystead's, since the product's documents
name none.

An alarm lasts as long as its cause. The alarm of a new recovery key lasts until it is acknowledged,
and names the key (REC-03). The health of key servers is in ``ProviderInfo`` (status, servers that
did not answer), so it has no entry here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from protocol.events import EventTypeId
from protocol.terms import AttestationStatus, HostConnectionState, HostCryptoState


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
