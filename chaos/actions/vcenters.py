"""What vCenter knows of keys, and its own backups, as its administrator takes and restores them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from chaos.actions.base import Acting, Action, ActionTarget, On, on_vms
from chaos.backups import back_up
from chaos.faults.base import Params
from chaos.installs import restore_vcenter
from chaos.kmip_trust import lose_passwords
from chaos.naming import name_validator
from chaos.observe.listing import all_vms
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import NotFound
from protocol.messages.vcenter import AddKey, RemoveKey
from protocol.terms import CryptoKeyId, NodeName, VmName


class RemoveParams(On):
    """The keys of which VMs; ``force``: also while something uses them."""

    force: bool = False


class VcenterBackupParams(Params):
    """Its name, and of which vCenter it is; when that is left out, of the first."""

    backup: Annotated[str, name_validator(names.BACKUP)]
    vcenter: Annotated[str, name_validator(names.NODE)] | None = None


class VcenterRestoreParams(VcenterBackupParams):
    """``without_passwords``: the backup lacks the passwords of users at KMIP servers."""

    without_passwords: bool = False


async def _keys(acting: Acting, vcenter: NodeName, vm: str) -> tuple[CryptoKeyId, ...]:
    """The keys of ``vm``, as its vCenter names them; ``NotFound`` when it names none."""
    listed = await all_vms(acting.lab, vcenter)
    found = [one for one in listed if one.vm == VmName(vm) and one.key is not None]
    if not found:
        raise NotFound(f"{vcenter} knows no key of {vm}")
    return tuple(one.key for one in found if one.key is not None)


def _build_outcome(keys: tuple[CryptoKeyId, ...]) -> OperationOutcome:
    return OperationOutcome("ok", {"keys": sorted(str(key.key_id) for key in keys)})


async def _remove(acting: Acting, vm: str, params: Any) -> OperationOutcome:
    vcenter = await acting.vcenter(vm)
    keys = await _keys(acting, vcenter, vm)
    for key in keys:
        await acting.ask(vcenter, RemoveKey(key=key, force=params.force))
    return _build_outcome(keys)


async def _add(acting: Acting, vm: str, params: Any) -> OperationOutcome:
    vcenter = await acting.vcenter(vm)
    keys = await _keys(acting, vcenter, vm)
    for key in keys:
        await acting.ask(vcenter, AddKey(key=key))
    return _build_outcome(keys)


async def _back_up(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vcenter = await acting.vcenter("", params)
    await back_up(acting.lab, (vcenter,), params.backup)
    return OperationOutcome("ok", {"vcenter": str(vcenter)})


async def _restore(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """``gone`` of the outcome are the providers that are gone by it, ``no_password`` those whose
    passwords are."""
    vcenter = await acting.vcenter("", params)
    gone = await restore_vcenter(acting.lab, vcenter, params.backup)
    data = {"vcenter": str(vcenter), "gone": list(map(str, gone))}
    if params.without_passwords:
        data["no_password"] = [
            str(provider) for provider in await lose_passwords(acting.lab, vcenter)
        ]
    return OperationOutcome("ok", data)


ACTIONS: Final = (
    on_vms(
        "vcenter.key.remove",
        "remove the keys of VMs from vCenter; by force, also from hosts",
        _remove,
        RemoveParams,
        "on: vm-01, force: true",
    ),
    on_vms("vcenter.key.add", "register the keys of VMs in vCenter again", _add),
    Action(
        "vcenter.backup",
        ActionTarget.NOTHING,
        "take a file-based backup of a vCenter; it is stopped for it",
        _back_up,
        VcenterBackupParams,
        "backup: monday",
    ),
    Action(
        "vcenter.restore",
        ActionTarget.NOTHING,
        "restore a backup of a vCenter; later changes are gone",
        _restore,
        VcenterRestoreParams,
        "backup: monday",
    ),
)
