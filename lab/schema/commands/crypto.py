"""Encryption in vCenter: modes of hosts and clusters, default providers, and the keys it knows.

A key is written ``provider/id``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from lab.schema.commands.arguments import HostName, doc
from lab.schema.commands.base import Command, Look, check_names, wrong
from protocol import names
from protocol.terms import CryptoMode

if TYPE_CHECKING:
    from lab.schema.answers import AlarmList, Cluster, ClusterList, Host, KnownKey, KnownKeyList


class _OneHost(Command["Host"], frozen=True):
    host: HostName

    def message(self, answer: Host) -> str:
        return f"{answer.host}: {answer.crypto_state or 'vCenter has not seen it'}"


class HostPrepareCrypto(_OneHost, frozen=True, tag="host.prepare-crypto"):
    """PrepareCrypto: an incapable host may receive keys, and has no host key yet.

    keystead host prepare-crypto esxi-003
    keystead host prepare-crypto esxi-003 -o json
    """


class HostEnableCrypto(_OneHost, frozen=True, tag="host.enable-crypto"):
    """Turn a host's encryption mode on (ConfigureCryptoKey): host key, VM keys, unlocking.

    keystead host enable-crypto esxi-003
    keystead host enable-crypto esxi-003 --key kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001

    Its VMs are unlocked by it [LOCK-05].
    """

    key: Annotated[
        str,
        doc("A host key for this host alone, provider/id; its own, its cluster's, or a new one."),
    ] = ""

    def __post_init__(self) -> None:
        if self.key:
            check_key(self.key)


class HostDisableCrypto(_OneHost, frozen=True, tag="host.disable-crypto"):
    """Turn a host's encryption mode off: pendingIncapable until it reboots [HEM-03].

    keystead host disable-crypto esxi-003
    keystead host disable-crypto esxi-003 -o json

    It stays off until an encryption task or ``HostEnableCrypto`` asks for it.
    """


class GetClusters(Look["ClusterList"], frozen=True, tag="get.clusters"):
    """Clusters: their encryption mode, default key provider, host key.

    keystead get clusters
    keystead get clusters -o wide
    """


class _OneCluster(Command["Cluster"], frozen=True):
    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class ClusterCryptoMode(_OneCluster, frozen=True, tag="cluster.crypto-mode"):
    """Which hosts of a cluster are kept safe, onDemand or forceEnable, and with which host key.

    keystead cluster crypto-mode cluster-a forceEnable
    keystead cluster crypto-mode cluster-a onDemand --provider second-provider

    SetCryptoMode [HEM-05].
    """

    mode: CryptoMode
    key: Annotated[str, doc("Host key of all, PROVIDER/ID.")] = ""
    provider: Annotated[str, doc("Who makes it; the default when left out.")] = ""


class ClusterSetHa(_OneCluster, frozen=True, tag="cluster.set-ha"):
    """Turn vSphere HA on or off: hosts restart the VMs of one that fails [HA-01].

    keystead cluster set-ha cluster-a on
    keystead cluster set-ha cluster-a off
    """

    ha: Literal["on", "off"]


class ClusterSetDrs(_OneCluster, frozen=True, tag="cluster.set-drs"):
    """What DRS does in a cluster by itself: with an automated level, vCenter chooses at power-on.

    keystead cluster set-drs cluster-a fullyAutomated
    keystead cluster set-drs cluster-a off

    Rule [HA-03].
    """

    drs: Literal["off", "manual", "partiallyAutomated", "fullyAutomated"]


class ClusterDefaultProvider(_OneCluster, frozen=True, tag="cluster.default-provider"):
    """Make a key provider the default of one cluster; none named: vCenter's again [STD-02].

    keystead cluster default-provider cluster-a second
    keystead cluster default-provider cluster-a
    """

    provider: Annotated[str, doc("Left out: vCenter's default.", word=True)] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(names.PROVIDER, self.provider)


class GetAlarms(Look["AlarmList"], frozen=True, tag="get.alarms"):
    """The alarms of vCenter that stand now, and why.

    keystead get alarms
    keystead get alarms -o json
    """


class AlarmAcknowledge(Command["Host"], frozen=True, tag="alarm.acknowledge"):
    """Say that a host's recovery key is in a safe place: its alarm ends until there is a new key.

    keystead alarm acknowledge esxi-001 -o json
    keystead alarm acknowledge esxi-001

    AcknowledgeAlarm [REC-03]. Every other alarm ends with its cause.
    """

    host: HostName

    def __post_init__(self) -> None:
        check_names(names.NODE, self.host)

    def message(self, answer: Host) -> str:
        return f"{answer.host}: {', '.join(answer.alarms) or 'no alarm'}"


class KeyIds(Look["KnownKeyList"], frozen=True, tag="key.ids"):
    """Keys that vCenter knows (ListKeys); `get keys` also asks whether they can be had.

    keystead key ids
    keystead key ids -o json
    """


class KeyGenerate(Command["KnownKey"], frozen=True, tag="key.generate"):
    """Have a provider make a key (GenerateKey); it is Pre-Active until it is used.

    keystead key generate
    keystead key generate --provider second -o json
    """

    provider: Annotated[str, doc("Key provider; the default when left out.")] = ""

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class KeyAdd(Command["KnownKey"], frozen=True, tag="key.add"):
    """Let vCenter know a key that its key server has (AddKey); undoes ``KeyRemove``.

    keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json
    """

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


class KeyRemove(Command["KnownKey"], frozen=True, tag="key.remove"):
    """Let vCenter forget a key; the key server keeps it. With --force its VMs lock at next need.

    keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --force

    Hosts that did not confirm within the knob ``request_timeout_s`` that they dropped it are named
    [SC-16].
    """

    key: str
    force: Annotated[bool, doc("Also in use, also on the hosts.")] = False

    def __post_init__(self) -> None:
        check_key(self.key)


def check_key(key: str) -> None:
    """KS-USE-003 when it is not ``provider/id``."""
    provider, slash, key_id = key.partition("/")
    if not (provider and slash and key_id):
        raise wrong(f"{key}: a key is written provider/id")
