"""Base of the faults that set up firmware: in force from the next power-on, and put back."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from pydantic import Field, model_validator

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Params, Targets, all_of, names, running, status_of
from chaos.faults.nodes import NodesFault, NodesParams, restart, some_of
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.errors import InvalidState
from protocol.messages.agent import (
    Firmware,
    FirmwareEvent,
    NodeRunState,
    TpmAct,
    TpmActed,
    TpmBackend,
)
from protocol.messages.host.session import Esxcli
from protocol.terms import NodeName, Role
from protocol.tpm.structures import EventType


class FirmwareFault(NodesFault, frozen=True, kw_only=True):
    """The firmware of hosts is set up otherwise; until their next boot that is all (latent)."""

    role: ClassVar[Role | None] = Role.ESXI

    def holds(self) -> tuple[str, ...]:
        return tuple(f"firmware of {node}" for node in self.nodes)

    @abstractmethod
    def change_firmware(self, firmware: Firmware) -> Firmware:
        """``firmware`` set up as this fault says."""

    @abstractmethod
    def boot_problem(self, before: Firmware, was: dict[str, str], now: TpmActed) -> str:
        """What is wrong with a boot under the changed set-up, of a host that has a TPM; empty when
        nothing is. ``was``: its PCRs before, by number, in hexadecimal."""

    async def survey(self, lab: LabUnderTest) -> Notes:
        notes: Notes = {"firmware": {}, "boots": {}, "pcrs": {}}
        same: list[NodeName] = []
        for node in self.nodes:
            status, firmware = await lab.status(node), await lab.firmware_of(node)
            same += [node] * (self.change_firmware(firmware) == firmware)
            notes["firmware"][node] = msgspec.to_builtins(firmware)
            notes["boots"][node] = status.boot
            if status.tpm is not TpmBackend.NONE and status.state is not NodeRunState.OFF:
                pcrs = (await lab.tpm(node, TpmAct.INFO)).pcrs
                notes["pcrs"][node] = {str(pcr): value.hex() for pcr, value in pcrs.items()}
        if same:
            text = f"the firmware of {names(tuple(same))} is set up so already"
            raise ChaosError("KS-CHAOS-106", text)
        return notes

    def _before(self, notes: Notes, node: NodeName) -> Firmware | None:
        kept = notes.get("firmware", {}).get(node)
        return None if kept is None else msgspec.convert(kept, Firmware)

    def _undo_change(self, before: Firmware, now: Firmware) -> Firmware:
        """``now``, with what this fault has set up as it was before."""
        was, set_up = (
            msgspec.structs.asdict(before),
            msgspec.structs.asdict(self.change_firmware(before)),
        )
        mine = {field: value for field, value in was.items() if value != set_up[field]}
        return msgspec.structs.replace(now, **mine)

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        async def change(node: NodeName) -> None:
            await lab.firmware(node, self.change_firmware(await lab.firmware_of(node)))

        await all_of(self.nodes, change)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """The setting reads back; after a boot, the TPM shows what it does."""
        for node in self.nodes:
            before = self._before(notes, node)
            now = await lab.firmware_of(node)
            if before is None or now != self.change_firmware(now):
                return f"the firmware of {node} does not show the change"
            status = await status_of(lab, node)
            was = notes["pcrs"].get(node)
            if was is None or status is None or status.boot <= notes["boots"][node]:
                continue
            wrong = self.boot_problem(before, was, await lab.tpm(node, TpmAct.INFO))
            if wrong:
                return f"{node}: {wrong}"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        """Restore the setting, and boot a host again that stopped at its screen or boots now: a
        boot that is under way still has the changed setting, and would stop there.

        A running host keeps the results of its last boot until the next one, as on real hardware.
        Settings that others have changed meanwhile, such as another release, stay.
        """

        async def undo(node: NodeName) -> None:
            before = self._before(notes, node)
            if before is None:
                return
            await lab.firmware(node, self._undo_change(before, await lab.firmware_of(node)))
            status = await lab.status(node)
            if status.state in (NodeRunState.HALTED, NodeRunState.BOOTING):
                notes.setdefault("stood", {})[node] = status.boot
                await lab.power_off(node, "power_loss")
                await lab.power_on(node)

        await all_of(self.nodes, undo)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """The setting reads back, and each host that ``heal`` booted has begun another boot."""
        for node in self.nodes:
            before = self._before(notes, node)
            now = await lab.firmware_of(node)
            if before is not None and now != self._undo_change(before, now):
                return f"the firmware of {node} still shows the change"
            stood = notes.get("stood", {}).get(node)
            status = await status_of(lab, node)
            if stood is not None and (status is None or status.boot <= stood):
                return f"{node} has not booted since its boot {stood}"
        return ""


# Host boot measure ----------------------------------------------------------------------------
#
# ``host.boot_measure``: the next boots measure something else (F5a, F5b).
#
# ``secure_boot: off`` changes PCR 7, which the sealing policy covers. ``build`` is another signed
# image (PCR 8) and ``version`` another firmware (PCR 0): the policy does not cover them by default,
# and they leave PCR 7 as it was. ``event`` with ``pcr`` measures any further event, ``count`` times
# over: a TPM's log has no room for more than a thousand entries (ATT-10). In force from the next
# power-on: combine it with ``host.reboot``.

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
    """From their next boot on, hosts measure other values than those of their seal.

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


# Host tpm disabled ----------------------------------------------------------------------------
#
# ``host.tpm_disabled``: the TPM is switched off in the firmware (F5a).
#
# In force from the next power-on: the host then finds no TPM, and one whose configuration is
# sealed stops at its screen. What the TPM holds stays.


class HostTpmDisabled(FirmwareFault, frozen=True, kw_only=True):
    """From their next boot on, hosts have no TPM."""

    kind: ClassVar[str] = "host.tpm_disabled"
    example: ClassVar[str] = "on: esxi-001"
    drawn_roles: ClassVar[tuple[Role, ...]] = (Role.ESXI,)
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.NEXT_POLICY,))
    inside: ClassVar[tuple[str, ...]] = ("host.reboot", "host.power_loss")

    def summary(self) -> str:
        return f"TPM of {names(self.nodes)} disabled in the firmware"

    def change_firmware(self, firmware: Firmware) -> Firmware:
        """See ``FirmwareFault``."""
        return msgspec.structs.replace(firmware, tpm_enabled=False)

    async def survey(self, lab: LabUnderTest) -> Notes:
        for node in self.nodes:
            if (await lab.status(node)).tpm is TpmBackend.NONE:
                raise ChaosError("KS-CHAOS-106", f"{node} has no TPM")
        return await super().survey(lab)

    def boot_problem(self, before: Firmware, was: dict[str, str], now: TpmActed) -> str:
        """It has no power: nothing has started it."""
        return "its TPM answers" if now.info is not None else ""


# Host exec option -----------------------------------------------------------------------------
#
# ``host.exec_option_removed``: the boot option ``execInstalledOnly`` is taken away (F5a).
#
# A host that requires it (POL-04) is sealed to the PCR that the option alone goes into, and stops
# at its screen at the next boot. The option is kept by the boot loader and set at the host's
# console, so the host must run for it, and in force is it from the next power-on.

EXEC_OPTION = "execInstalledOnly"
PCR_EXEC_INSTALLED = "13"
_LIST = ("system", "settings", "kernel", "list", "-o", EXEC_OPTION)
_ROW = re.compile(rf"{EXEC_OPTION} +Bool +(?P<configured>TRUE|FALSE) +(?P<runtime>TRUE|FALSE)")


class HostExecOption(NodesFault, frozen=True, kw_only=True):
    """From their next boot on, hosts run executables of other origin too."""

    kind: ClassVar[str] = "host.exec_option_removed"
    example: ClassVar[str] = "on: esxi-001"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.NEXT_POLICY,), if_required=True)
    undrawn: ClassVar[str] = "no Lab file has hosts that require the option"
    role: ClassVar[Role | None] = Role.ESXI

    def summary(self) -> str:
        return f"boot option {EXEC_OPTION} of {names(self.nodes)} removed"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"boot options of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        notes: Notes = {"boots": {}, "pcr": {}}
        for node in self.nodes:
            status = await lab.status(node)
            if await fetch_exec_option(lab, node) != "TRUE":
                text = f"{node} does not run, or its loader does not have {EXEC_OPTION}=TRUE"
                raise ChaosError("KS-CHAOS-106", text)
            notes["boots"][node] = status.boot
            if status.tpm is not TpmBackend.NONE:
                notes["pcr"][node] = await _pcr(lab, node)
        return notes

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await all_of(self.nodes, lambda node: _set(lab, node, "FALSE"))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """The console tells what is configured; after a boot, the option's PCR has another value
        (or the console of a host without a TPM tells what is in force)."""
        for node in self.nodes:
            status, shown = await status_of(lab, node), await fetch_exec_option(lab, node)
            if shown == "TRUE":
                return f"{node} has the option still"
            if status is None or status.boot <= notes["boots"][node]:
                if shown != "FALSE":
                    return f"{node} cannot be asked"
                continue
            was = notes["pcr"].get(node)
            if was is not None and await _pcr(lab, node) == was:
                return f"PCR {PCR_EXEC_INSTALLED} of {node} is what it was before"
            if was is None and await fetch_exec_option(lab, node, "runtime") != "FALSE":
                return f"{node} has booted with the option"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        """A host that stopped at its screen is booted with the option typed at the loader; then
        the option is set again. One that is off is left for its next boot, and so unhealed."""

        async def one(node: NodeName) -> None:
            if (await lab.status(node)).state is NodeRunState.HALTED:
                await restart(lab, node, {EXEC_OPTION: "TRUE"})
            if await running(lab, node):
                await _set(lab, node, "TRUE")

        await all_of(self.nodes, one)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        for node in self.nodes:
            shown = await fetch_exec_option(lab, node)
            if shown != "TRUE":
                why = "is not set" if shown else "cannot be asked for: it does not run"
                return f"{EXEC_OPTION} of {node} {why}"
        return ""


async def fetch_exec_option(lab: LabUnderTest, node: NodeName, column: str = "configured") -> str:
    """What the console of a host says of the option (or, of its ``runtime``): TRUE, FALSE, or
    empty when it does not run."""
    if not await running(lab, node):
        return ""
    found = _ROW.search((await lab.ask(node, Esxcli(arguments=_LIST))).output)
    return found[column] if found else ""


async def _set(lab: LabUnderTest, node: NodeName, value: str) -> None:
    line = ("system", "settings", "kernel", "set", "-s", EXEC_OPTION, "-v", value)
    done = await lab.ask(node, Esxcli(arguments=line))
    if done.exit_code != 0:
        raise InvalidState(f"{node}: esxcli {' '.join(line)}: {done.output.strip()}")


async def _pcr(lab: LabUnderTest, node: NodeName) -> str:
    pcrs = (await lab.tpm(node, TpmAct.INFO)).pcrs
    return pcrs.get(int(PCR_EXEC_INSTALLED), b"").hex()
