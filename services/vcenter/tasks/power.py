"""Power and unlock of one VM, in the VM's turn, and the check before every task on a VM: a VM that
lacks the key of its home is invalid, and few tasks are allowed on it (LOCK-02). Missing keys
that are available by now are first delivered to the VM's host.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.errors import EncryptionKeyRequired, InvalidState, InvalidVmState, ProductError
from protocol.messages.host.session import VmSummary
from protocol.messages.host.vms import HostPowerOffVm, HostPowerOnVm, HostRevertToSnapshot
from protocol.messages.vcenter.vms import CryptoUnlock, PowerOffVm, PowerOnVm, VmPowered
from protocol.terms import CryptoKeyId, DrsBehavior, PowerState, VmConnectionState, VmName
from services.vcenter.events import EventDraft, drs_powered_on
from services.vcenter.hosts.session import HostSession
from services.vcenter.key_use import grant_keys
from services.vcenter.locks import shows_invalid
from services.vcenter.tables import VmRow
from services.vcenter.vcenter import VCenter


async def check_valid(vc: VCenter, name: VmName, *, operation: str = "") -> None:
    """``InvalidVmState`` for a VM whose host lacks its home key and cannot be given it.

    No error for a VM that is valid, runs (LOCK-04), or is not in the inventory, nor for a repeat of
    a recorded ``operation``: it may be done already.
    """
    row = vc.inventory.vms.get(name)
    if row is None or not _lacks_home_key(row, vc.sessions.find_connected(row.host)):
        return
    if operation and await vc.inventory.operation(operation) is not None:
        return
    if (session := vc.sessions.find_connected(row.host)) is not None:
        await vc.remediation.restore(session, name, may_unlock=vc.node.knobs.auto_unlock)
        row = vc.inventory.vms.get(name)
    if row is None or not _is_marked_invalid(row):
        return
    missing = ", ".join(str(key) for key in row.missing)
    raise InvalidVmState(
        f"{name} is locked and invalid: it can be unlocked once its keys can be had, removed from "
        f"the inventory, and registered again; missing: {missing}",
        row.missing,
    )


def _lacks_home_key(row: VmRow, session: HostSession | None) -> bool:
    """By its mark, or by its host's report if no pass has judged that yet."""
    if not row.keys or row.power is PowerState.ON:
        return False
    if _is_marked_invalid(row):
        return True
    listed = () if session is None or session.summary is None else session.summary.vms
    reported = next((vm for vm in listed if vm.vm == row.name), None)
    return (
        reported is not None
        and reported.crypto is not None
        and (reported.connection is VmConnectionState.INVALID)
    )


def _is_marked_invalid(row: VmRow) -> bool:
    on = row.power is PowerState.ON
    return not on and shows_invalid(row.keys, row.lock_event, row.missing)


async def power_on(vc: VCenter, message: PowerOnVm) -> VmPowered:
    """See the module; ``EncryptionKeyRequired`` names the keys that are not available."""
    row = vc.vm(message.vm)
    session = vc.sessions.usable(row.host)
    if not _is_placed(vc, row):
        return await _start(vc, row, session)
    stays = await _must_stay(vc, row)
    row = vc.vm(message.vm)
    stays = stays and vc.placement.takes(row)
    target = row.host if stays else vc.placement.for_power_on(row)
    with vc.placement.starting_on(target):
        if target != row.host:
            vc.check_settled(row.name)
            await vc.moves.settle(row.name)
            await vc.moves.cold(row, vc.sessions.usable(target))
        row = vc.vm(message.vm)
        drafts = [drs_powered_on(row.name, row.host)]
        return await _start(vc, row, vc.sessions.usable(row.host), drafts)


async def _must_stay(vc: VCenter, row: VmRow) -> bool:
    """Whether an earlier move of the VM is open and cannot be settled now: then it must not
    move."""
    try:
        await vc.moves.settle(row.name)
    except ProductError:
        if not vc.sessions.lists(vc.vm(row.name).host, row.name):
            raise
        return True
    return False


def _is_placed(vc: VCenter, row: VmRow) -> bool:
    """Whether DRS chooses its host: a powered-off VM that its host lists (HA-03)."""
    cluster = vc.inventory.clusters.get(row.cluster)
    if cluster is None or cluster.drs in (None, DrsBehavior.MANUAL):
        return False
    off = row.power is PowerState.OFF and not row.template
    return off and vc.sessions.lists(row.host, row.name)


async def _start(
    vc: VCenter, row: VmRow, session: HostSession, drafts: Sequence[EventDraft] = ()
) -> VmPowered:
    """Start it on its host; ``drafts``: the events of that."""
    if row.keys and row.power is PowerState.OFF:
        await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
        row = vc.vm(row.name)
        session = vc.sessions.usable(row.host)
    await start(vc, session, row, HostPowerOnVm(vm=row.name), drafts)
    return VmPowered(vm=vc.vm_info(row.name))


async def start(
    vc: VCenter,
    session: HostSession,
    row: VmRow,
    command: HostPowerOnVm | HostRevertToSnapshot,
    drafts: Sequence[EventDraft] = (),
) -> VmSummary:
    """Have the host run the VM, in its present or an earlier state; twice when a KDK was missing.
    ``drafts``: the events of that."""
    try:
        state = await session.command_vm(command)
    except EncryptionKeyRequired as error:
        # The host lacks something that vCenter assumed: look again, and judge.
        vc.passes.want(row.host)
        if all(vc.providers.derives(key.provider_id) is None for key in error.keys):
            raise
        await session.look()
        await vc.remediation.hand_out_providers(session)  # it may lack a KDK (NKP-15)
        state = await session.command_vm(command)
    await vc.sessions.take_in(row.host, (state,), drafts)
    return state


async def power_off(vc: VCenter, message: PowerOffVm) -> VmPowered:
    """Power the VM off; its keys are judged afterwards."""
    row = vc.vm(message.vm)
    session = vc.sessions.usable(row.host)
    state = await session.command_vm(HostPowerOffVm(vm=row.name))
    await vc.sessions.take_in(row.host, (state,))
    if row.keys:
        vc.passes.want(row.host)  # DEL-01: it may have run on a key that is gone since
    return VmPowered(vm=vc.vm_info(row.name))


async def crypto_unlock(vc: VCenter, message: CryptoUnlock) -> VmPowered:
    """LOCK-05; it also grants keys that the cluster was not given (C28).

    The host is first asked which keys the VM needs now. ``InvalidState``: not encrypted, its
    provider is not configured, or its host names keys of others. ``InvalidVmState``: still locked.
    """
    session = vc.sessions.usable(vc.vm(message.vm).host)
    await session.look()
    row = vc.vm(message.vm)
    session = vc.sessions.usable(row.host)
    await vc.sessions.check_believed(session.host, row.name, _missing_there(session, row))
    if not row.keys:
        raise InvalidState(f"{row.name} is not encrypted")
    if new := vc.not_granted(row):
        await vc.sessions.check_believed(session.host, row.name, row.keys)
        await vc.inventory.commit(*grant_keys(row.name, row.cluster, new))
        for host in vc.inventory.hosts_of(row.cluster):
            vc.gathered.want(host.name)  # STD-12
    await vc.remediation.restore(session, row.name, may_unlock=True)
    row = vc.vm(message.vm)
    if row.lock_event is not None:
        for key in row.missing:
            if key.provider_id not in vc.inventory.providers:
                raise InvalidState(f"key provider {key.provider_id} is not configured")
        missing = ", ".join(str(key) for key in row.missing)
        raise InvalidVmState(f"{row.name} is still locked; missing: {missing}", row.missing)
    return VmPowered(vm=vc.vm_info(row.name))


def _missing_there(session: HostSession, row: VmRow) -> tuple[CryptoKeyId, ...]:
    """Keys that the VM lacks by its host's report, and that vCenter has not recorded for it: the
    host was not believed when it named them."""
    listed = () if session.summary is None else session.summary.vms
    reported = next((vm for vm in listed if vm.vm == row.name), None)
    return () if reported is None else tuple(key for key in reported.missing if key not in row.keys)
