"""vSAN encryption of a cluster: configured, rekeyed, looked at; provider named, never the default.

``operation_id`` of a change is kept with it, so that a repeat is the same change.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import ClusterName, CryptoKeyId, NodeName, ProviderId
from protocol.vsan import (
    ComponentState,
    VsanChange,
    VsanDiskGroup,
    VsanEncryptionIssue,
    VsanHealthState,
    VsanTransitionState,
)


class DataEncryptionConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """vsan DataEncryptionConfig, as an administrator wishes it or as it is (VSAN-01)."""

    encryption_enabled: bool
    kms_provider_id: ProviderId | None = None
    kek_id: CryptoKeyId | None = None
    host_key_id: CryptoKeyId | None = None
    dek_generation_id: int = 0
    erase_disks_before_use: bool = False
    changing: bool = False
    transition_state: VsanTransitionState = VsanTransitionState.SETTLED


class VsanClusterReconfig(Request["VsanCluster"], frozen=True, kw_only=True):
    """VsanClusterReconfig with vsanReconfigSpec.dataEncryptionConfig.

    Of the wish count ``encryption_enabled``, ``kms_provider_id`` and ``erase_disks_before_use``. On
    a cluster that is encrypted, another provider is a change of provider. ``InvalidArgument``
    without a provider, ``NotAvailable`` for a trusted one and for
    ``erase_disks_before_use`` (decision 61); ``InvalidState`` while a host is absent,
    a disk group is not mounted, or another change is on its way.
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    cluster: ClusterName
    data_encryption_config: DataEncryptionConfig


class RekeyEncryptedCluster(Request["VsanCluster"], frozen=True, kw_only=True):
    """RekeyEncryptedCluster_Task: a new KEK and host key; ``deep_rekey``: new data keys too.

    Refused as ``VsanClusterReconfig``; a deep one also where an object would be inaccessible
    without some host, and where disk groups can neither be
    evacuated nor, with ``allow_reduced_redundancy``, be rebuilt.
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    cluster: ClusterName
    deep_rekey: bool = False
    allow_reduced_redundancy: bool = False


class CreateVsanObject(Request["VsanCluster"], frozen=True, kw_only=True):
    """An object of two replicas and a witness on three hosts (RAID-1); the same name once.

    Of one that is there, components that were lost are made again, a replica from the other one.
    ``InvalidState`` when fewer than three hosts have a mounted disk group, or no host gives a
    replica that is to be copied; ``InvalidArgument`` when the object has another size.
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    cluster: ClusterName
    object: str
    blocks: int = 64


class ChangeVsanDisk(Request["VsanCluster"], frozen=True, kw_only=True):
    """Add a disk to a group of a host, or remove one."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName
    group: str
    disk: str
    remove: bool = False


class MountVsanDisks(Request["VsanCluster"], frozen=True, kw_only=True):
    """Have a host try again to mount its disk groups (VSAN-04)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class QueryVsanCluster(Request["VsanCluster"], frozen=True, kw_only=True):
    """What there is of a cluster's vSAN; hosts are asked now. ``NotFound``: no such cluster."""

    cluster: ClusterName


class VsanHost(msgspec.Struct, frozen=True, kw_only=True):
    """A host of a vSAN cluster; ``answers`` False: nothing is known of its groups now."""

    host: NodeName
    answers: bool
    groups: tuple[VsanDiskGroup, ...] = ()


class VsanPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A component of an object and how it is."""

    host: NodeName
    kind: str
    state: ComponentState


class VsanObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object; accessible with more than half of its votes and a whole copy among them."""

    object: str
    accessible: bool
    components: tuple[VsanPlace, ...]


class VsanCluster(Reply, frozen=True, kw_only=True):
    """``change``: what is on its way; None when it is settled."""

    cluster: ClusterName
    config: DataEncryptionConfig
    change: VsanChange | None = None
    hosts: tuple[VsanHost, ...] = ()
    objects: tuple[VsanObject, ...] = ()


class QueryVsanHealth(Request["VsanClusterHealth"], frozen=True, kw_only=True):
    """The encryption tests of vSAN health, made now."""

    cluster: ClusterName


class VsanTest(msgspec.Struct, frozen=True, kw_only=True):
    """One test: ``kmsconnection``, ``hostcpuaesni``, ``dualencryption``, ``physicaldisks``."""

    test: str
    health: VsanHealthState
    details: tuple[str, ...] = ()


class VsanHostIssues(msgspec.Struct, frozen=True, kw_only=True):
    """The encryption issues of one host."""

    host: NodeName
    health: VsanHealthState
    kms_connected: bool | None = None  # None: it has no key server to ask, or does not answer
    issues: tuple[VsanEncryptionIssue, ...] = ()


class VsanClusterHealth(Reply, frozen=True, kw_only=True):
    """``health`` is the worst of all tests."""

    cluster: ClusterName
    health: VsanHealthState
    tests: tuple[VsanTest, ...]
    hosts: tuple[VsanHostIssues, ...]
