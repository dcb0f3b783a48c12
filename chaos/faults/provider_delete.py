"""``provider.delete``: a key provider is deleted from vCenter (F7); use does not block it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets
from chaos.kmip_trust import by_kmip, trust_each_other
from chaos.lab import Directory, LabUnderTest
from chaos.native_backups import import_backup, take_backup
from chaos.observe.listing import all_hosts, all_providers
from chaos.oracle.effects import FaultEffect, Takes
from chaos.providers import kind_of
from protocol.crypto.certificates import key_digest
from protocol.errors import ProductError
from protocol.messages.vcenter import (
    ConfigureCryptoKey,
    MarkDefault,
    ProviderInfo,
    RegisterKmsCluster,
    UnregisterKmsCluster,
)
from protocol.messages.vcenter.kmip import RetrieveClientCert
from protocol.secret import KeyMaterial
from protocol.terms import (
    HostConnectionState,
    HostCryptoState,
    NodeName,
    ProviderId,
)

NOT_BACKED_UP: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotBackedUp"
NOT_CONFIRMED_BY: Final = "not_confirmed_by"
NOT_AVAILABLE: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotAvailable"


class ProviderParams(Params):
    """Which provider, and of which vCenter; what is left out is the lab's default provider, and
    its first vCenter."""

    provider: str | None = None
    vcenter: str | None = None


class ProviderDeleteFault(Fault, frozen=True, kw_only=True):
    """A key provider is removed from vCenter, with the passwords of its servers' entries.

    Hosts evict its keys after the grace period; its keys stay on the key servers. A native or
    trusted provider has left the hosts when the deletion ends, but for hosts that did not confirm
    it within ``request_timeout_s``, which are named.
    """

    kind: ClassVar[str] = "provider.delete"
    example: ClassVar[str] = ""
    effect: ClassVar[FaultEffect] = FaultEffect(
        (Takes.PROVIDER,), undone_with=("provider", "vcenter")
    )
    drawn: ClassVar[Drawn] = Drawn.RARE
    params: ClassVar[type[Params]] = ProviderParams
    reversible: ClassVar[bool] = False
    provider: ProviderId
    vcenter: NodeName
    named: bool = False  # whether the file says which vCenter

    @classmethod
    def of(cls, id: str, params: ProviderParams, targets: Targets) -> Fault:
        provider, vcenter = targets.provider(params.provider, params.vcenter)
        named = params.vcenter is not None
        return cls(id=id, provider=provider, vcenter=vcenter, named=named)

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return None if directory.default_provider is None else {}

    def file_fields(self) -> dict[str, Any]:
        at = {"vcenter": str(self.vcenter)} if self.named else {}
        return {"provider": str(self.provider), **at}

    def touches(self) -> tuple[NodeName, ...]:
        return (self.vcenter,)

    def summary(self) -> str:
        return f"key provider {self.provider} deleted at {self.vcenter}"

    async def _find_provider(self, lab: LabUnderTest) -> ProviderInfo | None:
        providers = await all_providers(lab, self.vcenter)
        return next((p for p in providers if p.provider == self.provider), None)

    async def survey(self, lab: LabUnderTest) -> Notes:
        listed = await self._find_provider(lab)
        if listed is None:
            raise ChaosError("KS-CHAOS-106", f"{self.vcenter} has no provider {self.provider}")
        notes: Notes = {"provider": msgspec.to_builtins(listed)}
        if by_kmip(lab, listed.servers):
            shown = await lab.ask(self.vcenter, RetrieveClientCert(provider=self.provider))
            if shown.certificate is not None:
                notes["client"] = key_digest(shown.certificate.certificate).hex()
        if kind_of(listed.management_type).derived:
            if {NOT_BACKED_UP, NOT_AVAILABLE} & set(listed.details):  # our backup would change it
                return notes
            backup = await take_backup(lab, self.vcenter, self.provider)
            notes["backup"] = b64encode(backup.reveal()).decode()
        return notes

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        deleted = await lab.ask(self.vcenter, UnregisterKmsCluster(provider=self.provider))
        notes[NOT_CONFIRMED_BY] = list(deleted.hosts)

    def history_fields(self, notes: Notes) -> dict[str, Any]:
        """Hosts that have not confirmed that they dropped the provider, when it was deleted."""
        hosts = notes.get(NOT_CONFIRMED_BY)
        return {NOT_CONFIRMED_BY: hosts} if hosts else {}

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        return "it is still listed" if await self._find_provider(lab) is not None else ""

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        listed = await self._find_provider(lab)
        if listed is None:
            return f"{self.vcenter} lists no provider {self.provider}"
        before = msgspec.convert(notes["provider"], ProviderInfo)
        if listed.servers != before.servers or listed.key_id != before.key_id:
            return f"{self.provider} is listed with other servers, or another key"
        if before.default and not listed.default:
            return f"{self.provider} is no longer the default"
        return ""

    def cure_text(self) -> str:
        return (
            f"add a provider of exactly the name {self.provider} with the servers it had, their "
            "user names and passwords (a native one: import its backup), have vCenter and its KMIP "
            "servers trust each other, make it the default again if it was, and re-enable host "
            "encryption mode where it is lost"
        )

    async def cure(self, lab: LabUnderTest, notes: Notes) -> None:
        before = msgspec.convert(notes["provider"], ProviderInfo)
        users = [one.name for one in before.servers if one.user_name]
        if users and await self._find_provider(lab) is None:
            text = f"{', '.join(users)} had a user name: nobody but a person has the password"
            raise ChaosError("KS-CHAOS-107", f"{text}; add {self.provider} by hand first")
        try:
            if kind_of(before.management_type).derived:
                await self._import(lab, before, notes)
            else:
                await lab.ask(
                    self.vcenter,
                    RegisterKmsCluster(
                        provider=self.provider,
                        management_type=before.management_type,
                        servers=before.servers,
                        make_default=before.default,
                    ),
                )
                # what vCenter trusted, and the certificate that it showed, went with the provider
                kmip = by_kmip(lab, before.servers)
                like = notes.get("client", "")
                names = {one.node: one.name for one in before.servers if one.node}
                await trust_each_other(
                    lab, self.vcenter, self.provider, kmip, like=like, names=names
                )
            for host in await all_hosts(lab, self.vcenter):
                connected = host.connection is HostConnectionState.CONNECTED
                if connected and host.crypto_state is not HostCryptoState.SAFE:
                    await lab.ask(self.vcenter, ConfigureCryptoKey(host=host.host))
        except ProductError as error:
            raise ChaosError("KS-CHAOS-107", f"{type(error).__name__}: {error}") from error

    async def _import(self, lab: LabUnderTest, before: ProviderInfo, notes: Notes) -> None:
        if "backup" not in notes:
            text = f"{self.provider} was not backed up before it was deleted: its keys are lost"
            raise ChaosError("KS-CHAOS-107", text)
        listed = await self._find_provider(lab)
        if listed is not None and listed.key_id == before.key_id:  # a person, or a cure before
            if before.default and not listed.default:
                await lab.ask(self.vcenter, MarkDefault(provider=self.provider))
            return
        backup = KeyMaterial(b64decode(notes["backup"]))
        await import_backup(lab, self.vcenter, backup, make_default=before.default)
