"""F7 and F8: keys are gone at their source.

F7: the provider is deleted from vCenter; it was the default, so none is left. F8: the key of the
judged VM is destroyed at its key servers; the primary key where keys are a Trust Authority's; the
provider made anew with another KDK where hosts derive keys.
"""

from __future__ import annotations

from typing import ClassVar, Final

from chaos.administration import import_backup, register, take_backup
from chaos.faults.keys import KeyAct, KmsKeyState, ProviderDeleteFault
from chaos.matrix import clock
from chaos.matrix.faults.base import DrivenFault, StagedFault
from chaos.matrix.scene import BACKUP, BESIDE, SERVERS_OF_P, P, Q, StagingScene, Void
from chaos.matrix.terms import Knobs, Variant
from chaos.matrix.vsan import find_unmounted_hosts
from chaos.observe.look import all_hosts, all_providers, all_vms
from chaos.oracle.terms import TableFault
from protocol.crypto.provider_backup import BackupContent, read_backup, write_backup
from protocol.crypto.transfer import seal_secret
from protocol.errors import ProductError
from protocol.messages.kms.keys import Locate
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import (
    CreateNativeProvider,
    OpenTransfer,
    RegisterKmsCluster,
    UnregisterKmsCluster,
)
from protocol.secret import KeyMaterial
from protocol.terms import (
    HostConnectionState,
    HostCryptoState,
    KeyId,
    ManagementType,
    ProviderId,
)

OTHER: Final = ProviderId("P-again")
REMOVE: Final[Knobs] = (("vsan_provider_delete", "remove"),)
"""The other answer to C26: a provider is deleted though vSAN uses it."""


class ProviderDeleted(StagedFault):
    """P leaves vCenter; its keys stay at its key servers, and Q stays too."""

    fault: ClassVar[TableFault] = TableFault.F7

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene, ProviderDeleteFault(id="F7", provider=P, vcenter=scene.vcenter))

    async def begin(self) -> None:
        await super().begin()
        self.write("fault", self.scene.vcenter, "deleted", provider=P)

    async def bites(self) -> str:
        """vCenter lists no P and no default, and lists Q."""
        if wrong := await super().bites():
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
        await super().end()
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


_ACTS: Final = {
    Variant.USUAL: KeyAct.DESTROY,
    Variant.DEACTIVATED: KeyAct.DEACTIVATE,
    Variant.COMPROMISED: KeyAct.COMPROMISE,
}


class KeyDestroyed(StagedFault):
    """The KEK of each judged VM is destroyed, or deactivated, or compromised; every other key stays
    as it is. Where the judged VM is yet to be made, that of the VM which is there; where the event
    is about an encrypted vSAN, the KEK of that, and not its host key.
    """

    fault: ClassVar[TableFault] = TableFault.F8
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant.USUAL,
        Variant.DEACTIVATED,
        Variant.COMPROMISED,
    )
    restores_keys: ClassVar[bool] = True

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self.know()

    def know(self) -> None:
        """Which keys are to be destroyed: those that the judged VMs have now."""
        scene = self.scene
        self._vms = sorted(scene.judged or scene.keys)
        keys = tuple(key.key_id for vm in self._vms for key in scene.keys[vm])
        if scene.on_vsan is not None:
            keys = (scene.on_vsan.kek.key_id,)
        self._hold(keys)

    def _hold(self, keys: tuple[KeyId, ...]) -> None:
        changed = KmsKeyState(
            id="F8",
            state=_ACTS[self.scene.variant],
            keys=keys,
            backup=BACKUP,
            servers=SERVERS_OF_P,
            vcenters=(self.scene.vcenter,),
        )
        self.held = DrivenFault(self.scene, changed)

    async def begin(self) -> None:
        await super().begin()
        self.write("fault", SERVERS_OF_P[0], self.scene.variant or "destroyed", vms=self._vms)

    async def end(self) -> None:
        """The backup that was made before the fault is put back."""
        await super().end()
        self.write("heal", SERVERS_OF_P[0], "restored")


class PrimaryKeyDestroyed(KeyDestroyed):
    """Every key of P is wrapped by that one key, and by no other one of its key servers."""

    variants: ClassVar[tuple[Variant, ...]] = (Variant.USUAL,)

    async def begin(self) -> None:
        server = SERVERS_OF_P[0]
        keys = (await self.scene.lab.ask(server, Locate())).key_ids
        if len(keys) != 1:
            raise Void(f"{server} has {len(keys)} keys beside a primary key")
        self._hold(keys)
        await StagedFault.begin(self)
        self.write("fault", server, "primary key destroyed")


class ProviderMadeAnew(StagedFault):
    """P is deleted and made again, backed up, and not made the default: nothing of it is what it
    was but its name (NKP-18)."""

    fault: ClassVar[TableFault] = TableFault.F8
    restores_keys: ClassVar[bool] = True

    async def begin(self) -> None:
        lab, vcenter = self.scene.lab, self.scene.vcenter
        await lab.ask(vcenter, UnregisterKmsCluster(provider=P))
        await lab.ask(vcenter, CreateNativeProvider(provider=P))
        await take_backup(lab, vcenter, P)
        self.write("fault", vcenter, "made anew", provider=P)

    async def bites(self) -> str:
        """What vCenter exports under the name has another id and another KDK; no default is left,
        and it is backed up."""
        before, now = self.scene.kdks[P], await self._export_provider()
        if now.key_id == before.key_id or now.kdk == before.kdk:
            return f"{P} has the key derivation key of before"
        listed = await all_providers(self.scene.lab, self.scene.vcenter)
        return "there is a default provider" if any(one.default for one in listed) else ""

    async def _export_provider(self) -> BackupContent:
        file = await take_backup(self.scene.lab, self.scene.vcenter, P)
        return read_backup(file.reveal(), "")

    async def end(self) -> None:
        """The new one is deleted, the right backup imported and made the default; host encryption
        mode re-enabled."""
        lab, vcenter = self.scene.lab, self.scene.vcenter
        await lab.ask(vcenter, UnregisterKmsCluster(provider=P))
        right = KeyMaterial(write_backup(self.scene.kdks[P], ""))
        await import_backup(lab, vcenter, right, make_default=True)
        for host in await all_hosts(lab, vcenter):
            connected = host.connection is HostConnectionState.CONNECTED
            if connected and host.crypto_state is not HostCryptoState.SAFE:
                await lab.ask(vcenter, ConfigureCryptoKey(host=host.host))
        self.write("heal", vcenter, "right backup imported", provider=P)

    async def verify_heal(self) -> str:
        found = await self._export_provider()
        if (found.key_id, found.kdk) != (self.scene.kdks[P].key_id, self.scene.kdks[P].kdk):
            return f"{P} is not as it was"
        listed = await all_providers(self.scene.lab, self.scene.vcenter)
        is_default = any(one.provider == P and one.default for one in listed)
        return "" if is_default else f"{P} is no longer the default"
