"""A Lab file that uses nearly every option, and how each option shows in a lab made of it.

``PLAYS`` has a row for each option of the Lab file: what the lab must say of it, in both modes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel

from lab.client import Lab
from lab.core import LabCore
from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers.vsan import VsanTestLine
from lab.schema.errors import KeysteadError
from protocol.messages.agent import ServiceTime, ServiceTimes, TpmBackend
from protocol.terms import VmName

PROVIDERS: Final[list[dict[str, Any]]] = [
    {"name": "counted", "servers": ["counting"]},
    {
        "name": "pair",
        "servers": ["pair-1", "pair-2"],
        "replication": "async",
        "default": True,
        "default_key_type": "wrappedKey",
        "rotation_interval": "90d",
    },
    {
        "name": "walled",
        "servers": ["behind-tls"],
        "default_key_type": "rawKey",
        "wrapping_key": "of-the-operator",
    },
    {"name": "native", "type": "native", "tpm_required": True},
    {"name": "trusted", "type": "trusted", "servers": ["typed"]},
    {"name": "pair", "vcenter": "old", "servers": ["pair-1", "pair-2"], "replication": "async"},
]


CLUSTERS: Final[list[dict[str, Any]]] = [
    {
        "name": "trusting",
        "ha": True,
        "drs": "manual",
        "hosts": {"count": 1, "key_persistence": True},
        "vms": {"count": 1, "provider": "trusted"},
    },
    {
        "name": "bare",
        "site": "edge",
        "datastore": "shared",
        "hosts": {"count": 1, "tpm": "none", "version": "8.0U1"},
        "vms": {"count": 1, "provider": "counted", "power": "off"},
    },
    {
        "name": "vsan",
        "hosts": {
            "count": 3,
            "without_tpm": 1,
            "pack": 3,
            "secure_boot": False,
            "aesni": False,
        },
        "vms": {"count": 1, "encrypted": False},
        "vsan": {"groups": 2, "disks": 3, "provider": "walled", "objects": 2},
    },
    {
        "name": "mixed",
        "vcenter": "old",
        "datastore": "shared",
        "hosts": {"count": 2, "versions": ["7.0U3", "7.0U1"]},
        "vms": {"count": 1, "provider": "pair", "vtpm": True},
    },
]


TYPED_TIMES: Final[dict[str, Any]] = {
    "cores": 2,
    "times": {
        "Locate": {"mean": "2ms", "distribution": "lognormal", "each": "1ms", "spread": 0.5},
    },
}
MACHINE: Final[dict[str, Any]] = {
    "cores": 64,
    "delay": {"mean": "0.002ms", "distribution": "lognormal", "each": "0.001ms", "spread": 0.5},
    "after": 0.125,
}


def file_of(passphrase: Path, bus: dict[str, Any]) -> dict[str, Any]:
    """The file of one lab with as many options as fit; ``passphrase`` is an existing file."""
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "options",
        "pace": 60,
        "sites": ["main", "edge"],
        "vcenters": [
            {"name": "vcenter", "version": "9.0"},
            {"name": "old", "version": "7.0U3", "site": "edge"},
            {"name": "authority"},
        ],
        "kms": [
            {"name": "pair-1"},
            {"name": "pair-2"},
            {
                "name": "counting",
                "site": "edge",
                "tpm": "libtpms",
                "root": "tpm",
                "ids": "sequential",
                "audit": "buffered",
            },
            {"name": "typed", "root": "passphrase", "passphrase_file": str(passphrase)},
            {"name": "behind-tls", "transport": "kmip"},
        ],
        "providers": PROVIDERS,
        "clusters": CLUSTERS,
        "trust_authority": {
            "vcenter": "authority",
            "cluster": "ta",
            "site": "edge",
            "hosts": 1,
            "clusters": ["trusting"],
            "settings": "certificates",
        },
        "bus": bus,
        "serve": {"listen": "127.0.0.1:0", "hosts": False},
        "service_times": {"profile": "hsm", "nodes": {"typed": TYPED_TIMES}, "machine": MACHINE},
        "knobs": {"max_key_providers": 5, "audit_buffer_s": 60},
    }


def options() -> list[str]:
    """Every option of a Lab file: its keys from the top, such as ``clusters.hosts.tpm``; those
    that can have one value only are none."""
    from lab.topology.model import LabFields

    return [name for name, values in _leaves(LabFields, "") if len(values) != 1]


def _leaves(model: type[BaseModel], above: str) -> Iterator[tuple[str, tuple[object, ...]]]:
    for name, option in model.model_fields.items():
        below = list(_models(option.annotation))
        for section in below:
            yield from _leaves(section, f"{above}{name}.")
        if not below:
            literal = option.annotation if "Literal" in str(option.annotation) else None
            yield f"{above}{name}", get_args(literal)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


# ---- what a lab says -----------------------------------------------------------------------


@dataclass
class Told:
    """What a lab says of itself; commands that were refused are texts."""

    status: answers.LabStatus
    nodes: dict[str, answers.Node]
    hosts: dict[str, answers.HostDescription]
    vms: dict[str, answers.VmDescription]
    clusters: dict[str, answers.Cluster]
    providers: dict[tuple[str, str], answers.Provider]
    servers: dict[str, answers.KeyServer]
    vsan: answers.Vsan
    vsan_health: answers.VsanHealthReport
    authority: answers.TrustAuthority
    trusted: answers.TrustedHostList
    clients: list[str]
    datastore: list[str]
    too_old: str
    too_many: str
    bus_ended: str
    secure_boot: dict[str, str]
    boots: dict[str, int] = field(default_factory=dict)
    reads_kept: dict[str, bool] = field(default_factory=dict)


async def told(lab: Lab) -> Told:
    """Ask the lab everything, and do to it what shows the options that nothing else tells of."""
    do = lab.do
    vms = (await do(c.GetVms())).items
    found = Told(
        status=await do(c.GetStatus()),
        nodes={n.node: n for n in (await do(c.GetNodes())).items},
        hosts={h.host: await do(c.DescribeHost(h.host)) for h in (await do(c.GetHosts())).items},
        vms={vm.vm: await do(c.DescribeVm(vm.vm)) for vm in vms},
        clusters={one.cluster: one for one in (await do(c.GetClusters())).items},
        providers={(str(p.vcenter), p.provider): p for p in (await do(c.GetProviders())).items},
        servers={k.kms: k for k in (await do(c.GetKms())).items},
        vsan=await do(c.VsanDescribe("vsan")),
        vsan_health=await do(c.VsanHealth("vsan")),
        authority=await do(c.GetTrustAuthority()),
        trusted=await do(c.GetTrustedHosts()),
        clients=[one.client for one in (await do(c.KmsIdentities("behind-tls"))).items],
        datastore=[vm.vm for vm in vms if await lab.beside(lies_in, "shared", vm.vm)],
        too_old=await _refusal(do(c.ClusterDefaultProvider("mixed", "pair"), "old")),
        too_many=await _refusal(do(c.ProviderAdd("one-more", ("pair-1",)))),
        bus_ended=await _refusal(do(c.FaultInject("broker.restart", {}))),
        secure_boot={
            host: (await do(c.Esx(host, _REQUIRE_SECURE_BOOT))).output.strip()
            for host in ("esxi-001", "esxi-003")
        },
    )
    await do(c.HostPowerLoss(("esxi-004",)))
    found.boots = {n.node: n.boot for n in (await do(c.GetNodes())).items if n.cluster == "vsan"}
    found.reads_kept = {
        "counted": await _read_is_kept(lab, "vm-02", ("counting",)),
        "pair": await _read_is_kept(lab, "vm-04", ("pair-1", "pair-2")),
    }
    return found


_REQUIRE_SECURE_BOOT: Final = (
    *("system", "settings", "encryption", "set"),
    "--require-secure-boot=T",
)


async def lies_in(lab: LabCore, datastore: str, vm: str) -> bool:
    """Whether the files of a VM lie in that datastore, read behind every host's back."""
    try:
        return bool(await lab.datastore_file(datastore, VmName(vm), f"{vm}.vmx"))
    except (OSError, LookupError):
        return False


async def _refusal(asked: Awaitable[Any]) -> str:
    try:
        return f"not refused: {await asked}"
    except KeysteadError as error:
        return str(error)


async def _read_is_kept(lab: Lab, vm: str, servers: tuple[str, ...]) -> bool:
    """Whether the row of a key that was read outlives a loss of power right after it. A buffered
    row may have been written by then on a slow machine: it is tried again."""
    for _ in range(5):
        await lab.vm_off(vm)
        described = await lab.do(c.DescribeVm(vm))
        before = await _reads(lab, servers)
        await lab.do(c.HostRemoveKeys(described.host, tuple(str(of.key) for of in described.keys)))
        [started] = await lab.vm_on(vm)
        assert started.error is None, started
        await lab.power_loss(*servers)
        if await _reads(lab, servers) == before:
            return False
    return True


async def _reads(lab: Lab, servers: tuple[str, ...]) -> int:
    rows = [row for kms in servers for row in (await lab.do(c.GetAudit(kms))).items]
    return sum(row.operation == "Get" for row in rows)


# ---- what each option comes to -------------------------------------------------------------


@dataclass(frozen=True)
class Play:
    """What a lab ``says`` of an option, and what it ``means``: the file's value."""

    says: Callable[[Told], object]
    means: object


def _has_tpm(node: answers.Node) -> bool:
    return node.tpm is not TpmBackend.NONE


def _of_cluster(told: Told, cluster: str) -> list[answers.HostDescription]:
    return [host for host in told.hosts.values() if host.machine.cluster == cluster]


def _vm(told: Told, number: int) -> answers.Vm:
    found = told.vms[f"vm-{number:02d}"].vcenter
    assert found is not None
    return found


def _test(told: Told, name: str) -> VsanTestLine:
    return next(test for test in told.vsan_health.tests if test.test == name)


def _versions(told: Told, cluster: str) -> list[str]:
    return [host.vcenter.version for host in _of_cluster(told, cluster) if host.vcenter]


def _service(told: Told, node: str) -> ServiceTimes:
    found = told.nodes[node].service
    assert found is not None
    return found


def _time(told: Told) -> ServiceTime:
    return _service(told, "typed").times["Locate"]


PLAYS: Final[dict[str, Play]] = {
    "name": Play(lambda t: t.status.name, "options"),
    "pace": Play(lambda t: t.status.pace, 60),
    "sites": Play(lambda t: {n.site for n in t.nodes.values()}, {"main", "edge"}),
    "vcenters.name": Play(
        lambda t: {n.node for n in t.nodes.values() if n.role == "vcenter"},
        {"vcenter", "old", "authority"},
    ),
    "vcenters.site": Play(lambda t: t.nodes["old"].site, "edge"),
    "vcenters.version": Play(
        lambda t: "not supported by old, which is vCenter 7.0 U3" in t.too_old, True
    ),
    "kms.name": Play(
        lambda t: [*t.servers], ["pair-1", "pair-2", "counting", "typed", "behind-tls"]
    ),
    "kms.site": Play(lambda t: t.nodes["counting"].site, "edge"),
    "kms.tpm": Play(lambda t: [k for k in t.servers if _has_tpm(t.nodes[k])], ["counting"]),
    "kms.ids": Play(lambda t: str(_vm(t, 2).key), "counted/1"),
    "kms.root": Play(lambda t: t.servers["counting"].root, "tpm"),
    "kms.passphrase_file": Play(
        lambda t: (t.servers["typed"].root, t.servers["typed"].machine), ("passphrase", "running")
    ),
    "kms.transport": Play(
        lambda t: sorted(t.clients), ["esxi-003", "esxi-004", "esxi-005", "vcenter"]
    ),
    "kms.audit": Play(lambda t: t.reads_kept, {"counted": False, "pair": True}),
    "providers.name": Play(
        lambda t: sorted({name for _, name in t.providers}),
        ["counted", "native", "pair", "trusted", "walled"],
    ),
    "providers.type": Play(
        lambda t: {t.providers["vcenter", name].management_type for name in ("native", "trusted")},
        {"nativeProvider", "trustAuthority"},
    ),
    "providers.vcenter": Play(
        lambda t: sorted(at for at, name in t.providers if name == "pair"), ["old", "vcenter"]
    ),
    "providers.servers": Play(
        lambda t: t.providers["vcenter", "pair"].servers, ("pair-1", "pair-2")
    ),
    "providers.replication": Play(lambda t: t.servers["pair-1"].peer.partition(";")[0], "async"),
    "providers.tpm_required": Play(
        lambda t: [name for (_, name), p in t.providers.items() if p.tpm_required], ["native"]
    ),
    "providers.default": Play(
        lambda t: sorted(key for key, p in t.providers.items() if p.default),
        [("old", "pair"), ("vcenter", "pair")],
    ),
    "providers.default_key_type": Play(
        lambda t: {name: p.key_type for (_, name), p in t.providers.items() if p.key_type},
        {"pair": "wrappedKey", "walled": "rawKey"},
    ),
    "providers.rotation_interval": Play(
        lambda t: {
            name: p.rotation_days for (_, name), p in t.providers.items() if p.rotation_days
        },
        {"pair": 90},
    ),
    "providers.wrapping_key": Play(
        lambda t: [
            name for (_, name), p in t.providers.items() if p.wrapping_key and p.wrapping_key.by_id
        ],
        ["walled"],
    ),
    "clusters.name": Play(lambda t: sorted(t.clusters), ["bare", "mixed", "trusting", "vsan"]),
    "clusters.vcenter": Play(lambda t: t.clusters["mixed"].vcenter, "old"),
    "clusters.site": Play(lambda t: t.nodes["esxi-002"].site, "edge"),
    "clusters.datastore": Play(lambda t: t.datastore, ["vm-02", "vm-04"]),
    "clusters.ha": Play(lambda t: [k for k, one in t.clusters.items() if one.ha], ["trusting"]),
    "clusters.drs": Play(
        lambda t: {k: one.drs for k, one in t.clusters.items()},
        {
            "bare": "",
            "mixed": "",
            "trusting": "manual",
            "vsan": "",
        },
    ),
    "clusters.hosts.count": Play(
        lambda t: {k: one.hosts for k, one in t.clusters.items()},
        {"bare": 1, "mixed": 2, "trusting": 1, "vsan": 3},
    ),
    "clusters.hosts.version": Play(lambda t: _versions(t, "bare"), ["8.0U1"]),
    "clusters.hosts.versions": Play(lambda t: _versions(t, "mixed"), ["7.0U3", "7.0U1"]),
    "clusters.hosts.tpm": Play(
        lambda t: [host.host for host in _of_cluster(t, "bare") if _has_tpm(host.machine)], []
    ),
    "clusters.hosts.without_tpm": Play(
        lambda t: [host.host for host in _of_cluster(t, "vsan") if not _has_tpm(host.machine)],
        ["esxi-005"],
    ),
    "clusters.hosts.secure_boot": Play(
        lambda t: t.secure_boot,
        {
            "esxi-001": "",
            "esxi-003": "Error: Secure Boot is not enabled in the firmware of this host.",
        },
    ),
    "clusters.hosts.key_persistence": Play(
        lambda t: [k for k, h in t.hosts.items() if h.host_view and h.host_view.key_persistence],
        ["esxi-001"],
    ),
    "clusters.hosts.pack": Play(lambda t: t.boots, {"esxi-003": 1, "esxi-004": 2, "esxi-005": 1}),
    "clusters.hosts.aesni": Play(lambda t: len(_test(t, "hostcpuaesni").details), 3),
    "clusters.vms.count": Play(
        lambda t: {k: one.vms for k, one in t.clusters.items()},
        {
            "bare": 1,
            "mixed": 1,
            "trusting": 1,
            "vsan": 1,
        },
    ),
    "clusters.vms.encrypted": Play(lambda t: [n for n in t.vms if not t.vms[n].keys], ["vm-03"]),
    "clusters.vms.provider": Play(
        lambda t: [str(_vm(t, n).key).partition("/")[0] for n in (1, 2, 4)],
        ["trusted", "counted", "pair"],
    ),
    "clusters.vms.power": Play(
        lambda t: [n for n in (1, 2, 3, 4) if _vm(t, n).power == "poweredOff"], [2]
    ),
    "clusters.vms.vtpm": Play(lambda t: [n for n, vm in t.vms.items() if vm.vtpm], ["vm-04"]),
    "clusters.vsan.groups": Play(lambda t: len(t.vsan.groups), 3 * 2),
    "clusters.vsan.disks": Play(lambda t: {len(group.disks) for group in t.vsan.groups}, {3}),
    "clusters.vsan.encrypted": Play(lambda t: t.vsan.encryption_enabled, True),
    "clusters.vsan.provider": Play(lambda t: t.vsan.provider, "walled"),
    "clusters.vsan.objects": Play(lambda t: len(t.vsan.objects), 2),
    "clusters.vsan.erase_disks_before_use": Play(lambda t: t.vsan.erase_disks_before_use, False),
    "trust_authority.vcenter": Play(lambda t: t.authority.group, "authority/ta"),
    "trust_authority.cluster": Play(lambda t: t.authority.cluster, "ta"),
    "trust_authority.site": Play(lambda t: t.nodes["attestation-1"].site, "edge"),
    "trust_authority.hosts": Play(
        lambda t: [n.node for n in t.nodes.values() if n.role == "keyprovider"], ["keyprovider-1"]
    ),
    "trust_authority.clusters": Play(lambda t: t.trusted.clusters, ("trusting",)),
    "trust_authority.settings": Play(
        lambda t: (
            t.authority.require_endorsement_keys,
            t.authority.require_certificate_validation,
        ),
        (False, True),
    ),
    "trust_authority.setup": Play(
        lambda t: [(host.host, host.attestation) for host in t.trusted.items],
        [("esxi-001", "attested")],
    ),
    "bus.url": Play(
        lambda t: t.bus_ended.startswith("the servers of the bus are run by somebody else"), True
    ),
    "bus.authority": Play(lambda t: t.status.missing, ()),
    "bus.account": Play(lambda t: t.status.missing, ()),
    # A supervisor serves (tests/lab/vsphere/test_up_serve.py), and these labs have none.
    "serve.listen": Play(lambda t: t.status.missing, ()),
    "serve.hosts": Play(lambda t: t.status.missing, ()),
    "service_times.profile": Play(
        lambda t: [
            n for n, one in t.nodes.items() if one.service and "GetKeys" in one.service.times
        ],
        ["pair-1", "pair-2", "counting", "typed", "behind-tls"],
    ),
    "service_times.nodes.cores": Play(lambda t: _service(t, "typed").cores, 2),
    "service_times.nodes.times.mean": Play(lambda t: _time(t).mean_s, 0.002),
    "service_times.nodes.times.distribution": Play(lambda t: _time(t).distribution, "lognormal"),
    "service_times.nodes.times.each": Play(lambda t: _time(t).each_s, 0.001),
    "service_times.nodes.times.spread": Play(lambda t: _time(t).spread, 0.5),
    # Of the simulation only, and no node's own: tests/e2e/test_service_times.py plays it.
    "service_times.machine.cores": Play(lambda t: t.status.missing, ()),
    "service_times.machine.after": Play(lambda t: t.status.missing, ()),
    **{
        f"service_times.machine.delay.{option}": Play(lambda t: t.status.missing, ())
        for option in ("mean", "distribution", "each", "spread")
    },
    "knobs": Play(
        lambda t: "there are 5 key providers already, which is the limit" in t.too_many, True
    ),
}


# ---- a lab on two machines -----------------------------------------------------------------


def spread(folder: Path) -> dict[str, Any]:
    """The file of a lab on a machine ``east`` too, with a datastore in a shared ``folder``."""
    host, vms = {"count": 1, "tpm": "none"}, {"count": 1, "provider": "kms-provider"}
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "far",
        "pace": 60,
        "vcenters": [{"name": "vcenter"}],
        "kms": [{"name": "kms", "transport": "kmip"}],
        "providers": [{"name": "kms-provider", "servers": ["kms"]}],
        "clusters": [
            {"name": "a", "hosts": host, "vms": vms},
            {"name": "b", "hosts": host, "vms": vms, "datastore": "common"},
            {"name": "c", "hosts": {**host, "count": 0}, "vms": vms},
        ],
        "machines": [
            {
                "name": "east",
                "clusters": ["b"],
                "nodes": ["kms"],
                "lease_s": 20,
                "address": "127.0.0.1",
            },
            {"name": "more", "clusters": ["c"], "pool": True},
        ],
        "datastores": [{"name": "common", "folder": str(folder)}],
        "bus": {"servers": 2},
    }


@dataclass
class ToldOfMachines:
    """What a lab on several machines says of itself."""

    machines: list[answers.LabMachine]
    hosts: list[answers.HostDescription]
    vms: list[answers.VmDescription]
    provider: answers.ProviderDescription
    bus_servers: int
    in_shared_folder: list[str]


Do = Callable[[c.Command[Any]], Awaitable[Any]]


async def told_of_machines(do: Do, folder: Path) -> ToldOfMachines:
    hosts, vms = (await do(c.GetHosts())).items, (await do(c.GetVms())).items
    return ToldOfMachines(
        machines=list((await do(c.GetMachines())).items),
        hosts=[await do(c.DescribeHost(host.host)) for host in hosts],
        vms=[await do(c.DescribeVm(vm.vm)) for vm in vms],
        provider=await do(c.DescribeProvider("kms-provider")),
        bus_servers=(await do(c.GetDirectory())).bus_servers,
        in_shared_folder=sorted(path.stem for path in folder.rglob("*.vmx")),
    )


@dataclass(frozen=True)
class Placed:
    """An option that says where something stands: what a lab of real processes says of it, and the
    simulation, which has all in one place."""

    says: Callable[[ToldOfMachines], object]
    real: object
    simulated: object


def _elsewhere(told: ToldOfMachines) -> answers.LabMachine | None:
    return told.machines[1] if len(told.machines) > 1 else None


def _crypto(told: ToldOfMachines) -> list[str]:
    return [str(vm.vcenter.crypto) for vm in told.vms if vm.vcenter]


PLACED: Final[dict[str, Placed]] = {
    "machines.name": Placed(
        lambda t: [machine.machine for machine in t.machines], ["here", "east"], ["here"]
    ),
    "machines.clusters": Placed(
        lambda t: ["esxi-002" in machine.node_names for machine in t.machines],
        [False, True],
        [True],
    ),
    "machines.nodes": Placed(
        lambda t: ["kms" in machine.node_names for machine in t.machines], [False, True], [True]
    ),
    "machines.pool": Placed(
        lambda t: [host.host for host in t.hosts],
        ["esxi-001", "esxi-002"],  # others come with machines that ask for a place
        ["esxi-001", "esxi-002"],
    ),
    "machines.address": Placed(_crypto, ["unlocked", "unlocked"], ["unlocked", "unlocked"]),
    "machines.lease_s": Placed(lambda t: (e := _elsewhere(t)) and e.lease_s, 20, None),
    "datastores.name": Placed(lambda t: (e := _elsewhere(t)) and e.shared, ("common",), None),
    "datastores.folder": Placed(lambda t: t.in_shared_folder, ["vm-02"], []),
    "bus.servers": Placed(lambda t: t.bus_servers, 2, 2),
}


def seen_from_inside(told: ToldOfMachines) -> list[object]:
    """What has nothing to do with where the nodes stand."""
    return [
        *(
            (
                *(h.host, h.machine.cluster, h.machine.site, h.machine.state, h.machine.tpm),
                h.host_view and (h.host_view.version, h.host_view.crypto_state),
                h.vcenter and (h.vcenter.connection, h.vcenter.crypto_state, h.vcenter.alarms),
                [reason.why for reason in h.reasons],
            )
            for h in told.hosts
        ),
        *(
            (
                *(vm.vm, vm.host, vm.firmware, vm.hardware, vm.vtpm),
                vm.vcenter and (vm.vcenter.power, vm.vcenter.crypto, vm.vcenter.alarms),
                [(str(key.key).partition("/")[0], key.state, key.stored) for key in vm.keys],
                [reason.why for reason in vm.reasons],
            )
            for vm in told.vms
        ),
        [(server.server, server.machine, server.status) for server in told.provider.servers],
    ]
