"""``host.boot_measure``: the next boots measure something else (F5a, F5b).

``secure_boot: off`` changes PCR 7, which the sealing policy covers. ``build`` is another signed
image (PCR 8) and ``version`` another firmware (PCR 0): the policy does not cover them by default,
and they leave PCR 7 as it was. ``event`` with ``pcr`` measures any further event, ``count`` times
over: a TPM's log has no room for more than a thousand entries (ATT-10). In force from the next
power-on: combine it with ``host.reboot``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from pydantic import Field, model_validator

from chaos.draws import Draws
from chaos.faults.base import Fault, Params, Targets, names
from chaos.faults.firmware import FirmwareFault
from chaos.faults.power import NodesParams, some_of
from chaos.lab import Directory
from chaos.oracle.effects import FaultEffect, Takes
from protocol.messages.agent import Firmware, FirmwareEvent, TpmActed
from protocol.terms import Role
from protocol.tpm.structures import EventType

PCR_FIRMWARE = 0
PCR_SECURE_BOOT = 7
PCR_MODULES = 8


class BootMeasureParams(NodesParams):
    """What the next boots measure: at least one of ``secure_boot: off``, ``build``, ``version``,
    ``event``."""

    secure_boot: bool | None = None
    build: str | None = Field(default=None, min_length=1)
    version: str | None = Field(default=None, min_length=1)
    event: str | None = Field(default=None, min_length=1)
    pcr: int = Field(default=PCR_SECURE_BOOT, ge=0, le=7)
    count: int = Field(default=1, ge=1, le=2000)

    @model_validator(mode="after")
    def _changes_something(self) -> BootMeasureParams:
        if (self.secure_boot, self.build, self.version, self.event) == (None,) * 4:
            raise ValueError("give at least one of secure_boot, build, version, event")
        return self


class HostBootMeasure(FirmwareFault, frozen=True, kw_only=True):
    """From their next boot on, hosts measure something else than they were sealed to.

    ``secure_boot`` None and empty texts mean that it stays as it was.
    """

    kind: ClassVar[str] = "host.boot_measure"
    example: ClassVar[str] = "on: esxi-001, secure_boot: off"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.NEXT_MEASUREMENTS,))
    inside: ClassVar[tuple[str, ...]] = ("host.reboot", "host.power_loss")
    params: ClassVar[type[Params]] = BootMeasureParams
    secure_boot: bool | None = None
    build: str = ""
    version: str = ""
    event: str = ""
    pcr: int = PCR_SECURE_BOOT
    count: int = 1

    @classmethod
    def of(cls, id: str, params: BootMeasureParams, targets: Targets) -> Fault:
        return cls(
            id=id,
            secure_boot=params.secure_boot,
            build=params.build or "",
            version=params.version or "",
            event=params.event or "",
            pcr=params.pcr,
            count=params.count,
            **cls.select_targets(params, targets),
        )

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        kinds = ({"secure_boot": False}, {"build": "another"}, {"version": "another"})
        found = some_of(draws, directory, (Role.ESXI,))
        return None if found is None else found | kinds[draws.below(3)]

    def file_fields(self) -> dict[str, Any]:
        own = {"build": self.build, "version": self.version, "event": self.event}
        values: dict[str, Any] = {name: value for name, value in own.items() if value}
        if self.secure_boot is not None:
            values["secure_boot"] = self.secure_boot
        if self.count > 1:
            values["count"] = self.count
        return super().file_fields() | values | {"pcr": self.pcr}

    def summary(self) -> str:
        what = [f"secure boot {'on' if self.secure_boot else 'off'}"] * (
            self.secure_boot is not None
        )
        what += [f"build {self.build}"] * bool(self.build)
        what += [f"firmware {self.version}"] * bool(self.version)
        often = f", {self.count} times" if self.count > 1 else ""
        what += [f"{self.event!r} into PCR {self.pcr}{often}"] * bool(self.event)
        return f"next boots of {names(self.nodes)} measure: {', '.join(what)}"

    def change_firmware(self, firmware: Firmware) -> Firmware:
        """See ``FirmwareFault``."""
        changes: dict[str, Any] = {}
        if self.secure_boot is not None:
            changes["secure_boot"] = self.secure_boot
        if self.build:
            changes["build"] = self.build
        if self.version:
            changes["version"] = self.version
        if self.event:
            added = FirmwareEvent(self.pcr, EventType.EFI_ACTION, self.event.encode())
            others = (e for e in firmware.extra if e != added)
            changes["extra"] = (*others, *[added] * self.count)
        return msgspec.structs.replace(firmware, **changes)

    def _pcrs(self, before: Firmware) -> list[int]:
        """The PCRs that must differ after a boot."""
        found = [PCR_SECURE_BOOT] * (self.secure_boot not in (None, before.secure_boot))
        found += [PCR_MODULES] * (self.build not in ("", before.build))
        found += [PCR_FIRMWARE] * (self.version not in ("", before.version))
        return found + [self.pcr] * bool(self.event)

    def boot_problem(self, before: Firmware, was: dict[str, str], now: TpmActed) -> str:
        """What it measures differs, and PCR 7 only where this changes it: that tells F5b."""
        differ = {pcr for pcr, value in now.pcrs.items() if was.get(str(pcr)) != value.hex()}
        wanted = self._pcrs(before)
        for pcr in wanted:
            if pcr in now.pcrs and pcr not in differ:
                return f"PCR {pcr} is what it was before"
        if PCR_SECURE_BOOT in differ and PCR_SECURE_BOOT not in wanted:
            return f"PCR {PCR_SECURE_BOOT} differs too"
        return ""
