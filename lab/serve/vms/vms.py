"""VM tasks, sent to vCenter as a vSphere client would, or to the host (``on_host``): encryption,
power, disks, TPMs, clones, templates, snapshots, moves. ``at_vm`` finds the vCenter for commands
that name none.
"""

from __future__ import annotations

from msgspec import UNSET

from chaos.observe.look import all_vms
from lab.schema import commands
from lab.schema.answers import GuestAnswer, Migration, Vm, VmDisks, VmPower, VmPowerList
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal, row_of_refusal
from lab.serve.session import LabSession, executes
from lab.serve.views import disk_views, view, vm_view
from protocol.errors import ProductError
from protocol.messages.host.vms import (
    GuestChallenge,
    GuestWrite,
    HostPowerOffVm,
    HostPowerOnVm,
    TpmProvisionPolicy,
)
from protocol.messages.vcenter import vms as vm_messages
from protocol.terms import NodeName, PowerState, ProviderId, VmName


async def at_vm(session: LabSession, vm: VmName) -> LabSession:
    """The session at the vCenter that has ``vm``; the session as it is when there is no choice,
    or none of those that answer has it."""
    vcenters = session.vcenters()
    if len(vcenters) == 1:
        return session.at(vcenters[0])
    for vcenter in vcenters:
        try:
            listed = await all_vms(session, vcenter)
        except ProductError:
            continue
        if any(found.vm == vm for found in listed):
            return session.at(vcenter)
    return session


async def list_all_vms(session: LabSession) -> list[tuple[NodeName, vm_messages.VmInfo]]:
    """Every VM with the vCenter that has it, by name.

    The lab knows them from then on: some came by no command, as after ``HostRollback``.
    """
    found = [(v, vm) for v in session.vcenters() for vm in await all_vms(session, v)]
    known = set(session.lab.directory().vms)
    for _, vm in found:
        if vm.vm not in known:
            session.lab.know_vm(vm.vm)
    return sorted(found, key=lambda one: one[1].vm)


EFI, HARDWARE = "efi", 21  # what a VM has that says nothing else
TASK_S = 60.0  # lab seconds for a VM task

# ---- power -------------------------------------------------------------------------------


@executes
async def power_on(session: LabSession, command: commands.VmOn) -> VmPowerList:
    """See ``VmOn``."""
    return await _power(session, command, PowerState.ON)


@executes
async def power_off(session: LabSession, command: commands.VmOff) -> VmPowerList:
    """See ``VmOff``."""
    return await _power(session, command, PowerState.OFF)


async def _power(
    session: LabSession, command: commands.VmOn | commands.VmOff, wanted: PowerState
) -> VmPowerList:
    """Ask for each; one refusal does not keep the others from being asked."""
    items: list[VmPower] = []
    for vcenter, vm, host in await _select_vms(session, command):
        there = session.at(vcenter)
        try:
            power, at = await _set_power(there, vm, host if command.on_host else None, wanted)
        except ProductError as error:
            failure = refusal(error)
            items.append(VmPower(vm=vm, host=host, **row_of_refusal(failure)))
        else:
            items.append(VmPower(vm=vm, host=at, power=power))
    return VmPowerList(wanted=wanted, items=tuple(items))


async def _select_vms(
    session: LabSession, command: commands.VmOn | commands.VmOff
) -> list[tuple[NodeName, VmName, NodeName]]:
    """The VMs meant, each with its vCenter and its host, in the inventory's order."""
    host = session.host(command.host) if command.host else None
    names = set(session.vms(command.vms))
    if command.on_host and host is not None:
        return [(session.vcenter_of(host), v, host) for v in sorted(names)]
    listed = await list_all_vms(session)
    spelled = names & {*command.vms}  # a selector chooses among the host's VMs, a name is meant
    elsewhere = [f"{v.vm} is on {v.host}" for _, v in listed if v.vm in spelled and v.host != host]
    if host is not None and elsewhere:
        raise KeysteadError("KS-USE-002", f"not on {host}: {', '.join(elsewhere)}")
    return [
        (vcenter, v.vm, v.host)
        for vcenter, v in listed
        if (not names or v.vm in names) and (host is None or v.host == host)
    ]


async def _set_power(
    session: LabSession, vm: VmName, on_host: NodeName | None, wanted: PowerState
) -> tuple[PowerState, NodeName]:
    """The VM's power afterwards, and its host, which DRS may have chosen; as the host says when it
    is asked itself, else vCenter."""
    on = wanted is PowerState.ON
    if on_host is not None:
        own = HostPowerOnVm(vm=vm) if on else HostPowerOffVm(vm=vm)
        return (await session.ask(on_host, own, within_s=TASK_S)).summary.power, on_host
    task = vm_messages.PowerOnVm(vm=vm) if on else vm_messages.PowerOffVm(vm=vm)
    done = (await session.ask(session.vcenter, task, within_s=TASK_S)).vm
    return done.power, done.host


# ---- tasks -------------------------------------------------------------------------------


@executes
async def create(session: LabSession, command: commands.VmCreate) -> Vm:
    """See ``VmCreate``."""
    lab = session.lab
    host = session.host(command.host) if command.host else None
    cluster = session.cluster(command.cluster, host)
    made = await session.ask(
        session.at_cluster(cluster).vcenter,
        vm_messages.CreateVm(
            operation_id=lab.operation_id(),
            vm=VmName(command.vm),
            cluster=cluster,
            host=host,
            encrypted=command.encrypted,
            provider=ProviderId(command.provider) if command.provider else None,
            firmware=UNSET if command.firmware == EFI else command.firmware,
            hardware=UNSET if command.hardware == HARDWARE else command.hardware,
        ),
        within_s=TASK_S,
    )
    lab.know_vm(made.vm.vm)
    return vm_view(made.vm)


@executes
async def encrypt(session: LabSession, command: commands.VmEncrypt) -> Vm:
    """See ``VmEncrypt``."""
    lab = session.lab
    provider = ProviderId(command.provider) if command.provider else None
    vm = session.vm(command.vm)
    done = await session.ask(
        (await at_vm(session, vm)).vcenter,
        vm_messages.EncryptVm(
            operation_id=lab.operation_id(),
            vm=vm,
            provider=provider,
        ),
        within_s=TASK_S,
    )
    return vm_view(done.vm)


@executes
async def recrypt(session: LabSession, command: commands.VmRecrypt) -> Vm:
    """See ``VmRecrypt``."""
    lab, vm = session.lab, session.vm(command.vm)
    done = await session.ask(
        (await at_vm(session, vm)).vcenter,
        vm_messages.RecryptVm(
            operation_id=lab.operation_id(),
            vm=vm,
            provider=ProviderId(command.provider) if command.provider else None,
            deep=command.deep,
            disk=command.disk,
        ),
        within_s=TASK_S,
    )
    return vm_view(done.vm)


@executes
async def decrypt(session: LabSession, command: commands.VmDecrypt) -> Vm:
    """See ``VmDecrypt``."""
    vm = session.vm(command.vm)
    vcenter = (await at_vm(session, vm)).vcenter
    done = await session.ask(vcenter, vm_messages.DecryptVm(vm=vm), within_s=TASK_S)
    return vm_view(done.vm)


@executes
async def add_disk(session: LabSession, command: commands.VmAddDisk) -> VmDisks:
    """See ``VmAddDisk``."""
    lab, vm = session.lab, session.vm(command.vm)
    message = vm_messages.AddDisk(
        operation_id=lab.operation_id(),
        vm=vm,
        blocks=command.blocks,
        provider=ProviderId(command.provider) if command.provider else None,
        own_key=command.own_key,
    )
    done = await session.ask((await at_vm(session, vm)).vcenter, message, within_s=TASK_S)
    return VmDisks(vm=vm, items=disk_views(done.disks), added=done.disk)


@executes
async def remove_disk(session: LabSession, command: commands.VmRemoveDisk) -> VmDisks:
    """See ``VmRemoveDisk``."""
    vm = session.vm(command.vm)
    message = vm_messages.RemoveDisk(vm=vm, disk=command.disk)
    done = await session.ask((await at_vm(session, vm)).vcenter, message, within_s=TASK_S)
    return VmDisks(vm=vm, items=disk_views(done.disks))


@executes
async def add_tpm(session: LabSession, command: commands.VmAddTpm) -> Vm:
    """See ``VmAddTpm``."""
    lab = session.lab
    message = vm_messages.AddVtpm(
        operation_id=lab.operation_id(),
        vm=session.vm(command.vm),
        provider=ProviderId(command.provider) if command.provider else None,
    )
    return vm_view(
        (await session.ask((await at_vm(session, message.vm)).vcenter, message, within_s=TASK_S)).vm
    )


@executes
async def remove_tpm(session: LabSession, command: commands.VmRemoveTpm) -> Vm:
    """See ``VmRemoveTpm``."""
    message = vm_messages.RemoveVtpm(vm=session.vm(command.vm))
    return vm_view(
        (await session.ask((await at_vm(session, message.vm)).vcenter, message, within_s=TASK_S)).vm
    )


@executes
async def unlock(session: LabSession, command: commands.VmUnlock) -> Vm:
    """See ``VmUnlock``."""
    vm = session.vm(command.vm)
    vcenter = (await at_vm(session, vm)).vcenter
    return vm_view(
        (await session.ask(vcenter, vm_messages.CryptoUnlock(vm=vm), within_s=TASK_S)).vm
    )


# ---- the guest ---------------------------------------------------------------------------


@executes
async def guest_write(session: LabSession, command: commands.VmGuestWrite) -> GuestAnswer:
    """See ``VmGuestWrite``."""
    return await _guest(session, GuestWrite(vm=VmName(command.vm), marker=command.marker))


@executes
async def guest_challenge(session: LabSession, command: commands.VmGuestChallenge) -> GuestAnswer:
    """See ``VmGuestChallenge``."""
    vm = VmName(command.vm)
    return await _guest(session, GuestChallenge(vm=vm, nonce=command.nonce, blocks=command.blocks))


async def _guest(session: LabSession, message: GuestWrite | GuestChallenge) -> GuestAnswer:
    """Asked of the host that vCenter says it is on."""
    vm = session.vm(message.vm)
    host = next(v.host for _, v in await list_all_vms(session) if v.vm == vm)
    return view(GuestAnswer, await session.ask(host, message))


COPY_S = 120.0  # lab seconds for a task that copies disks


@executes
async def clone(session: LabSession, command: commands.VmClone) -> Vm:
    """See ``VmClone``."""
    lab, source = session.lab, session.vm(command.vm)
    message = vm_messages.CloneVm(
        operation_id=lab.operation_id(),
        vm=VmName(command.clone),
        source=source,
        host=session.host(command.host) if command.host else None,
        template=command.template,
        recrypt=command.recrypt,
        provider=ProviderId(command.provider) if command.provider else None,
        tpm=TpmProvisionPolicy(command.tpm) if command.tpm else None,
    )
    vcenter = (await at_vm(session, source)).vcenter
    made = (await session.ask(vcenter, message, within_s=COPY_S)).vm
    lab.know_vm(made.vm)
    return vm_view(made)


@executes
async def template(session: LabSession, command: commands.VmTemplate) -> Vm:
    """See ``VmTemplate``."""
    vm = session.vm(command.vm)
    message = (
        vm_messages.MarkAsVirtualMachine(vm=vm)
        if command.off
        else vm_messages.MarkAsTemplate(vm=vm)
    )
    vcenter = (await at_vm(session, vm)).vcenter
    return vm_view((await session.ask(vcenter, message, within_s=COPY_S)).vm)


@executes
async def create_snapshot(session: LabSession, command: commands.VmSnapshotCreate) -> Vm:
    """See ``VmSnapshotCreate``."""
    vm = session.vm(command.vm)
    if command.snapshot in (await _snapshots(session, vm) or ()):
        fix = "choose another name, or `keystead vm snapshot remove` the old one"
        text = f"{vm} has a snapshot {command.snapshot} already, of an earlier moment"
        raise KeysteadError("KS-USE-003", text, fix)
    message = vm_messages.CreateSnapshot(vm=vm, snapshot=command.snapshot, memory=command.memory)
    return await _snapshot(session, message)


@executes
async def remove_snapshot(session: LabSession, command: commands.VmSnapshotRemove) -> Vm:
    """See ``VmSnapshotRemove``; KS-USE-002 when the VM has none of that name."""
    vm = session.vm(command.vm)
    there = await _snapshots(session, vm)
    if there is not None and command.snapshot not in there:
        fix = f"it has {', '.join(there)}" if there else "it has none"
        raise KeysteadError("KS-USE-002", f"{vm} has no snapshot {command.snapshot}", fix)
    return await _snapshot(session, vm_messages.RemoveSnapshot(vm=vm, snapshot=command.snapshot))


@executes
async def revert(session: LabSession, command: commands.VmSnapshotRevert) -> Vm:
    """See ``VmSnapshotRevert``."""
    vm = session.vm(command.vm)
    message = vm_messages.RevertToSnapshot(
        vm=vm, snapshot=command.snapshot, suppress_power_on=command.suppress_power_on
    )
    return await _snapshot(session, message)


async def _snapshots(session: LabSession, vm: VmName) -> tuple[str, ...] | None:
    """The names of those that it has; None when no vCenter lists it."""
    found = next((one for _, one in await list_all_vms(session) if one.vm == vm), None)
    return None if found is None else tuple(found.snapshots or ())


async def _snapshot(
    session: LabSession,
    message: vm_messages.CreateSnapshot | vm_messages.RemoveSnapshot | vm_messages.RevertToSnapshot,
) -> Vm:
    vcenter = (await at_vm(session, message.vm)).vcenter
    return vm_view((await session.ask(vcenter, message, within_s=COPY_S)).vm)


MOVE_S = 120.0  # lab seconds for a task that has two hosts in it


@executes
async def migrate(session: LabSession, command: commands.VmMigrate) -> Migration:
    """See ``VmMigrate``."""
    vm, host = session.vm(command.vm), session.host(command.host)
    message: vm_messages.MigrateVm | vm_messages.RelocateVm = vm_messages.MigrateVm(
        vm=vm, host=host
    )
    if command.to_vcenter:
        service = vm_messages.ServiceLocator(
            vcenter=session.at(command.to_vcenter).vcenter, user=command.to_user
        )
        message = vm_messages.RelocateVm(vm=vm, service=service, host=host)
    vcenter = (await at_vm(session, vm)).vcenter
    try:
        done: vm_messages.VmRelocated = await session.ask(vcenter, message, within_s=MOVE_S)
    except ProductError:
        other = session.lab.vcenter_of(host)
        if command.to_vcenter or other == vcenter:
            raise
        text = f"{host} is a host of {other}, and {vm} is one of {vcenter}"
        fix = f"keystead vm migrate {vm} --host {host} --to-vcenter {other}"
        raise KeysteadError("KS-USE-003", text, fix) from None
    return Migration(
        vm=vm_view(done.vm), gap_s=done.gap_s, size=done.size, encrypted=done.encrypted
    )


@executes
async def set_stream(session: LabSession, command: commands.VmSetMigrateEncryption) -> Vm:
    """See ``VmSetMigrateEncryption``."""
    vm = session.vm(command.vm)
    message = vm_messages.ReconfigVm(vm=vm, migrate_encryption=command.policy)
    vcenter = (await at_vm(session, vm)).vcenter
    return vm_view((await session.ask(vcenter, message, within_s=MOVE_S)).vm)
