"""Clusters of vCenter's inventory: what all hosts of one have in common."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import ClusterName, CryptoKeyId, CryptoMode, ProviderId


class SetCryptoMode(Request[Done], frozen=True, kw_only=True):
    """ClusterComputeResource.SetCryptoMode: which hosts vCenter keeps safe by itself (HEM-05).

    ``onDemand``: those of clusters with encrypted VMs, as tasks need them; ``forceEnable``: all.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    cluster: ClusterName
    crypto_mode: CryptoMode


class ClusterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster; ``host_key`` is that of its hosts that have none of their own (HEM-06).

    ``default_provider``: its own, None when it has vCenter's. ``das_enabled``: vSphere HA is on.
    ``vsan_problems``: what was wrong with its vSAN encryption at vCenter's last look (VSAN-14).
    """

    cluster: ClusterName
    crypto_mode: CryptoMode
    host_key: CryptoKeyId | None = None
    default_provider: ProviderId | None = None
    das_enabled: bool = False
    hosts: int = 0
    vms: int = 0
    vsan_problems: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # only if there are some


class ListClusters(Request["ClusterList"], frozen=True, kw_only=True):
    """Clusters by name, those after ``after``, as many as fit into the answer."""

    after: ClusterName = ClusterName("")


class ClusterList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last name as ``after`` (``listing.all_clusters``)."""

    clusters: tuple[ClusterInfo, ...]
    more: bool = False
