"""VM tasks, asked of vCenter as a vSphere client would, or of the host (``on_host``)."""

from __future__ import annotations

from msgspec import UNSET

from lab.schema import commands
from lab.schema.answers import GuestAnswer, Vm, VmDisks, VmPower, VmPowerList
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal, row_of_refusal
from lab.serve.executing import executes
from lab.serve.session import LabSession
from lab.serve.views import disk_views, view, vm_view
from lab.serve.vms.whereabouts import at_vm, list_all_vms
from protocol.errors import ProductError
from protocol.messages.host import GuestChallenge, GuestWrite, HostPowerOffVm, HostPowerOnVm
from protocol.messages.vcenter import (
    AddDisk,
    AddVtpm,
    CreateVm,
    CryptoUnlock,
    DecryptVm,
    EncryptVm,
    PowerOffVm,
    PowerOnVm,
    RecryptVm,
    RemoveDisk,
    RemoveVtpm,
)
from protocol.terms import NodeName, PowerState, ProviderId, VmName

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
    task = PowerOnVm(vm=vm) if on else PowerOffVm(vm=vm)
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
        CreateVm(
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
        EncryptVm(
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
        RecryptVm(
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
    done = await session.ask(vcenter, DecryptVm(vm=vm), within_s=TASK_S)
    return vm_view(done.vm)


@executes
async def add_disk(session: LabSession, command: commands.VmAddDisk) -> VmDisks:
    """See ``VmAddDisk``."""
    lab, vm = session.lab, session.vm(command.vm)
    message = AddDisk(
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
    message = RemoveDisk(vm=vm, disk=command.disk)
    done = await session.ask((await at_vm(session, vm)).vcenter, message, within_s=TASK_S)
    return VmDisks(vm=vm, items=disk_views(done.disks))


@executes
async def add_tpm(session: LabSession, command: commands.VmAddTpm) -> Vm:
    """See ``VmAddTpm``."""
    lab = session.lab
    message = AddVtpm(
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
    message = RemoveVtpm(vm=session.vm(command.vm))
    return vm_view(
        (await session.ask((await at_vm(session, message.vm)).vcenter, message, within_s=TASK_S)).vm
    )


@executes
async def unlock(session: LabSession, command: commands.VmUnlock) -> Vm:
    """See ``VmUnlock``."""
    vm = session.vm(command.vm)
    vcenter = (await at_vm(session, vm)).vcenter
    return vm_view((await session.ask(vcenter, CryptoUnlock(vm=vm), within_s=TASK_S)).vm)


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
