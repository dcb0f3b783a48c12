"""Adding a virtual TPM to a VM, and removing it (VTPM-02, VTPM-03, VTPM-04).

1. ask the host for the VM's configuration: a VM that may have no vTPM gets no key either
2. an unencrypted home gets a key as in ``encrypt``; an encrypted one has its key on the host
3. the host creates the TPM and encrypts the home
4. VMCA certifies the endorsement key, and the host stores the certificate

A failure of step 4 is an event; the VM then has its vTPM without a certificate. A repeat of the
operation after a crash continues from the present state.
"""

from __future__ import annotations

from typing import Final

from protocol.authorization import Privilege
from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidPowerState,
    ProductError,
)
from protocol.messages.host import (
    HostAddVtpm,
    HostRemoveVtpm,
    HostSetVtpmCertificate,
    QueryVmConfig,
    VmConfigState,
)
from protocol.messages.vcenter import AddVtpm, RemoveVtpm, VmReconfigured
from protocol.terms import CryptoKeyId, PowerState
from protocol.tpm.structures import PublicArea
from services.vcenter import events
from services.vcenter.authorization.roles import TaskCaller
from services.vcenter.client_info import stream_policy
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_vm
from services.vcenter.keys.grants import end_grants
from services.vcenter.removals import cancel_releases, release_keys
from services.vcenter.tables import OperationKind, OperationRow, VmRow
from services.vcenter.tasks.encrypt import (
    GivenKey,
    find_operation,
    give_key,
    give_up,
    modes_afterwards,
)
from services.vcenter.tasks.snapshots import check_no_snapshots
from services.vcenter.vcenter import VCenter

LEAST_HARDWARE: Final = 14
"""Virtual hardware version from which a VM may have a vTPM."""


async def add_vtpm(vc: VCenter, message: AddVtpm, caller: TaskCaller) -> VmReconfigured:
    """See the module. Runs in the VM's turn."""
    before = await find_operation(vc, message.operation_id, OperationKind.ADD_VTPM, message.vm)
    row = _require_powered_off(vc.vm(message.vm))
    session = vc.sessions.usable(row.host)
    config = await session.ask(QueryVmConfig(vm=row.name))
    if row.vtpm:
        if before is None:
            raise AlreadyExists(f"{row.name} has a virtual TPM already")
        await certify(vc, session, row, config)
        return VmReconfigured(vm=vc.vm_info(row.name))
    _check_may_have(row, config)
    check_no_snapshots(row, "add a virtual TPM")
    if config.home_encrypted:
        await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
        vm = await session.command_vm(HostAddVtpm(vm=row.name))
        keys, drafts = vm.keys, [events.vtpm_added(row.name, session.host)]
        edits: list[Edit] = []
    else:
        operation = before or OperationRow(
            name=message.operation_id,
            kind=OperationKind.ADD_VTPM,
            subject=message.vm,
            provider=vc.provider_for(message.provider, row.cluster),
        )
        keys, given = await _with_a_key(vc, session, row, operation, caller)
        edits = modes_afterwards(vc, session, caller=caller)
        drafts = [
            events.vm_encrypted(row.name, session.host, keys[0]),
            events.vtpm_added(row.name, session.host),
        ]
        if row.name in vc.inventory.vms:
            given.look_after_the_others(vc, session)
    edits += [change_vm(row.name, keys=keys, vtpm=True), *cancel_releases(keys)]
    await vc.inventory.commit(*edits, events=drafts)
    await certify(vc, session, row, await session.ask(QueryVmConfig(vm=row.name)))
    return VmReconfigured(vm=vc.vm_info(row.name))


async def _with_a_key(
    vc: VCenter, session: HostSession, row: VmRow, operation: OperationRow, caller: TaskCaller
) -> tuple[tuple[CryptoKeyId, ...], GivenKey]:
    """Steps 2 and 3 for an unencrypted home; returns the VM's keys afterwards."""
    if operation.key is not None:
        await vc.inventory.commit(*cancel_releases((operation.key,)))
    given = await give_key(vc, session, operation, caller=caller)
    command = HostAddVtpm(vm=row.name, key=given.key, provider=given.maker)
    try:
        vm = await session.command_vm(command)
    except ProductError as error:
        if error.definite and given.key is not None:
            await give_up(vc, row.cluster, (given.key,), vm=row.name)
        raise
    keys = given.keys_of(vm)
    if row.name not in vc.inventory.vms:  # its host was removed, and the VM with it
        await give_up(vc, row.cluster, keys, vm=None)
    return keys, given


def _require_powered_off(row: VmRow) -> VmRow:
    if row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off first")
    return row


def _check_may_have(row: VmRow, config: VmConfigState) -> None:
    """The host's check, made here so that no key is created for a VM that it would refuse."""
    if config.firmware != "efi":
        raise InvalidArgument(f"{row.name}: a virtual TPM needs firmware EFI, not BIOS")
    if config.hardware < LEAST_HARDWARE:
        raise InvalidArgument(
            f"{row.name}: a virtual TPM needs hardware version {LEAST_HARDWARE} or later, not "
            f"{config.hardware}"
        )


async def certify(vc: VCenter, session: HostSession, row: VmRow, config: VmConfigState) -> None:
    """Step 4, once: a device with a certificate keeps it (VTPM-04)."""
    if config.certificate:
        return
    try:
        certificate = await vc.vmca.certify(PublicArea(config.ek))
        await session.command(HostSetVtpmCertificate(vm=row.name, certificate=certificate))
    except (OSError, ProductError) as error:
        failed = events.vtpm_certificates_failed(row.name, session.host, str(error))
        await vc.inventory.commit(events=[failed])


async def remove_vtpm(vc: VCenter, message: RemoveVtpm, caller: TaskCaller) -> VmReconfigured:
    """VTPM-03. Runs in the VM's turn."""
    row = _require_powered_off(vc.vm(message.vm))
    if row.vtpm:
        session = vc.sessions.usable(row.host)
        config = await session.ask(QueryVmConfig(vm=row.name))
        if config.home_encrypted and not config.disks_encrypted:
            caller.check(
                (Privilege.DECRYPT,), f"RemoveVtpm, which decrypts the home of {row.name},"
            )
        await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
        vm = await session.command_vm(HostRemoveVtpm(vm=row.name))
        gone = tuple(key for key in row.keys if key not in vm.keys)
        hosts = [host.name for host in vc.inventory.hosts_of(row.cluster)]
        vc.sharing.withdraw(gone)
        await vc.inventory.commit(
            change_vm(
                row.name,
                keys=vm.keys,
                vtpm=False,
                lock_event=None,
                missing=(),
                migrate_encryption=stream_policy(row),
            )
            if gone
            else change_vm(row.name, vtpm=False),
            *release_keys(gone, hosts),
            *end_grants(row.name, gone),
            events=[events.vtpm_removed(row.name, session.host)],
        )
        for host in hosts if gone else ():
            vc.gathered.want(host, removing=True)
    return VmReconfigured(vm=vc.vm_info(row.name))
