"""Clusters of vCenter's inventory: what all hosts of one have in common."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import ClusterName, CryptoKeyId, CryptoMode, DrsBehavior, ProviderId


class CryptoModePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """ClusterComputeResourceCryptoModePolicy: the host key of a cluster's hosts, or the provider
    that makes it. At most one of them; without either it is the default provider's."""

    key: CryptoKeyId | None = None
    provider: ProviderId | None = None


class SetCryptoMode(Request[Done], frozen=True, kw_only=True):
    """ClusterComputeResource.SetCryptoMode: which hosts vCenter keeps safe by itself (HEM-05).

    ``onDemand``: those of clusters with encrypted VMs, as tasks need them; ``forceEnable``: all.
    ``policy``, from 8.0 U3 on: with which host key; one that was set before ends when there is
    none. ``InvalidArgument`` for a key that cannot be had, or a provider that is not there.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    cluster: ClusterName
    crypto_mode: CryptoMode
    policy: CryptoModePolicy | None = None


class ReconfigureComputeResource(Request[Done], frozen=True, kw_only=True):
    """ReconfigureComputeResource_Task: what is not named stays as it is.

    ``das_enabled`` is ClusterConfigSpecEx.dasConfig.enabled: vSphere HA (HA-01). ``drs`` is
    drsConfig.defaultVmBehavior, None: drsConfig.enabled is false (HA-03). Durable before the
    reply; of HA the hosts hear then, those that are away when they are back.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    cluster: ClusterName
    das_enabled: bool | msgspec.UnsetType = msgspec.UNSET
    drs: DrsBehavior | msgspec.UnsetType | None = msgspec.UNSET


class ClusterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster; ``host_key`` is that of its hosts that have none of their own (HEM-06).

    ``default_provider``: its own, None when it has vCenter's. ``das_enabled``: vSphere HA is on.
    ``policy`` only if there is one (HEM-05), ``drs`` only if DRS is enabled (HA-03).
    ``vsan_problems``: what was wrong with its vSAN encryption at vCenter's last look (VSAN-14).
    """

    cluster: ClusterName
    crypto_mode: CryptoMode
    host_key: CryptoKeyId | None = None
    default_provider: ProviderId | None = None
    das_enabled: bool = False
    hosts: int = 0
    vms: int = 0
    policy: CryptoModePolicy | msgspec.UnsetType = msgspec.UNSET
    vsan_problems: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # only if there are some
    drs: DrsBehavior | msgspec.UnsetType = msgspec.UNSET


class ListClusters(Request["ClusterList"], frozen=True, kw_only=True):
    """Clusters by name, those after ``after``, as many as fit into the answer."""

    after: ClusterName = ClusterName("")


class ClusterList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last name as ``after`` (``listing.all_clusters``)."""

    clusters: tuple[ClusterInfo, ...]
    more: bool = False
