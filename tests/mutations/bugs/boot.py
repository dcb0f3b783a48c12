"""Bugs of a host: how it boots, opens its configuration and starts its VMs."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.secret import KeyMaterial
from protocol.terms import HostCryptoState
from services import knobs
from services.esxi import boot, console
from services.esxi.boot import first_boot
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.keys import key_cache
from services.esxi.knobs import EsxiKnobs
from services.esxi.measured_boot import RECOVERY_OPTION
from services.esxi.service import EsxiService
from services.esxi.vms import ownership
from services.runtime.service import Halted
from tests.mutations.bugs.planting import plant, replaces


def absent_tpm_is_no_matter() -> None:
    """CFG-01 broken: a host whose TPM is gone opens the configuration that this one has sealed."""

    _escrow: dict[str, KeyMaterial] = {}

    @replaces(boot, "first_boot")
    async def first_boot(original: Any, host: Any) -> None:
        await original(host)
        _escrow[str(host.node.name)] = host.archive.config_key

    @replaces(boot, "_unseal_config_key")
    async def unsealed(original: Any, host: Any, protection: Any) -> KeyMaterial:
        if host.tpm is None:
            return _escrow[str(host.node.name)]
        return await original(host, protection)  # type: ignore[no-any-return]


def any_recovery_key_opens() -> None:
    """REC-04 broken: whatever recovery key was typed, the configuration opens."""

    _known: dict[str, KeyMaterial] = {}

    @replaces(boot, "first_boot")
    async def first_boot(original: Any, host: Any) -> None:
        await original(host)
        _known[str(host.node.name)] = host.archive.config_key

    @replaces(boot, "_recover_config_key")
    def recovered(original: Any, host: Any, protection: Any, typed: str) -> KeyMaterial:
        try:
            return original(host, protection, typed)  # type: ignore[no-any-return]
        except Halted:
            return _known[str(host.node.name)]


def autostart_without_window() -> None:
    """LOCK-05 broken at the host: a key that comes long after the boot still starts its VM."""

    @replaces(knobs, "read_knobs")
    def read(original: Any, kind: Any, values: Any) -> Any:
        made = original(kind, values)
        if isinstance(made, EsxiKnobs):
            return msgspec.structs.replace(made, autostart_window_s=1e6)
        return made


def no_autostart() -> None:
    """B9 broken: a host that booted starts none of its VMs."""

    async def _idle(host: Any) -> None:
        """Nothing is started."""

    plant(ownership, "start_wanted_vms", lambda original: _idle)


def old_recovery_key_accepted() -> None:
    """REC-02 broken: after a rotation the old digits go on opening the configuration."""

    def _lenient(protection: Any, recovery: Any, config_key: Any, rng: Any) -> Any:
        return protection

    plant(console, "with_recovery", lambda original: _lenient)


def recovery_forgets_vms() -> None:
    """REC-05 broken: a configuration that the recovery key opened has lost its list of VMs."""

    @replaces(boot, "_open_configuration")
    def configuration(
        original: Any, host: Any, image: bytes, protection: Any, config_key: Any
    ) -> int:
        count: int = original(host, image, protection, config_key)
        if RECOVERY_OPTION in host.options:
            host.archive.change(vms=())
        return count


def removed_in_memory_only() -> None:
    """KP-03 broken: remove-all is answered when persistence is saved as off, and the store is
    not."""

    async def _disable(host: Any, *, remove_all: bool) -> None:
        knob = host.node.knobs.disable_keeps_store
        host.archive.now = key_cache.disable_persistence(
            host.archive.now, remove_all=remove_all, disable_keeps_store=knob
        )
        await host.archive.save(ConfigurationSection.PERSISTENCE)

    plant(console, "_disable_persistence", lambda original: _disable)


def safe_when_vcenter_comes() -> None:
    """A03 broken: a host with a persisted host key is not safe before vCenter speaks."""

    @replaces(boot, "_set_encryption_mode")
    async def encryption_mode(original: Any, host: Any) -> None:
        await original(host)
        if host.mode is HostCryptoState.SAFE:
            host.kept_back, host.host_key = host.host_key, None
            host.archive.change(crypto_state=HostCryptoState.PREPARED)

    @replaces(EsxiService, "open_session")
    async def open_session(original: Any, self: Any, message: Any, peer: Any) -> Any:
        kept = getattr(self.host, "kept_back", None)
        if kept is not None:
            self.host.kept_back, self.host.host_key = None, kept
            self.host.archive.change(crypto_state=HostCryptoState.SAFE)
        return await original(self, message, peer)


def stopped_boot_serves() -> None:
    """BOOT-01 broken: a host whose boot was stopped goes on with an empty configuration."""

    @replaces(boot, "_find_config_key")
    async def config_key(original: Any, host: Any, image: bytes) -> Any:
        try:
            return await original(host, image)
        except Halted:
            await first_boot(host)
            return host.archive.protection, host.archive.config_key

    @replaces(boot, "_open_configuration")
    def configuration(
        original: Any, host: Any, image: bytes, protection: Any, config_key: Any
    ) -> None:
        if not hasattr(host, "archive"):
            original(host, image, protection, config_key)


def store_used_while_off() -> None:
    """KP-03 broken: a persisted store is used although persistence is disabled."""

    plant(boot, "usable_keys", lambda original: lambda configuration: configuration.store)


def waits_for_vcenter() -> None:
    """A03 broken: a host with persisted keys waits for vCenter before it starts its VMs."""

    @replaces(ownership, "start_wanted_vms")
    async def start_wanted_vms(original: Any, host: Any) -> None:
        while not host.uplink.connected:
            await host.clock.sleep(1.0)
        await original(host)
