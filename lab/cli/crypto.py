"""``host prepare-crypto|enable-crypto|disable-crypto``, ``cluster``, ``key``, alarms, tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.listing import PLAIN, Listing, View
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import document, field, is_document, moment, plain, say, show, show_one
from lab.schema.commands import (
    AlarmAcknowledge,
    ClusterCryptoMode,
    ClusterDefaultProvider,
    ClusterSetDrs,
    ClusterSetHa,
    Command,
    GetAlarms,
    GetClusters,
    GetTasks,
    HostDisableCrypto,
    HostEnableCrypto,
    HostPrepareCrypto,
    KeyAdd,
    KeyGenerate,
    KeyIds,
    KeyRemove,
)
from protocol.terms import CryptoMode

if TYPE_CHECKING:
    from lab.schema.answers import Host, KnownKey

CLUSTERS = (
    field("cluster"),
    field("crypto_mode"),
    ("DEFAULT PROVIDER", lambda r: r.default_provider or "of vCenter"),
    ("HA", lambda r: "on" if r.ha else "off"),
    ("DRS", lambda r: r.drs or "off"),
    field("hosts"),
    field("vms"),
)
CLUSTERS_WIDE = (field("host_key", "HOST KEY"), ("POLICY", lambda r: r.policy or None))
TASKS = (
    field("task"),
    field("name"),
    field("entity"),
    field("state"),
    ("STARTED", lambda r: moment(r.start_time)),
    ("ENDED", lambda r: None if r.complete_time is None else moment(r.complete_time)),
    field("error"),
)
TASKS_WIDE = (field("user"), field("reason"))
KEYS = (field("key"), field("known"))


def get_clusters(*clusters: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Clusters: their encryption mode, default key provider, host key.

    keystead get clusters
    keystead get clusters -o wide
    """
    listing = Listing(CLUSTERS, CLUSTERS_WIDE, key="cluster")
    listing.get(GetClusters(), clusters, view, options)


def get_alarms(*, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """The alarms of vCenter that stand now, and why.

    keystead get alarms
    keystead get alarms -o json
    """
    columns = (field("of"), field("alarm"), field("why"))
    Listing(columns, key="of").get(GetAlarms(), (), view, options)


def get_tasks(
    *tasks: str,
    running: Annotated[bool, Parameter(negative="", help="Only what has not ended.")] = False,
    view: View = PLAIN,
    options: Options = DEFAULTS,
) -> None:
    """vCenter's recent tasks: what it was asked, of what, and how it ended.

    keystead get tasks
    keystead get tasks --running -w
    """
    Listing(TASKS, TASKS_WIDE, key="task").get(GetTasks(running=running), tasks, view, options)


def acknowledge(host: str, *, options: Options = DEFAULTS) -> None:
    """Say that a host's recovery key is in a safe place: its alarm ends until there is a new key.

    keystead alarm acknowledge esxi-001 -o json
    keystead alarm acknowledge esxi-001
    """
    answer = call(options, AlarmAcknowledge(host))
    if is_document(options.output):
        document(answer, options.output)
    else:
        say(f"{answer.host}: {', '.join(answer.alarms) or 'no alarm'}")


def _host(command: Command[Host], options: Options) -> None:
    answer = call(options, command)
    if is_document(options.output):
        document(answer, options.output)
    else:
        say(f"{answer.host}: {answer.crypto_state or 'vCenter has not seen it'}")


def prepare_crypto(host: str, *, options: Options = DEFAULTS) -> None:
    """Prepare an incapable host: it may receive keys, and has no host key yet.

    keystead host prepare-crypto esxi-003
    keystead host prepare-crypto esxi-003 -o json
    """
    _host(HostPrepareCrypto(host), options)


def enable_crypto(
    host: str,
    *,
    key: Annotated[str, Parameter(help="Its host key, provider/id; its cluster's.")] = "",
    options: Options = DEFAULTS,
) -> None:
    """Turn a host's encryption mode on (ConfigureCryptoKey): host key, VM keys, unlocking.

    keystead host enable-crypto esxi-003
    keystead host enable-crypto esxi-003 --key kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    """
    _host(HostEnableCrypto(host, key), options)


def disable_crypto(host: str, *, options: Options = DEFAULTS) -> None:
    """Turn a host's encryption mode off: pendingIncapable until it reboots.

    keystead host disable-crypto esxi-003
    keystead host disable-crypto esxi-003 -o json
    """
    _host(HostDisableCrypto(host), options)


def crypto_mode(
    cluster: str,
    mode: CryptoMode,
    *,
    key: Annotated[str, Parameter(help="Host key of all, PROVIDER/ID.")] = "",
    provider: Annotated[str, Parameter(help="Who makes it; the default when left out.")] = "",
    options: Options = DEFAULTS,
) -> None:
    """Which hosts of a cluster are kept safe, onDemand or forceEnable, and with which host key.

    keystead cluster crypto-mode cluster-a forceEnable
    keystead cluster crypto-mode cluster-a onDemand --provider second-provider
    """
    answer = call(options, ClusterCryptoMode(cluster, mode, key, provider))
    show_one(answer, options.output, CLUSTERS, CLUSTERS_WIDE, key="cluster")


def set_ha(cluster: str, ha: Literal["on", "off"], *, options: Options = DEFAULTS) -> None:
    """Turn vSphere HA on or off: hosts restart the VMs of one that fails.

    keystead cluster set-ha cluster-a on
    keystead cluster set-ha cluster-a off
    """
    answer = call(options, ClusterSetHa(cluster, ha))
    show_one(answer, options.output, CLUSTERS, CLUSTERS_WIDE, key="cluster")


def set_drs(
    cluster: str,
    drs: Literal["off", "manual", "partiallyAutomated", "fullyAutomated"],
    *,
    options: Options = DEFAULTS,
) -> None:
    """What DRS does in a cluster by itself: with an automated level, vCenter chooses at power-on.

    keystead cluster set-drs cluster-a fullyAutomated
    keystead cluster set-drs cluster-a off
    """
    answer = call(options, ClusterSetDrs(cluster, drs))
    show_one(answer, options.output, CLUSTERS, CLUSTERS_WIDE, key="cluster")


def default_provider(cluster: str, provider: str = "", *, options: Options = DEFAULTS) -> None:
    """Make a key provider the default of one cluster; none named: vCenter's again.

    keystead cluster default-provider cluster-a second
    keystead cluster default-provider cluster-a
    """
    answer = call(options, ClusterDefaultProvider(cluster, provider))
    show_one(answer, options.output, CLUSTERS, CLUSTERS_WIDE, key="cluster")


def key_ids(*, options: Options = DEFAULTS) -> None:
    """Keys that vCenter knows (ListKeys); `get keys` also asks whether they can be had.

    keystead key ids
    keystead key ids -o json
    """
    show(call(options, KeyIds()), options.output, KEYS[:1], KEYS[1:], key="key")


def key_generate(
    *,
    provider: Annotated[str, Parameter(help="Key provider; the default when left out.")] = "",
    options: Options = DEFAULTS,
) -> None:
    """Have a provider make a key; it is Pre-Active until it is used.

    keystead key generate
    keystead key generate --provider second -o json
    """
    _key(KeyGenerate(provider), options)


def key_add(key: str, *, options: Options = DEFAULTS) -> None:
    """Let vCenter know a key that its key server has; undoes `key remove`.

    keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json
    """
    _key(KeyAdd(key), options)


def key_remove(
    key: str,
    *,
    force: Annotated[bool, Parameter(negative="", help="Also in use, also on the hosts.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Let vCenter forget a key; the key server keeps it. With --force its VMs lock at next need.

    keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --force
    """
    _key(KeyRemove(key, force), options)


def _key(command: Command[KnownKey], options: Options) -> None:
    answer = call(options, command)
    if is_document(options.output):
        document(answer, options.output)
    elif answer.known:
        plain(answer.key)
    else:
        say(f"vCenter does not know {answer.key} any more")
        if answer.not_confirmed_by:
            hosts = ", ".join(answer.not_confirmed_by)
            say(f"not confirmed by {hosts}: each drops it when vCenter reaches it")
