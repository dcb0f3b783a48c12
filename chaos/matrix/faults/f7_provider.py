"""F7: the provider is deleted from vCenter; it was the default, so none is left."""

from __future__ import annotations

from typing import ClassVar, Final

from chaos.faults.provider_delete import ProviderDeleteFault
from chaos.kmip_trust import register
from chaos.matrix import clock
from chaos.matrix.faults.base import DrivenFault, StagedFault
from chaos.matrix.scene import BESIDE, SERVERS_OF_P, P, Q, StagingScene
from chaos.matrix.terms import Knobs
from chaos.matrix.vsan import find_unmounted_hosts
from chaos.native_backups import take_backup
from chaos.observe.listing import all_providers, all_vms
from chaos.oracle.terms import TableFault
from protocol.crypto.transfer import seal_secret
from protocol.errors import ProductError
from protocol.messages.vcenter import (
    CreateNativeProvider,
    OpenTransfer,
    RegisterKmsCluster,
    UnregisterKmsCluster,
)
from protocol.terms import ManagementType, ProviderId

OTHER: Final = ProviderId("P-again")
REMOVE: Final[Knobs] = (("vsan_provider_delete", "remove"),)
"""The other answer to C26: a provider is deleted though vSAN uses it."""


class ProviderDeleted(StagedFault):
    """P leaves vCenter; its keys stay at its key servers, and Q stays too."""

    fault: ClassVar[TableFault] = TableFault.F7

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self._deleted = DrivenFault(
            scene, ProviderDeleteFault(id="F7", provider=P, vcenter=scene.vcenter)
        )

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
        locked = await self._fetch_locked()
        if self.scene.native:
            await self._same_kdk()
        elif self.scene.trusted:
            other = RegisterKmsCluster(
                provider=OTHER, management_type=ManagementType.TRUST_AUTHORITY, servers=()
            )
            await lab.ask(vcenter, other)
        else:
            await register(lab, vcenter, OTHER, SERVERS_OF_P)
        await self.scene.give(clock.SETTLED_S)  # also by vCenter's next pass
        unlocked = locked - await self._fetch_locked()
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
            key_derivation_key=seal_secret(opened.public_key, kept.kdk, "key derivation key"),
        )
        await lab.ask(vcenter, message)
        await take_backup(lab, vcenter, OTHER)

    async def _fetch_locked(self) -> set[str]:
        """VMs that are locked, and hosts whose encrypted disk groups are not mounted."""
        listed = await all_vms(self.scene.lab, self.scene.vcenter)
        vms = {str(vm.vm) for vm in listed if vm.lock_event is not None}
        return vms | {str(host) for host in await find_unmounted_hosts(self.scene)}

    async def verify_heal(self) -> str:
        return await self._deleted.verify_heal()


class DeletionRefused(StagedFault):
    """A standard provider whose keys vSAN uses is not deleted (C26); what was asked for is told."""

    fault: ClassVar[TableFault] = TableFault.F7

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self.answer = ""

    @staticmethod
    def holds(scene: StagingScene) -> bool:
        """Whether a deletion is refused in this lab."""
        (name, removed), *_ = REMOVE
        of_vsan = bool(scene.vsan_hosts) and not scene.native
        return of_vsan and scene.knob(name) != removed

    async def begin(self) -> None:
        try:
            await self.scene.lab.ask(self.scene.vcenter, UnregisterKmsCluster(provider=P))
        except ProductError as error:
            self.answer = type(error).__name__
        self.write("fault", self.scene.vcenter, "asked to delete", answer=self.answer or "done")

    async def bites(self) -> str:
        """It was asked for, and refused; P is listed, and is the default still."""
        return "the deletion was done" if not self.answer else await self.verify_heal()

    async def verify_heal(self) -> str:
        listed = await all_providers(self.scene.lab, self.scene.vcenter)
        is_default = any(one.provider == P and one.default for one in listed)
        return "" if is_default else f"{P} is not the default provider"
