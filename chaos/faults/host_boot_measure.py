"""``host.boot_measure``: the next boots measure something else (F5a, F5b).

``secure_boot: off`` changes PCR 7, which the sealing policy covers; ``version`` is another
signed build (PCR 0, which it does not cover by default); ``event`` with ``pcr`` measures any
further event. In force from the next power-on: combine it with ``host.reboot``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from pydantic import Field, model_validator

from chaos.faults.base import Fault, Notes, Params, Targets, all_of, names, status_of
from chaos.faults.power import NodesFault, NodesParams
from chaos.lab import Lab
from protocol.messages.agent import Firmware, FirmwareEvent, NodeRunState, TpmAct, TpmBackend
from protocol.terms import NodeName, Role
from protocol.tpm.structures import EventType

PCR_FIRMWARE = 0
PCR_SECURE_BOOT = 7


class BootMeasureParams(NodesParams):
    """What the next boots measure: at least one of ``secure_boot: off``, ``version``, ``event``."""

    secure_boot: bool | None = None
    version: str | None = None
    event: str | None = None
    pcr: int = Field(default=PCR_SECURE_BOOT, ge=0, le=7)

    @model_validator(mode="after")
    def _changes_something(self) -> BootMeasureParams:
        if self.secure_boot is None and self.version is None and self.event is None:
            raise ValueError("give at least one of secure_boot, version, event")
        return self


class HostBootMeasure(NodesFault, frozen=True, kw_only=True):
    """From their next boot on, hosts measure something else than they were sealed to.

    ``secure_boot`` None and empty texts mean that it stays as it was.
    """

    kind: ClassVar[str] = "host.boot_measure"
    example: ClassVar[str] = "on: esxi-001, secure_boot: off"
    params: ClassVar[type[Params]] = BootMeasureParams
    role: ClassVar[Role | None] = Role.ESXI
    secure_boot: bool | None = None
    version: str = ""
    event: str = ""
    pcr: int = PCR_SECURE_BOOT

    @classmethod
    def of(cls, id: str, params: BootMeasureParams, targets: Targets) -> Fault:
        return cls(
            id=id,
            secure_boot=params.secure_boot,
            version=params.version or "",
            event=params.event or "",
            pcr=params.pcr,
            **cls.chosen(params, targets),
        )

    def summary(self) -> str:
        what = [f"secure boot {'on' if self.secure_boot else 'off'}"] * (
            self.secure_boot is not None
        )
        what += [f"build {self.version}"] * bool(self.version)
        what += [f"{self.event!r} into PCR {self.pcr}"] * bool(self.event)
        return f"next boots of {names(self.nodes)} measure: {', '.join(what)}"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"firmware of {node}" for node in self.nodes)

    def changed(self, firmware: Firmware) -> Firmware:
        """``firmware`` set up so that the next boots measure what this fault says."""
        changes: dict[str, Any] = {}
        if self.secure_boot is not None:
            changes["secure_boot"] = self.secure_boot
        if self.version:
            changes["version"] = self.version
        if self.event:
            added = FirmwareEvent(self.pcr, EventType.EFI_ACTION, self.event.encode())
            changes["extra"] = (*(e for e in firmware.extra if e != added), added)
        return msgspec.structs.replace(firmware, **changes)

    def _pcrs(self, before: Firmware) -> list[int]:
        """The PCRs that must differ after a boot."""
        found = [PCR_SECURE_BOOT] * (self.secure_boot not in (None, before.secure_boot))
        found += [PCR_FIRMWARE] * (self.version not in ("", before.version))
        return found + [self.pcr] * bool(self.event)

    async def survey(self, lab: Lab) -> Notes:
        notes: Notes = {"firmware": {}, "boots": {}, "pcrs": {}}
        for node in self.nodes:
            status = await lab.status(node)
            notes["firmware"][node] = msgspec.to_builtins(await lab.firmware_of(node))
            notes["boots"][node] = status.boot
            if status.tpm is not TpmBackend.NONE and status.state is not NodeRunState.OFF:
                pcrs = (await lab.tpm(node, TpmAct.INFO)).pcrs
                notes["pcrs"][node] = {str(pcr): value.hex() for pcr, value in pcrs.items()}
        return notes

    def _before(self, notes: Notes, node: NodeName) -> Firmware | None:
        kept = notes.get("firmware", {}).get(node)
        return None if kept is None else msgspec.convert(kept, Firmware)

    async def begin(self, lab: Lab, until: float, notes: Notes) -> None:
        async def change(node: NodeName) -> None:
            await lab.firmware(node, self.changed(await lab.firmware_of(node)))

        await all_of(self.nodes, change)

    async def bites(self, lab: Lab, notes: Notes) -> str:
        """The setting reads back; after a boot, the PCRs it goes into have other values."""
        for node in self.nodes:
            before = self._before(notes, node)
            now = await lab.firmware_of(node)
            if before is None or now != self.changed(before):
                return f"the firmware of {node} does not show the change"
            status = await status_of(lab, node)
            kept = notes["pcrs"].get(node)
            if kept is None or status is None or status.boot <= notes["boots"][node]:
                continue
            pcrs = (await lab.tpm(node, TpmAct.INFO)).pcrs
            for pcr in self._pcrs(before):
                if pcr in pcrs and kept.get(str(pcr)) == pcrs[pcr].hex():
                    return f"PCR {pcr} of {node} is what it was before"
        return ""

    async def heal(self, lab: Lab, notes: Notes) -> None:
        """The setting goes back; a host that stopped at its screen is booted again with it.

        A running host keeps what its boot measured until its next one, as in life.
        """

        async def undo(node: NodeName) -> None:
            before = self._before(notes, node)
            if before is None:
                return
            await lab.firmware(node, before)
            status = await lab.status(node)
            if status.state is NodeRunState.HALTED:
                notes.setdefault("stood", {})[node] = status.boot
                await lab.power_off(node, "power_loss")
                await lab.power_on(node)

        await all_of(self.nodes, undo)

    async def healed(self, lab: Lab, notes: Notes) -> str:
        """The setting reads back, and no host stands at the screen that the changed one gave."""
        for node in self.nodes:
            before = self._before(notes, node)
            if before is not None and await lab.firmware_of(node) != before:
                return f"the firmware of {node} still shows the change"
            stood = notes.get("stood", {}).get(node)
            status = await status_of(lab, node)
            if stood is not None and (status is None or status.boot <= stood):
                return f"{node} still stands at the screen of its boot {stood}"
        return ""
