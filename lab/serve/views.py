"""From what services say on the bus to what people are answered. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from lab.schema.answers import (
    AttestationState,
    Cluster,
    EventLine,
    Host,
    HostPower,
    HostView,
    KeyRef,
    KnownProvider,
    LoggedEvent,
    MachineState,
    Node,
    Provider,
    RuleOnLink,
    Task,
    Vm,
    VmDisk,
    VmOnHost,
    WrappingKey,
)
from protocol.messages.agent import (
    LinkRule,
    NodeStatus,
)
from protocol.messages.host.session import HostSummary, VirtualDisk, VmSummary
from protocol.messages.kms.administration import Rejected, Rejections
from protocol.messages.kms.replication import GroupStatus, PairStatus
from protocol.messages.vcenter.inventory import (
    ClusterInfo,
    CryptoModePolicy,
    HostInfo,
    TaskInfo,
    VcEvent,
)
from protocol.messages.vcenter.providers import ProviderInfo, ProviderKeys, WrappingKeyInfo
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import ClusterName, CryptoKeyId, HostConnectionState, NodeName, Role

T = TypeVar("T", bound=msgspec.Struct)


def key_ref(key: CryptoKeyId) -> KeyRef:
    """A key as ``provider/id``."""
    return KeyRef(str(key))


def key_refs(keys: Iterable[CryptoKeyId]) -> tuple[KeyRef, ...]:
    """Keys as ``provider/id`` each."""
    return tuple(key_ref(key) for key in keys)


def view(kind: type[T], told: Any, /, **own: Any) -> T:
    """The answer of this kind, with what was ``told`` on the bus under the same names; ``own`` are
    fields that are not, or differ. A key is its ``provider/id`` then, and what was left out of the
    message (UNSET) has the answer's default."""
    names = (name for name in kind.__struct_fields__ if name not in own)
    values = {name: getattr(told, name, msgspec.UNSET) for name in names}
    said = {name: _plain(value) for name, value in values.items() if value is not msgspec.UNSET}
    return kind(**said, **own)


def _plain(value: Any) -> Any:
    if isinstance(value, CryptoKeyId):
        return key_ref(value)
    if isinstance(value, tuple) and value and isinstance(value[0], CryptoKeyId):
        return key_refs(value)
    return value


def vm_view(vm: VmInfo, *, stale: bool = False) -> Vm:
    """A VM of vCenter's inventory; ``stale``: its host does not answer vCenter now."""
    return view(Vm, vm, stale=stale)


def vm_at(host: NodeName, cluster: ClusterName, vm: VmSummary) -> Vm:
    """A VM as the host tells of it that has it registered."""
    key = key_ref(vm.keys[0]) if vm.keys else None
    return view(Vm, vm, cluster=cluster, host=host, key=key)


def host_view(host: HostInfo, machine: Node) -> Host:
    """A host of vCenter's inventory beside its machine; what vCenter shows of one that does not
    run is stale, although vCenter may not have noticed."""
    connected = host.connection is HostConnectionState.CONNECTED
    seen = host.attestation
    return view(
        Host,
        host,
        attestation=None if seen is None else view(AttestationState, seen),
        stale=not connected or machine.state is not MachineState.RUNNING,
        machine=machine.state,
        screen=machine.screen,
    )


def power_view(status: NodeStatus) -> HostPower:
    """A node's machine after a power command."""
    machine = MachineState(status.state.value)
    halted = "its screen says what it needs"
    if status.role is Role.ESXI:
        halted = f"keystead describe host {status.node} says why, and what cures it"
    cure = halted if machine is MachineState.HALTED else ""
    return view(HostPower, status, host=status.node, machine=machine, cure=cure)


def own_view(summary: HostSummary) -> HostView:
    """A host's own view of itself."""
    return view(
        HostView,
        summary,
        providers=tuple(view(KnownProvider, one) for one in summary.providers),
        vms=tuple(vm_on_host(vm) for vm in summary.vms),
    )


def vm_on_host(vm: VmSummary) -> VmOnHost:
    """A VM as its host sees it."""
    return view(VmOnHost, vm, disks=() if vm.disks is msgspec.UNSET else disk_views(vm.disks))


def disk_views(disks: tuple[VirtualDisk, ...]) -> tuple[VmDisk, ...]:
    """Disks of a VM as people see them."""
    return tuple(view(VmDisk, disk, label=f"Hard disk {disk.disk}") for disk in disks)


def wrapping_view(key: WrappingKeyInfo | msgspec.UnsetType | None) -> WrappingKey | None:
    """The wrapping key of a provider or of a key; None when there is none."""
    return view(WrappingKey, key) if isinstance(key, WrappingKeyInfo) else None


def provider_view(provider: ProviderInfo) -> Provider:
    """A key provider with its servers by name."""
    keys = provider.keys if isinstance(provider.keys, ProviderKeys) else None
    return view(
        Provider,
        provider,
        key_type=None if keys is None else keys.key_type,
        wrapping_key=None if keys is None else wrapping_view(keys.wrapping_key),
        rotation_days=None if keys is None else keys.rotation_days,
        rotated_at=None if keys is None else keys.rotated_at,
        servers=tuple(server.name for server in provider.servers),
        unreachable=tuple(c.name for c in provider.contacts if c.status == "red"),
        addresses=tuple(
            server.node or server.address.removeprefix("kmip://").rstrip("/")
            for server in provider.servers
        ),
    )


def pair_text(pair: PairStatus) -> str:
    """How a key server stands with the other of its pair; empty when it is in none."""
    if pair.peer is None:
        return ""
    if pair.down_since is None:
        text = f"{pair.peer} in step"
    else:
        since = datetime.fromtimestamp(pair.down_since, UTC).strftime("%H:%M:%S")
        text = f"{pair.peer} marked as down since {since}Z, {_keys(pair.waiting)} for it"
    return "; ".join([text, *_names(pair)])


def group_text(group: GroupStatus) -> str:
    """How a key server stands that replicates after the answer; empty when it does not."""
    if not group.mode:
        return ""
    parts = [f"{group.mode}, {group.active} is active" if group.active else group.mode]
    for peer in group.peers:
        if peer.down_since is not None:
            since = datetime.fromtimestamp(peer.down_since, UTC).strftime("%H:%M:%S")
            parts.append(f"{peer.node} away since {since}Z, {_keys(peer.waiting)} for it")
        elif peer.waiting:
            parts.append(f"{peer.node} behind by {peer.waiting}, {peer.oldest_s:.1f} s")
        else:
            parts.append(f"{peer.node} in step")
    if group.origins:
        parts.append(f"worst lag {max(one.worst_lag_s for one in group.origins):.1f} s")
    for number, one, several in (
        (group.keys_at_risk, "only here", "only here"),
        (group.conflicts, "conflict", "conflicts"),
        (group.stale_serves, "stale serve", "stale serves"),
        (group.keys_breached, "id with two materials", "ids with two materials"),
    ):
        parts += [f"{number} {one if number == 1 else several}"] if number else []
    return "; ".join([*parts, *_names(group)])


def _names(status: PairStatus | GroupStatus) -> list[str]:
    """Names that several keys have: the first of them with its keys, and how many others."""
    if not status.shared_names:
        return []
    first, others = status.shared_names[0], status.names_shared - 1
    more = f", and {others} more such Name{'s' if others > 1 else ''}" if others else ""
    return [f"Name of several keys: {first.name} ({', '.join(first.key_ids)}){more}"]


def rejections_text(found: Rejections) -> str:
    """What a key server rejects, and how often it has in this life; empty for nothing."""
    return "; ".join(
        f"{', '.join(one.operations)}{_of_keys(one)}: {one.reason}, {one.times} so far"
        for one in found.items
    )


def _of_keys(one: Rejected) -> str:
    some = f" of {len(one.keys)} key{'s' if len(one.keys) > 1 else ''}" if one.keys else ""
    return some + (f" ({one.probability:.1%})" if one.probability < 1 else "")


def _keys(waiting: int) -> str:
    return "1 key waits" if waiting == 1 else f"{waiting} keys wait"


def _policy(policy: CryptoModePolicy | msgspec.UnsetType) -> str:
    """The key or the provider that it names; empty without one."""
    if policy is msgspec.UNSET:
        return ""
    return key_ref(policy.key) if policy.key else policy.provider or ""


def cluster_view(cluster: ClusterInfo) -> Cluster:
    """A cluster of vCenter's inventory."""
    return view(
        Cluster,
        cluster,
        policy=_policy(cluster.policy),
        ha=cluster.das_enabled,
        drs="" if cluster.drs is msgspec.UNSET else cluster.drs.value,
    )


def event_view(event: VcEvent) -> LoggedEvent:
    """An entry of vCenter's event log."""
    return view(LoggedEvent, event)


def task_view(task: TaskInfo) -> Task:
    """A task of vCenter."""
    return view(Task, task, task=task.key)


def event_line(event: VcEvent) -> EventLine:
    """An event in short."""
    return view(EventLine, event)


def rule_view(rule: LinkRule) -> RuleOnLink:
    """A rule as it lies on its link."""
    return view(RuleOnLink, rule, kind=str(rule.__struct_config__.tag))
