"""Base of the faults that set up firmware: in force from the next power-on, and put back."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import msgspec

from chaos.errors import ChaosError
from chaos.faults.base import Notes, all_of, names, status_of
from chaos.faults.power import NodesFault
from chaos.lab import LabUnderTest
from protocol.messages.agent import Firmware, NodeRunState, TpmAct, TpmActed, TpmBackend
from protocol.terms import NodeName, Role


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
        """The setting goes back; a host that stopped at its screen is booted again with it.

        A running host keeps what its boot made of it until its next one, as in life. What somebody
        else has set up meanwhile, such as another release, stays.
        """

        async def undo(node: NodeName) -> None:
            before = self._before(notes, node)
            if before is None:
                return
            await lab.firmware(node, self._undo_change(before, await lab.firmware_of(node)))
            status = await lab.status(node)
            if status.state is NodeRunState.HALTED:
                notes.setdefault("stood", {})[node] = status.boot
                await lab.power_off(node, "power_loss")
                await lab.power_on(node)

        await all_of(self.nodes, undo)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """The setting reads back, and no host stands at the screen that the changed one gave."""
        for node in self.nodes:
            before = self._before(notes, node)
            now = await lab.firmware_of(node)
            if before is not None and now != self._undo_change(before, now):
                return f"the firmware of {node} still shows the change"
            stood = notes.get("stood", {}).get(node)
            status = await status_of(lab, node)
            if stood is not None and (status is None or status.boot <= stood):
                return f"{node} still stands at the screen of its boot {stood}"
        return ""
