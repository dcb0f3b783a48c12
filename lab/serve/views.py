"""From what services say on the bus to what people are answered. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import assert_never

import msgspec

from lab.schema.answers import (
    Attestation,
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
)
from protocol.messages.agent import (
    CutRule,
    DelayRule,
    DuplicateRule,
    LinkRule,
    LossRule,
    NodeStatus,
    ResetRule,
    StallRule,
)
from protocol.messages.host import HostSummary, VirtualDisk, VmSummary
from protocol.messages.kms import GroupStatus, PairStatus, Rejected, Rejections
from protocol.messages.vcenter import (
    ClusterInfo,
    CryptoModePolicy,
    HostInfo,
    ProviderInfo,
    TaskInfo,
    TpmAttestation,
    VcEvent,
    VmInfo,
)
from protocol.terms import ClusterName, CryptoKeyId, HostConnectionState, NodeName, Role


def key_ref(key: CryptoKeyId) -> KeyRef:
    """A key as ``provider/id``."""
    return KeyRef(str(key))


def key_refs(keys: Iterable[CryptoKeyId]) -> tuple[KeyRef, ...]:
    """Keys as ``provider/id`` each."""
    return tuple(key_ref(key) for key in keys)


def vm_view(vm: VmInfo, *, stale: bool = False) -> Vm:
    """A VM of vCenter's inventory; ``stale``: its host does not answer vCenter now."""
    return Vm(
        vm=vm.vm,
        cluster=vm.cluster,
        host=vm.host,
        power=vm.power,
        connection=vm.connection,
        crypto=vm.crypto,
        key=key_ref(vm.key) if vm.key else None,
        missing=key_refs(vm.missing),
        lock_event=vm.lock_event,
        alarms=vm.alarms,
        stale=stale,
        vtpm=vm.vtpm is True,
        snapshots=() if vm.snapshots is msgspec.UNSET else vm.snapshots,
        with_memory=() if vm.with_memory is msgspec.UNSET else vm.with_memory,
        template=vm.template is True,
        migrate_encryption=(
            None if vm.migrate_encryption is msgspec.UNSET else vm.migrate_encryption
        ),
    )


def vm_at(host: NodeName, cluster: ClusterName, vm: VmSummary) -> Vm:
    """A VM as the host tells of it that has it registered."""
    return Vm(
        vm=vm.vm,
        cluster=cluster,
        host=host,
        power=vm.power,
        connection=vm.connection,
        crypto=vm.crypto,
        key=key_ref(vm.keys[0]) if vm.keys else None,
        missing=key_refs(vm.missing),
        vtpm=vm.vtpm is True,
        snapshots=() if vm.snapshots is msgspec.UNSET else vm.snapshots,
        with_memory=() if vm.with_memory is msgspec.UNSET else vm.with_memory,
        template=vm.template is True,
    )


def host_view(host: HostInfo, machine: Node) -> Host:
    """A host of vCenter's inventory beside its machine; what vCenter shows of one that does not
    run is stale, although vCenter may not have noticed."""
    connected = host.connection is HostConnectionState.CONNECTED
    return Host(
        host=host.host,
        cluster=host.cluster,
        connection=host.connection,
        crypto_state=host.crypto_state,
        crypto_key_id=key_ref(host.crypto_key_id) if host.crypto_key_id else None,
        version=host.version,
        tpm_present=host.tpm_present,
        key_persistence=host.key_persistence,
        boot=host.boot,
        cached_keys=host.cached_keys,
        seen_at=host.seen_at,
        attestation=_attestation(host.attestation),
        in_maintenance_mode=host.in_maintenance_mode,
        alarms=host.alarms,
        stale=not connected or machine.state is not MachineState.RUNNING,
        machine=machine.state,
        screen=machine.screen,
    )


def _attestation(seen: TpmAttestation | None) -> Attestation | None:
    if seen is None:
        return None
    return Attestation(time=seen.time, status=seen.status, message=seen.message)


def power_view(status: NodeStatus) -> HostPower:
    """A node's machine after a power command."""
    machine = MachineState(status.state.value)
    halted = "its screen says what it needs"
    if status.role is Role.ESXI:
        halted = f"keystead describe host {status.node} says why, and what cures it"
    return HostPower(
        host=status.node,
        machine=machine,
        cure=halted if machine is MachineState.HALTED else "",
        boot=status.boot,
        screen=status.screen,
        ended=status.ended,
    )


def own_view(summary: HostSummary) -> HostView:
    """A host's own view of itself."""
    return HostView(
        host=summary.host,
        boot=summary.boot,
        version=summary.version,
        crypto_state=summary.crypto_state,
        crypto_key_id=key_ref(summary.crypto_key_id) if summary.crypto_key_id else None,
        tpm_present=summary.tpm_present,
        protection_mode=summary.protection_mode,
        key_persistence=summary.key_persistence,
        cached_keys=summary.cached_keys,
        stored_keys=summary.stored_keys,
        providers=tuple(
            KnownProvider(provider_id=p.provider_id, management_type=p.management_type)
            for p in summary.providers
        ),
        vms=tuple(vm_on_host(vm) for vm in summary.vms),
        session=summary.session,
        recovery_id=summary.recovery_id,
    )


def vm_on_host(vm: VmSummary) -> VmOnHost:
    """A VM as its host sees it."""
    return VmOnHost(
        vm=vm.vm,
        power=vm.power,
        crypto=vm.crypto,
        connection=vm.connection,
        keys=key_refs(vm.keys),
        missing=key_refs(vm.missing),
        wanted=vm.wanted,
        vtpm=vm.vtpm is True,
        disks=() if vm.disks is msgspec.UNSET else disk_views(vm.disks),
    )


def disk_views(disks: tuple[VirtualDisk, ...]) -> tuple[VmDisk, ...]:
    """Disks of a VM as people see them."""
    return tuple(
        VmDisk(
            disk=disk.disk,
            label=f"Hard disk {disk.disk}",
            blocks=disk.blocks,
            key=key_ref(disk.key) if disk.key else None,
        )
        for disk in disks
    )


def provider_view(provider: ProviderInfo) -> Provider:
    """A key provider with its servers by name."""
    return Provider(
        provider=provider.provider,
        management_type=provider.management_type,
        servers=tuple(server.name for server in provider.servers),
        default=provider.default,
        status=provider.status,
        unreachable=tuple(c.name for c in provider.contacts if c.status == "red"),
        default_of=provider.default_of,
        health=provider.health,
        details=provider.details,
        key_id=provider.key_id,
        tpm_required=provider.tpm_required,
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
    return Cluster(
        cluster=cluster.cluster,
        crypto_mode=cluster.crypto_mode,
        host_key=key_ref(cluster.host_key) if cluster.host_key else None,
        default_provider=cluster.default_provider,
        policy=_policy(cluster.policy),
        ha=cluster.das_enabled,
        drs="" if cluster.drs is msgspec.UNSET else cluster.drs.value,
        hosts=cluster.hosts,
        vms=cluster.vms,
    )


def event_view(event: VcEvent) -> LoggedEvent:
    """An entry of vCenter's event log."""
    return LoggedEvent(
        sequence=event.sequence,
        at=event.at,
        event=event.event,
        text=event.text,
        host=event.host,
        vm=event.vm,
        provider=event.provider,
        keys=key_refs(event.keys),
    )


def task_view(task: TaskInfo) -> Task:
    """A task of vCenter."""
    return Task(
        task=task.key,
        name=task.name,
        entity=task.entity,
        user=task.user,
        state=task.state,
        start_time=task.start_time,
        complete_time=task.complete_time,
        error=task.error,
        reason=task.reason,
    )


def event_line(event: VcEvent) -> EventLine:
    """An event in short."""
    return EventLine(sequence=event.sequence, at=event.at, event=event.event, text=event.text)


def rule_view(rule: LinkRule) -> RuleOnLink:
    """A rule as it lies on its link."""
    match rule:
        case CutRule(id=id):
            return RuleOnLink(kind="cut", id=id)
        case LossRule(id=id, share=share):
            return RuleOnLink(kind="loss", id=id, share=share)
        case DelayRule(id=id, base_s=base_s, jitter_s=jitter_s):
            return RuleOnLink(kind="delay", id=id, base_s=base_s, jitter_s=jitter_s)
        case DuplicateRule(id=id, share=share):
            return RuleOnLink(kind="duplicate", id=id, share=share)
        case ResetRule(id=id):
            return RuleOnLink(kind="reset", id=id)
        case StallRule(id=id):
            return RuleOnLink(kind="stall", id=id)
        case _:
            assert_never(rule)
