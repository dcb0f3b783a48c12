"""A native provider in vCenter's database: made, backed up, used, changed, deleted, imported.

Beside the database lies ``symkey.dat``, under which the key derivation key (KDK) is kept: no blow
may part the one from the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

from chaos.administration import import_backup, take_backup
from chaos.observe.look import all_providers, all_vms
from protocol.crypto.provider_backup import read_backup
from protocol.errors import AlreadyExists
from protocol.messages.base import Request
from protocol.messages.vcenter.providers import (
    CreateNativeProvider,
    UnregisterKmsCluster,
    UpdateNativeProvider,
)
from protocol.messages.vcenter.vms import CreateVm
from protocol.terms import ClusterName, NodeName, ProviderId, VmName
from tests.sweep.scene import Scene
from tests.sweep.story import State, Step, Story

VCENTER: Final = NodeName("vcenter")
_NKP, _VM, _CLUSTER = ProviderId("nkp"), VmName("secret"), ClusterName("cluster-a")
_OTHER_ID: Final = "0b5a1f5e-6c0e-4e0c-9a43-0d5d3ad1c001"
_CHECKED: Final = b"keystead sweep of a native provider"
_NOT_BACKED_UP: Final = "NotBackedUp"


class NativeProvider(Story):
    """A state is what vCenter says of the provider, with a fingerprint of the KDK that it opens,
    and of the VM that is encrypted under it."""

    name = "native"
    watched = (VCENTER,)
    topology: ClassVar[Mapping[str, Any]] = {"hosts": 1, "vms": 1}

    def steps(self) -> tuple[Step, ...]:
        secret = CreateVm(
            operation_id="secret", vm=_VM, cluster=_CLUSTER, encrypted=True, provider=_NKP
        )
        other_id = UpdateNativeProvider(provider=_NKP, key_id=_OTHER_ID)
        return (
            Step("create it", _once(_create), _created),
            Step("back it up", _export, _backed_up),
            Step("create an encrypted VM", _asks(secret), _encrypted),
            Step("give its KDK another id", _asks(other_id), _updated),
            Step("reboot", _reboot, lambda old, new: old == new),
            Step("delete it", _asks(UnregisterKmsCluster(provider=_NKP)), _deleted),
            Step("import it", _once(_import), _imported),
        )

    async def look(self, scene: Scene) -> State:
        lab, found = scene.lab, dict[str, str]()
        providers = scene.service(VCENTER).vcenter.providers
        for info in await all_providers(lab, VCENTER):
            if info.provider != _NKP:
                continue
            row = providers.derives(_NKP)
            found["kdk"] = providers.native.kdk(row).fingerprint(_CHECKED)
            found["id"] = info.key_id
            missing = any(detail.endswith(_NOT_BACKED_UP) for detail in info.details)
            found["backup"] = "none" if missing else "taken"
        for vm in await all_vms(lab, VCENTER):
            if vm.vm == _VM:
                found["vm"] = "clear" if vm.key is None else "encrypted"
        if (backup := scene.notes.get("backup")) is not None:
            found["file"] = read_backup(backup.reveal(), "").kdk.fingerprint(_CHECKED)
        return found


Do = Callable[[Scene, int], Awaitable[object]]


def _asks(message: Request[Any]) -> Do:
    return lambda scene, attempt: scene.ask(VCENTER, message)


def _once(do: Callable[[Scene], Awaitable[object]]) -> Do:
    """A try after one that was not answered may find that it was done."""

    async def try_once(scene: Scene, attempt: int) -> None:
        try:
            await do(scene)
        except AlreadyExists:
            if attempt == 1:
                raise

    return try_once


async def _create(scene: Scene) -> None:
    await scene.ask(VCENTER, CreateNativeProvider(provider=_NKP))


async def _export(scene: Scene, attempt: int) -> None:
    scene.notes["backup"] = await take_backup(scene.lab, VCENTER, _NKP)


async def _import(scene: Scene) -> None:
    await import_backup(scene.lab, VCENTER, scene.notes["backup"])


async def _reboot(scene: Scene, attempt: int) -> None:
    await scene.lab.power_off(VCENTER, "crash")
    await scene.lab.power_on(VCENTER)
    await scene.settle()


# ---- what steps make of a state ------------------------------------------------------------------


def _changes(old: State, new: State) -> dict[str, tuple[Any, Any]]:
    names = {**old, **new}
    return {n: (old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)}


def _created(old: State, new: State) -> bool:
    return set(_changes(old, new)) == {"kdk", "id", "backup"} and new["backup"] == "none"


def _backed_up(old: State, new: State) -> bool:
    """Its file may have been lost with an answer that was lost; it is taken again then."""
    changed = _changes(old, new)
    file = changed.pop("file", (None, old["kdk"]))
    return changed == {"backup": ("none", "taken")} and file == (None, old["kdk"])


def _encrypted(old: State, new: State) -> bool:
    return _changes(old, new) == {"vm": (None, "encrypted")}


def _updated(old: State, new: State) -> bool:
    """Another id of the same KDK."""
    return _changes(old, new) == {"id": (old["id"], _OTHER_ID)}


def _deleted(old: State, new: State) -> bool:
    return set(_changes(old, new)) == {"kdk", "id", "backup"} and "kdk" not in new


def _imported(old: State, new: State) -> bool:
    """The KDK of the file is back, and counts as backed up."""
    gained = _changes(old, new)
    return set(gained) == {"kdk", "id", "backup"} and (new["kdk"], new["backup"]) == (
        old["file"],
        "taken",
    )
