"""F8 where hosts derive keys: the provider is made anew under its name, with another KDK."""

from __future__ import annotations

from typing import ClassVar

from chaos.matrix.faults.base import StagedFault
from chaos.matrix.scene import P
from chaos.native_backups import import_backup, take_backup
from chaos.observe.listing import all_hosts, all_providers
from chaos.oracle.terms import TableFault
from protocol.crypto.provider_backup import BackupContent, read_backup, write_backup
from protocol.messages.vcenter import (
    ConfigureCryptoKey,
    CreateNativeProvider,
    UnregisterKmsCluster,
)
from protocol.secret import KeyMaterial
from protocol.terms import HostConnectionState, HostCryptoState


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
