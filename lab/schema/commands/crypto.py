"""Encryption in vCenter: modes of hosts and clusters, default providers, alarms, known keys.

A key is written ``provider/id``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from lab.schema.commands.base import Command, HostName, Look, check_names, doc, wrong
from lab.schema.commands.keys import KeyTypeName
from protocol import names
from protocol.terms import CryptoMode

if TYPE_CHECKING:
    from lab.schema.answers import AlarmList, Cluster, ClusterList, Host, KnownKey, KnownKeyList


class _OneHost(Command["Host"], frozen=True):
    host: HostName

    def message(self, answer: Host) -> str:
        return f"{answer.host}: {answer.crypto_state or 'vCenter has no state of it yet'}"


class HostPrepareCrypto(_OneHost, frozen=True, tag="host.prepare-crypto"):
    """Prepare a host to receive keys (PrepareCrypto): incapable becomes prepared.

    keystead host prepare-crypto esxi-003
    keystead host prepare-crypto esxi-003 -o json

    A prepared host has no host key yet; `host enable-crypto` makes it safe.
    """


class HostEnableCrypto(_OneHost, frozen=True, tag="host.enable-crypto"):
    """Turn on a host's encryption mode (ConfigureCryptoKey).

    keystead host enable-crypto esxi-003
    keystead host enable-crypto esxi-003 --key kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001

    vCenter pushes the host key and the keys of the host's VMs, and unlocks these VMs [LOCK-05].
    """

    key: Annotated[
        str,
        doc(
            "Host key for this host only, as provider/id. Default: the present host key, else the "
            "cluster's, else a new one."
        ),
    ] = ""

    def __post_init__(self) -> None:
        if self.key:
            check_key(self.key)


class HostDisableCrypto(_OneHost, frozen=True, tag="host.disable-crypto"):
    """Turn off a host's encryption mode: pendingIncapable until its next reboot [HEM-03].

    keystead host disable-crypto esxi-003
    keystead host disable-crypto esxi-003 -o json

    It stays off until an encryption task or `host enable-crypto` turns it on.
    """


class GetClusters(Look["ClusterList"], frozen=True, tag="get.clusters"):
    """Clusters with their encryption mode, default key provider and host key.

    keystead get clusters
    keystead get clusters -o wide
    """


class _OneCluster(Command["Cluster"], frozen=True):
    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class ClusterCryptoMode(_OneCluster, frozen=True, tag="cluster.crypto-mode"):
    """Set a cluster's encryption mode (SetCryptoMode): onDemand or forceEnable [HEM-05].

    keystead cluster crypto-mode cluster-a forceEnable
    keystead cluster crypto-mode cluster-a onDemand --provider second-provider

    forceEnable keeps all hosts safe; onDemand enables a host when an encryption task needs it.
    """

    mode: CryptoMode
    key: Annotated[str, doc("Host key of all hosts, as provider/id.")] = ""
    provider: Annotated[
        str, doc("Key provider of a new host key. Default: the default provider.")
    ] = ""


class ClusterSetHa(_OneCluster, frozen=True, tag="cluster.set-ha"):
    """Turn vSphere HA on or off: with HA, hosts restart the VMs of a failed host [HA-01].

    keystead cluster set-ha cluster-a on
    keystead cluster set-ha cluster-a off
    """

    ha: Literal["on", "off"]


class ClusterSetDrs(_OneCluster, frozen=True, tag="cluster.set-drs"):
    """Set the DRS automation level of a cluster [HA-03].

    keystead cluster set-drs cluster-a fullyAutomated
    keystead cluster set-drs cluster-a off

    With an automated level, vCenter chooses the host when a VM is powered on.
    """

    drs: Literal["off", "manual", "partiallyAutomated", "fullyAutomated"]


class ClusterDefaultProvider(_OneCluster, frozen=True, tag="cluster.default-provider"):
    """Set a cluster's default key provider; without a name, vCenter's default [STD-02].

    keystead cluster default-provider cluster-a second
    keystead cluster default-provider cluster-a
    """

    provider: Annotated[str, doc("Key provider. Default: vCenter's default.", word=True)] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(names.PROVIDER, self.provider)


class GetAlarms(Look["AlarmList"], frozen=True, tag="get.alarms"):
    """Active alarms of vCenter and their causes.

    keystead get alarms
    keystead get alarms -o json
    """


class AlarmAcknowledge(Command["Host"], frozen=True, tag="alarm.acknowledge"):
    """Acknowledge a host's recovery key alarm: the key is stored in a safe place.

    keystead alarm acknowledge esxi-001 -o json
    keystead alarm acknowledge esxi-001

    AcknowledgeAlarm [REC-03]. The alarm returns when the host has a new recovery key. All other
    alarms end with their cause.
    """

    host: HostName

    def __post_init__(self) -> None:
        check_names(names.NODE, self.host)

    def message(self, answer: Host) -> str:
        return f"{answer.host}: {', '.join(answer.alarms) or 'no alarm'}"


class KeyIds(Look["KnownKeyList"], frozen=True, tag="key.ids"):
    """Ids of the keys that vCenter knows (ListKeys).

    keystead key ids
    keystead key ids -o json

    `get keys` also shows whether their key providers can supply them.
    """


class KeyGenerate(Command["KnownKey"], frozen=True, tag="key.generate"):
    """Generate a key at a key provider (GenerateKey); it is Pre-Active until its first use.

    keystead key generate
    keystead key generate --provider second -o json

    A wrapped key is at no key server, so it has no state [KEY-07].
    """

    provider: Annotated[str, doc("Key provider. Default: the default provider.")] = ""
    key_type: Annotated[
        KeyTypeName,
        doc("rawKey or wrappedKey, of a vCenter 9.0. Default: what the provider makes."),
    ] = ""

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class KeyAdd(Command["KnownKey"], frozen=True, tag="key.add"):
    """Add a key of a key server to vCenter's list (AddKey); undoes `key remove`.

    keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json
    """

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


class KeyRemove(Command["KnownKey"], frozen=True, tag="key.remove"):
    """Remove a key from vCenter's list (RemoveKey); the key server keeps it.

    keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --force

    With ``force`` the hosts remove the key too, even in use; VMs that need it are locked when they
    next need it. The answer names hosts that did not confirm within the knob ``request_timeout_s``
    [SC-16].
    """

    key: str
    force: Annotated[bool, doc("Remove a key in use, and remove it from hosts.")] = False

    def __post_init__(self) -> None:
        check_key(self.key)


def check_key(key: str) -> None:
    """Raise KS-USE-003 unless ``key`` is ``provider/id``."""
    provider, slash, key_id = key.partition("/")
    if not (provider and slash and key_id):
        raise wrong(f"{key}: write a key as provider/id")
