"""F7: the provider is deleted from vCenter; it was the default, so none is left."""

from __future__ import annotations

from typing import ClassVar, Final

from chaos.faults.provider_delete import ProviderDelete
from chaos.matrix import clock
from chaos.matrix.faults.base import Held, StagedFault
from chaos.matrix.scene import BESIDE, SERVERS_OF_P, P, Q, Scene
from chaos.native_backups import take_backup
from chaos.observe.listing import all_providers, all_vms
from chaos.oracle.terms import Fault
from protocol.crypto.transfer import closed
from protocol.messages.vcenter import (
    CreateNativeProvider,
    KmipServer,
    OpenTransfer,
    RegisterKmsCluster,
    UnregisterKmsCluster,
)
from protocol.terms import ManagementType, ProviderId, VmName

OTHER: Final = ProviderId("P-again")


class ProviderDeleted(StagedFault):
    """P leaves vCenter; its keys stay at its key servers, and Q stays too."""

    fault: ClassVar[Fault] = Fault.F7

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._deleted = Held(scene, ProviderDelete(id="F7", provider=P, vcenter=scene.vcenter))

    async def begin(self) -> None:
        await self._deleted.survey()
        await self._deleted.begin()
        self.write("fault", self.scene.vcenter, "deleted", provider=P)

    async def bites(self) -> str:
        """vCenter lists no P and no default, and lists Q."""
        if wrong := await self._deleted.bites():
            return wrong
        listed = await all_providers(self.scene.lab, self.scene.vcenter)
        names = {one.provider for one in listed}
        if names - {BESIDE} != {Q} or any(one.default for one in listed):
            return f"vCenter lists {[one.provider for one in listed]}"
        return ""

    async def end(self) -> None:
        """Added again under the same name, made the default; host encryption mode re-enabled.

        Under another name first, with the same key servers or KDK: that must unlock nobody.
        """
        await self._under_another_name()
        await self._deleted.heal()
        self.write("heal", self.scene.vcenter, "added again", provider=P)

    async def _under_another_name(self) -> None:
        lab, vcenter = self.scene.lab, self.scene.vcenter
        locked = await self._locked()
        if self.scene.native:
            await self._same_kdk()
        elif self.scene.trusted:
            other = RegisterKmsCluster(
                provider=OTHER, management_type=ManagementType.TRUST_AUTHORITY, servers=()
            )
            await lab.ask(vcenter, other)
        else:
            servers = tuple(KmipServer(name=str(node), node=node) for node in SERVERS_OF_P)
            await lab.ask(vcenter, RegisterKmsCluster(provider=OTHER, servers=servers))
        await self.scene.give(clock.SETTLED_S)  # also by vCenter's next pass
        unlocked = locked - await self._locked()
        await lab.ask(vcenter, UnregisterKmsCluster(provider=OTHER))
        self.write("heal", vcenter, "added under another name", unlocked=sorted(unlocked))
        if unlocked:
            self.wrong = f"a provider of another name has unlocked {', '.join(sorted(unlocked))}"

    async def _same_kdk(self) -> None:
        lab, vcenter, kept = self.scene.lab, self.scene.vcenter, self.scene.kdks[P]
        opened = await lab.ask(vcenter, OpenTransfer())
        message = CreateNativeProvider(
            provider=OTHER,
            key_id=kept.key_id,
            transfer=opened.transfer,
            key_derivation_key=closed(opened.public_key, kept.kdk, "key derivation key"),
        )
        await lab.ask(vcenter, message)
        await take_backup(lab, vcenter, OTHER)

    async def _locked(self) -> set[VmName]:
        listed = await all_vms(self.scene.lab, self.scene.vcenter)
        return {vm.vm for vm in listed if vm.lock_event is not None}

    async def healed(self) -> str:
        return await self._deleted.healed()
