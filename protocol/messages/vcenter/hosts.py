"""Hosts of vCenter's inventory: the doorbell they ring, and what clients ask about them."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import (
    AttestationStatus,
    ClusterName,
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    NodeName,
)


class HostChanged(Request[Done], frozen=True, kw_only=True):
    """The doorbell of a host: something changed there, and vCenter should look for itself.

    A host rings when it has booted or lost its session (step B8), when it cannot find keys of
    a VM by itself (step 5 of resolving), and when VMs changed without vCenter's command. What
    has changed is in the view that vCenter then asks for. ``boot`` is the life of the host that
    rings: of the next one vCenter connects anew without a look; it is no evidence of anything.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    boot: int


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


class DisconnectHost(Request[Done], frozen=True, kw_only=True):
    """DisconnectHost_Task: vCenter leaves the host alone until ``ReconnectHost``, over restarts.

    The host and its VMs stay in the inventory, and go on. No change when it is disconnected.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class ReconnectHost(Request["HostReconnected"], frozen=True, kw_only=True):
    """ReconnectHost_Task: connect now, also to a host that was not responding; then step B8.

    ``HostUnreachable``: it does not answer, and one that was disconnected stays so.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class HostReconnected(Reply, frozen=True, kw_only=True):
    """The host is connected; its state is what it has told so far."""

    host: HostInfo


class EnterMaintenanceMode(Request[Done], frozen=True, kw_only=True):
    """EnterMaintenanceMode_Task: no VM is placed, made, registered or started on the host.

    ``InvalidState`` names the VMs that run there. ``evacuate``: they move to other hosts of the
    cluster first (vMotion), as they do by themselves where DRS is fully automated (HA-03); the
    first that cannot ends the task.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName
    evacuate: bool = False


class ExitMaintenanceMode(Request[Done], frozen=True, kw_only=True):
    """ExitMaintenanceMode_Task: VMs may come again; nothing is started because of it."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class PrepareCrypto(Request[Done], frozen=True, kw_only=True):
    """HostSystem.PrepareCrypto: incapable -> prepared; ``InvalidState`` from any other state."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class ConfigureCryptoKey(Request[Done], frozen=True, kw_only=True):
    """HostSystem.ConfigureCryptoKey: (re-)enable host encryption mode, push keys, unlock.

    ``key``: the host key from now on, of this host alone; None: the one it has, else that of its
    cluster, else a new one of the default provider. ``InvalidArgument`` when the key cannot be had.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName
    key: CryptoKeyId | None = None


class DisableCrypto(Request[Done], frozen=True, kw_only=True):
    """CryptoManagerHostDisable, asked of vCenter: pendingIncapable until the host reboots (HEM-03).

    It stays off until a task or an administrator asks for the mode. ``ResourceInUse`` while
    encrypted VMs are on the host, ``InvalidState`` when it is pendingIncapable already or its
    cluster keeps all hosts safe.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class AcknowledgeAlarm(Request[Done], frozen=True, kw_only=True):
    """The recovery key that this host has now is kept in a safe place: its alarm ends (REC-03).

    No change when there is none. ``NotFound`` for a host that is not in the inventory.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class ClearTpmRecord(Request[Done], frozen=True, kw_only=True):
    """Forget the TPM that is recorded of a host, and look at the one it has now (ATT-09).

    An administrator's word that a replaced board, a cleared TPM or another build is as it should
    be (SC-25). ``NotFound``: there is no such host.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class TpmAttestation(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 HostTpmAttestationInfo: ``time`` in Unix s, ``message`` why it is not accepted."""

    time: float
    status: AttestationStatus
    message: str = ""


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A host in vCenter's inventory; ``seen_at`` (Unix s) is when it last answered.

    ``attestation`` is None of a host without a TPM, and before the first look at it.
    """

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
    attestation: TpmAttestation | None = None
    in_maintenance_mode: bool = False
    alarms: tuple[str, ...] = ()


class ListHosts(Request["HostList"], frozen=True, kw_only=True):
    """Hosts by name, those after ``after``, as many as fit into the answer."""

    after: NodeName = NodeName("")


class HostList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last name as ``after`` (``listing.all_hosts``)."""

    hosts: tuple[HostInfo, ...]
    more: bool = False
