"""Rows outside of the grid about VMs with a second disk under a key of its own.

Such a VM is locked, and not invalid, when that key alone is missing: it starts without that disk
(LOCK-03). What cells are compared for, the judged VM's keys, is the key of the second disk.
"""

from __future__ import annotations

from typing import Final

from chaos.backups import back_up
from chaos.faults.link_cut import LinkCutFault
from chaos.lab import REFUSALS
from chaos.matrix.beside import Beside
from chaos.matrix.faults import StagedFault
from chaos.matrix.faults.base import DrivenFault
from chaos.matrix.faults.f8_key import KeyDestroyed
from chaos.matrix.scene import BACKUP, SERVERS_OF_P, SERVERS_OF_Q, Q, StagingScene
from chaos.matrix.twist import Twist
from chaos.observe.listing import all_vms
from protocol.messages.vcenter import AddDisk, PowerOffVm, PowerOnVm, RemoveDisk
from protocol.terms import PowerState, ProviderId, VmConnectionState, VmName

SECOND: Final = 2
LABEL: Final = f"Hard disk {SECOND}"


class _SecondDisk(Twist):
    """Each judged VM gets one, under a new key of ``provider``; None: of the default one."""

    provider: ProviderId | None = None

    async def prepare(self, scene: StagingScene) -> str:
        for info in await all_vms(scene.lab, scene.vcenter):
            if info.vm in scene.judged:
                runs = info.power is PowerState.ON
                if wrong := await self._add_disk(scene, info.vm, runs=runs):
                    return wrong
        scene.locked_as = VmConnectionState.CONNECTED
        return ""

    async def _add_disk(self, scene: StagingScene, vm: VmName, *, runs: bool) -> str:
        if runs:
            await scene.ask_vcenter(PowerOffVm(vm=vm))
        add = AddDisk(operation_id=f"matrix/{vm}/disk", vm=vm, provider=self.provider, own_key=True)
        disks = (await scene.ask_vcenter(add)).disks
        key = next(disk.key for disk in disks if disk.disk == SECOND)
        if key is None or key in scene.keys[vm]:
            return f"{LABEL} of {vm} has no key of its own"
        scene.keys[vm] = (key,)
        if runs:
            await scene.ask_vcenter(PowerOnVm(vm=vm))
        return ""


class KeysOfTwo(_SecondDisk):
    """The second disk is under a key of Q, whose server nobody reaches; P is well. A start needs
    both keys, and is refused for the one that is missing."""

    provider = Q
    in_order = False  # its host gets its own key of P, whoever is away

    def fault(self, scene: StagingScene) -> StagedFault | None:
        cut = LinkCutFault(id="X16", a=scene.clients_of_servers, b=SERVERS_OF_Q)
        return Beside(scene, DrivenFault(scene, cut))


class DiskKeyDestroyed(_SecondDisk):
    """The key of the second disk is destroyed at its key servers, and that of the home is not: a
    start is refused with the disk's name, and done when it is taken away."""

    async def prepare(self, scene: StagingScene) -> str:
        wrong = await super().prepare(scene)
        await back_up(scene.lab, SERVERS_OF_P, BACKUP)  # with the new key
        return wrong

    def fault(self, scene: StagingScene) -> StagedFault | None:
        return _OfDisk(scene)

    async def find_deviation(self, scene: StagingScene) -> str:
        for vm in sorted(scene.judged):
            if wrong := await _starts_without(scene, vm):
                return f"{vm}: {wrong}"
        return ""


class _OfDisk(KeyDestroyed):
    """The key is known when the disk has been added."""

    async def begin(self) -> None:
        self.know()
        await super().begin()


async def _starts_without(scene: StagingScene, vm: VmName) -> str:
    """Empty when a start is refused for the second disk by name, and done without it."""
    try:
        await scene.ask_vcenter(PowerOnVm(vm=vm))
        return "it starts without the key of a disk"
    except REFUSALS as error:
        if LABEL not in str(error):
            return f"what refuses its start does not name {LABEL}: {error}"
    host = next(info.host for info in await all_vms(scene.lab, scene.vcenter) if info.vm == vm)
    await scene.ask_vcenter(RemoveDisk(vm=vm, disk=SECOND))
    await scene.ask_vcenter(PowerOnVm(vm=vm))
    asked = await scene.guests.challenge(vm, host)
    await scene.ask_vcenter(PowerOffVm(vm=vm))
    return "" if asked.right else f"without {LABEL} its guest is not right: {asked.detail}"
