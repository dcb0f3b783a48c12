"""Encryption in vCenter: modes of hosts and clusters, default providers, and the keys it knows.

A key is written ``provider/id``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names
from protocol.terms import CryptoMode

if TYPE_CHECKING:
    from lab.schema.answers import AlarmList, Cluster, ClusterList, Host, KnownKey, KnownKeyList


class HostPrepareCrypto(Command["Host"], frozen=True, tag="host.prepare-crypto"):
    """PrepareCrypto: an incapable host may receive keys, and has no host key yet."""

    host: str


class HostEnableCrypto(Command["Host"], frozen=True, tag="host.enable-crypto"):
    """ConfigureCryptoKey: make a host safe, push keys, unlock its VMs [LOCK-05].

    ``key`` empty: the host key it has, else its cluster's, else a new one; otherwise this one, for
    this host alone.
    """

    host: str
    key: str = ""

    def __post_init__(self) -> None:
        if self.key:
            check_key(self.key)


class HostDisableCrypto(Command["Host"], frozen=True, tag="host.disable-crypto"):
    """Turn a host's encryption mode off: pendingIncapable until it reboots [HEM-03].

    It stays off until an encryption task or ``host enable-crypto`` asks for it.
    """

    host: str


class GetClusters(Command["ClusterList"], frozen=True, tag="get.clusters"):
    """Clusters of vCenter."""


class ClusterCryptoMode(Command["Cluster"], frozen=True, tag="cluster.crypto-mode"):
    """SetCryptoMode: which hosts of a cluster are kept safe, ``onDemand`` or ``forceEnable``.

    ``key`` (provider/id), or ``provider``, by whom the host key of all is; both empty: the
    default provider makes it [HEM-05].
    """

    cluster: str
    mode: CryptoMode
    key: str = ""
    provider: str = ""

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class ClusterSetHa(Command["Cluster"], frozen=True, tag="cluster.set-ha"):
    """ReconfigureComputeResource: vSphere HA of a cluster, ``on`` or ``off`` [HA-01]."""

    cluster: str
    ha: Literal["on", "off"]

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class ClusterSetDrs(Command["Cluster"], frozen=True, tag="cluster.set-drs"):
    """ReconfigureComputeResource: DRS of a cluster, ``off`` or what it does by itself [HA-03]."""

    cluster: str
    drs: Literal["off", "manual", "partiallyAutomated", "fullyAutomated"]

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class ClusterDefaultProvider(Command["Cluster"], frozen=True, tag="cluster.default-provider"):
    """Make a key provider the default of one cluster; empty: vCenter's default again [STD-02]."""

    cluster: str
    provider: str = ""

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        check_names(names.PROVIDER, self.provider)


class GetAlarms(Command["AlarmList"], frozen=True, tag="get.alarms"):
    """The alarms of vCenter that stand now."""


class AlarmAcknowledge(Command["Host"], frozen=True, tag="alarm.acknowledge"):
    """AcknowledgeAlarm: the recovery key of a host was put in a safe place [REC-03].

    Only that alarm is cleared by a word; every other one ends with its cause. A new recovery key
    raises it again.
    """

    host: str

    def __post_init__(self) -> None:
        check_names(names.NODE, self.host)


class KeyIds(Command["KnownKeyList"], frozen=True, tag="key.ids"):
    """ListKeys: the ids that vCenter knows; nobody is asked whether they can be had."""


class KeyGenerate(Command["KnownKey"], frozen=True, tag="key.generate"):
    """GenerateKey: a new key of ``provider`` (empty: the default); Pre-Active until it is used."""

    provider: str = ""

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class KeyAdd(Command["KnownKey"], frozen=True, tag="key.add"):
    """AddKey: let vCenter know a key that its key server has; undoes ``KeyRemove``."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


class KeyRemove(Command["KnownKey"], frozen=True, tag="key.remove"):
    """RemoveKey: let vCenter forget a key; the key server keeps it.

    ``force``: also one in use, and on the hosts too: its VMs lock at the next need [SC-16]. Hosts
    that did not confirm within ``request_timeout_s`` that they dropped it are named.
    """

    key: str
    force: bool = False

    def __post_init__(self) -> None:
        check_key(self.key)


def check_key(key: str) -> None:
    """KS-USE-003 when it is not ``provider/id``."""
    provider, slash, key_id = key.partition("/")
    if not (provider and slash and key_id):
        raise wrong(f"{key}: a key is written provider/id")
