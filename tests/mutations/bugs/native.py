"""Bugs of native key providers."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.crypto.derive import derive_key
from protocol.secret import KeyMaterial
from services.esxi import crypto_manager
from services.esxi.host import EsxiHost
from services.esxi.providers import native
from services.esxi.providers import native as of_hosts
from services.esxi.providers import native as on_host
from services.vcenter.hosts import remediation
from services.vcenter.hosts.key_delivery import KeyDelivery
from services.vcenter.inventory import change_provider
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.providers import native as at_vcenter
from services.vcenter.providers import native as of_vcenter
from services.vcenter.providers import registry
from services.vcenter.providers.native import NativeKeys
from services.vcenter.tasks import encrypt
from tests.mutations.bugs.planting import plant, replaces


def backup_before_download() -> None:
    """NKP-03 broken: an export counts as a backup before anybody has its file."""

    @replaces(ProviderHandlers, "export_provider")
    async def export_provider(original: Any, self: Any, message: Any, peer: Any) -> Any:
        location = await original(self, message, peer)
        row = self.vcenter.inventory.providers[message.provider]
        done = msgspec.structs.replace(row.native, backed_up=True)
        await self.vcenter.inventory.commit(change_provider(row.name, native=done))
        return location


def derivation_ignores_kdk() -> None:
    """NKP-14 broken: a key depends on its id alone, so that any KDK makes it."""

    from protocol.crypto import derive

    def _of_the_id(_: object) -> object:
        def derive_kek(kdk: KeyMaterial, key_id: str) -> KeyMaterial:
            return derive_key(KeyMaterial(b"the same for all" * 2), salt=b"", info=key_id.encode())

        return derive_kek

    for user in (derive, of_hosts, of_vcenter):
        plant(user, "derive_kek", _of_the_id)


def derived_host_key_unchecked() -> None:
    """NKP-18 broken: a host takes whatever it derives for its host key."""

    class _Anything(str):
        """Equal to every check value."""

        def __new__(cls, _: Any) -> _Anything:
            return super().__new__(cls, "anything")

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            return True

    plant(native, "check_value", lambda _: _Anything)


def derived_key_outlives_eviction() -> None:
    """DEL-02 broken: a key that the host derived stays in its cache when its provider is
    evicted."""

    @replaces(crypto_manager, "evict_provider")
    async def evict(original: Any, host: Any, provider: Any) -> tuple[int, int]:
        kept = [host.keys[key] for key in host.derived if key.provider_id == provider]
        done = await original(host, provider)
        for entry in kept:
            host.keys.put(entry)
        return done  # type: ignore[no-any-return]


def derived_keys_stored() -> None:
    """A derived key goes into the persisted store, where it outlives its KDK."""

    plant(EsxiHost, "storable", lambda _: lambda self, entries: list(entries))


def export_by_any_name() -> None:
    """NKP-03 broken: vCenter exports a native provider whatever name or address it was reached
    by."""

    from services.vcenter.tasks import providers

    plant(providers, "_by_name", lambda original: lambda vc, authority: None)


def kdk_by_reconciliation_only() -> None:
    """NKP-15 broken: a KDK that a host lacks comes with the reconciliation, and not on demand, once
    there are VMs."""

    @replaces(remediation.Remediation, "run")
    async def run(
        original: Any, self: Any, session: Any, *, removing: bool = False, **how: Any
    ) -> Any:
        self.reconciles = removing
        return await original(self, session, removing=removing, **how)

    @replaces(remediation.Remediation, "_set_providers")
    async def set_providers(original: Any, self: Any, session: Any, providers: Any) -> Any:
        if getattr(self, "reconciles", False) or not self._inventory.vms:
            return await original(self, session, providers)
        return None


def kdk_in_clear_at_rest() -> None:
    """NKP-10 and custody broken: vCenter keeps the KDK of a native provider as it is."""

    @replaces(NativeKeys, "wrap_kdk")
    async def kept(
        original: Any, self: Any, provider: Any, key_id: str, kdk: Any, *, tpm_required: bool
    ) -> Any:
        made = await original(self, provider, key_id, kdk, tpm_required=tpm_required)
        return msgspec.structs.replace(made, wrapped=kdk.reveal())

    plant(NativeKeys, "kdk", lambda _: lambda self, row: KeyMaterial(row.native.wrapped))


def left_out_lacks_a_key() -> None:
    """NKP-12 broken: a host without the TPM that a provider requires says that it lacks a key."""

    plant(EsxiHost, "is_excluded", lambda original: lambda self, provider: False)


def new_host_without_kdk() -> None:
    """NKP-15 broken: a host that is added once there are VMs is brought no provider."""

    @replaces(KeyDelivery, "set_providers")
    async def set_providers(original: Any, self: Any, session: Any, providers: Any) -> None:
        if session.summary.providers or not self._inventory.vms:
            await original(self, session, providers)


def provider_deletion_not_pushed() -> None:
    """NKP-02 broken: hosts are not told that a native provider was deleted."""

    @replaces(KeyDelivery, "set_providers")
    async def set_providers(original: Any, self: Any, session: Any, providers: Any) -> None:
        if len(providers) >= len(session.summary.providers):
            await original(self, session, providers)


def tpm_requirement_forgotten() -> None:
    """NKP-12 broken on both sides: that a provider requires a TPM is asked by nobody."""

    @replaces(at_vcenter, "takes_kdk")
    @replaces(registry, "takes_kdk")
    def takes_kdk(original: Any, row: Any, summary: Any) -> Any:
        return original(row, msgspec.structs.replace(summary, tpm_present=True))

    plant(on_host, "is_excluded", lambda original: lambda ref, *, tpm_present: False)
    plant(EsxiHost, "is_excluded", lambda original: lambda self, provider: False)


def tpm_requirement_ignored() -> None:
    """NKP-12 broken: a host without a TPM takes part in a provider that requires one."""

    plant(native, "is_excluded", lambda _: lambda ref, *, tpm_present: False)


def unexported_provider_usable() -> None:
    """NKP-05 broken: a native provider is used before anybody has a backup of it."""

    from services.vcenter.providers import native

    plant(native, "check_backed_up", lambda _: lambda row: None)
    plant(encrypt, "check_backed_up", lambda _: lambda row: None)
