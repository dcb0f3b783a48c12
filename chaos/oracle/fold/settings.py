"""What the lab's knobs make of times and rules; defaults are those of ``keystead explain knob``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from chaos.oracle.effects import Takes
from chaos.oracle.facts import Change, Overrides

PCR_FIRMWARE, PCR_SECURE_BOOT, PCR_MODULES = 0, 7, 8
SLACK_S = 60.0
"""Lab seconds that anything may take on top of its period."""


class FoldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The knobs that a run's facts depend on, in lab seconds."""

    remediation_interval_s: float = 300.0
    provider_delete_grace_s: float = 300.0
    autostart_window_s: float = 60.0
    boot_step_s: float = 5.0
    request_timeout_s: float = 10.0
    config_save: str = "immediate"
    persist_on_enable: bool = True
    disable_keeps_store: bool = True
    evict_on_provider_delete: bool = True
    host_key_renewal: bool = True
    trust_retry_s: float = 60.0
    fdm_period_s: float = 5.0
    kps_primary_key_cache: bool = False
    persist_overrides_attestation: Overrides = Overrides.UNREACHABLE_ONLY
    seal_pcrs: tuple[int, ...] = (PCR_SECURE_BOOT,)

    @classmethod
    def of(cls, knobs: Mapping[str, Any]) -> FoldSettings:
        """Those of a lab whose file sets these knobs."""
        known = {name: value for name, value in knobs.items() if name in cls.__struct_fields__}
        return msgspec.convert(known, cls)

    @property
    def begin_s(self) -> float:
        """What was there by then was there before the run, and had been used."""
        return 1.0

    @property
    def repair_s(self) -> float:
        """So long after a way is there again, vCenter has used it (STD-10)."""
        return self.remediation_interval_s + SLACK_S

    @property
    def connect_s(self) -> float:
        """So long after a host is up, vCenter has come to it (B8)."""
        return 5 * self.boot_step_s + SLACK_S

    @property
    def again_s(self) -> float:
        """So long after the services are there again, a trusted host has asked them (KPS-06)."""
        return 1.25 * self.trust_retry_s + SLACK_S

    @property
    def tries_s(self) -> float:
        """So long after it is up, a host tries to start its VMs (B9)."""
        return self.autostart_window_s + 2 * self.boot_step_s + 3 * self.request_timeout_s

    @property
    def judges_s(self) -> float:
        """So long after its boot an HA agent judges hosts that it has not heard yet (HA-01)."""
        return 120.0 + SLACK_S

    @property
    def restart_s(self) -> float:
        """So long after a host has failed, its VMs run on others: an agent has to be elected, to
        miss three heartbeats, and to look at the datastore (HA-01)."""
        return 10 * self.fdm_period_s + SLACK_S

    @property
    def boot_s(self) -> float:
        """A boot takes no longer."""
        return 10 * self.boot_step_s + SLACK_S

    @property
    def grace_s(self) -> float:
        """Keys of a deleted provider stay at least so long (C4)."""
        return self.provider_delete_grace_s

    @property
    def saves_at_once(self) -> bool:
        """What is persisted is on disk when it is acknowledged (C11)."""
        return self.config_save == "immediate"

    def change_by(
        self, takes: Collection[Takes], fault: Mapping[str, Any], secure_boot: bool | None
    ) -> Change:
        """What a fault that takes this, with these fields, changes of a boot: what the policy
        covers, the TPM, or only what is measured (F5a, F6, F5b)."""
        if Takes.TPM in takes or Takes.NEXT_TPM in takes:
            return Change.TPM
        if Takes.NEXT_MEASUREMENTS not in takes:
            return Change.POLICY
        registers = set()
        if fault.get("secure_boot") is not None and fault["secure_boot"] != secure_boot:
            registers.add(PCR_SECURE_BOOT)
        if fault.get("version"):
            registers.add(PCR_FIRMWARE)
        if fault.get("build"):
            registers.add(PCR_MODULES)
        if fault.get("event"):
            registers.add(int(fault.get("pcr", PCR_SECURE_BOOT)))
        if registers & set(self.seal_pcrs):
            return Change.POLICY
        return Change.IMAGE if registers else Change.NOTHING
