"""Base of the TPM faults: what was sealed is gone, and the administrator's way back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Notes, Params, all_of, names, status_of
from chaos.faults.nodes import NodesFault, NodesParams, restart
from chaos.lab import Directory, LabUnderTest
from chaos.observe.look import all_hosts
from chaos.oracle.effects import FaultEffect, Takes
from protocol.errors import InvalidState, ProductError
from protocol.messages.agent import NodeRunState, TpmAct, TpmBackend
from protocol.messages.host.session import Esxcli, QueryHost, SaveConfiguration
from protocol.messages.vcenter.inventory import ClearTpmRecord
from protocol.terms import NodeName, ProtectionMode, Role

RECOVERY_KEY = re.compile(r"\b(?:\d{6}-){15}\d{6}\b")
RECOVERY_OPTION = "encryptionRecoveryKey"
LIST = ("system", "settings", "encryption", "recovery", "list")
SET_MODE = ("system", "settings", "encryption", "set", "--mode=TPM")


class TpmFault(NodesFault, frozen=True, kw_only=True):
    """A fault without undo; its cure is the recovery key, the mode TPM set anew, and a save (F6).

    A TPM is cleared or replaced with the power off: a host that is on is stopped in order, and
    powered on again afterwards, so a sealed one then shows its screen.

    ``accept``: the cure also has vCenter forget the TPM that it had recorded (ATT-09).

    The survey reads each host's recovery key, as an administrator is told to; it lies in the
    notes, which are never listed or recorded, and are kept as the lab keeps its secrets.
    """

    reversible: ClassVar[bool] = False
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.TPM,))
    drawn: ClassVar[Drawn] = Drawn.RARE
    holds_power: ClassVar[bool] = True
    role: ClassVar[Role | None] = Role.ESXI
    act: ClassVar[TpmAct]
    accept: bool = True

    async def survey(self, lab: LabUnderTest) -> Notes:
        notes: Notes = {"boots": {}, "ek": {}, "mode": {}, "on": {}, "recovery": {}, "srk": {}}
        for node in self.nodes:
            status = await lab.status(node)
            if status.tpm is TpmBackend.NONE:
                raise ChaosError("KS-CHAOS-106", f"{node} has no TPM")
            acted = await lab.tpm(node, TpmAct.INFO)
            notes["boots"][node] = status.boot
            notes["on"][node] = status.state is not NodeRunState.OFF
            notes["ek"][node] = acted.ek
            notes["srk"][node] = acted.srk
            if status.state is NodeRunState.RUNNING:
                summary = (await lab.ask(node, QueryHost())).summary
                notes["mode"][node] = summary.protection_mode.value
                listed = await lab.ask(node, Esxcli(arguments=LIST))
                found = RECOVERY_KEY.search(listed.output)
                if found is not None:
                    notes["recovery"][node] = found[0]
        return notes

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        async def one(node: NodeName) -> None:
            state = (await lab.status(node)).state
            if state is not NodeRunState.OFF:
                orderly = state is NodeRunState.RUNNING
                await lab.power_off(node, "stop" if orderly else "power_loss")
            await lab.tpm(node, self.act)
            if state is not NodeRunState.OFF:
                await lab.power_on(node)

        await all_of(self.nodes, one)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """The host runs again, in the mode it had, and has booted once more than the fault and a
        boot with the recovery key account for: it boots by itself."""
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None or status.state is not NodeRunState.RUNNING:
                state = "cannot be asked" if status is None else f"is {status.state.value}"
                return f"{node} {state}; its recovery key is needed"
            if status.boot < self._first_unaided_boot(notes, node):
                return f"{node} runs, but has not shown that it can boot by itself"
            mode = notes.get("mode", {}).get(node)
            now = (await lab.ask(node, QueryHost())).summary.protection_mode.value
            if mode is not None and now != mode:
                return f"{node} is in mode {now}, not {mode}"
        return ""

    def _first_unaided_boot(self, notes: Notes, node: NodeName) -> int:
        """The first boot that a host can have made without help: after the one that showed the
        fault, when it was on, and after the one with the recovery key, when it was sealed. One that
        was sealed anew in the boot of before needs neither."""
        if notes.get("resealed", {}).get(node):
            return int(notes["boots"][node]) + 1
        shown = notes.get("on", {}).get(node, True)
        sealed = notes.get("mode", {}).get(node) != ProtectionMode.NONE.value
        before = int(notes.get("boots", {}).get(node, 0))
        return before + bool(shown) + bool(sealed) + 1

    def cure_text(self) -> str:
        return (
            f"for each of {names(self.nodes)}: power on with --boot-option "
            f"{RECOVERY_OPTION}=- and give its recovery key; esxcli {' '.join(SET_MODE)}; save the "
            "configuration; boot once more without the option; then have vCenter forget the TPM "
            "that it recorded: keystead host clear-tpm <host>"
        )

    async def cure(self, lab: LabUnderTest, notes: Notes) -> None:
        try:
            await all_of(self.nodes, lambda node: recover(lab, node, notes))
            if self.accept:
                await accept_tpms(lab, self.nodes)
        except ProductError as error:
            raise ChaosError("KS-CHAOS-107", str(error)) from error


async def recover(lab: LabUnderTest, node: NodeName, notes: Notes) -> None:
    """Boot with the recovery key, set mode TPM, save, and boot once more, which proves it.

    A host in mode NONE has nothing sealed: it only boots.
    """
    sealed = notes.get("mode", {}).get(node) != ProtectionMode.NONE.value
    status = await lab.status(node)
    if sealed:
        if status.state is not NodeRunState.RUNNING:
            key = notes.get("recovery", {}).get(node)
            if key is None:
                raise InvalidState(f"{node}: its recovery key was not read before the fault")
            await restart(lab, node, {RECOVERY_OPTION: key})
        elif status.boot == notes.get("boots", {}).get(node):
            notes.setdefault("resealed", {})[node] = True
        done = await lab.ask(node, Esxcli(arguments=SET_MODE))
        if done.exit_code != 0:
            raise InvalidState(f"{node}: esxcli {' '.join(SET_MODE)}: {done.output.strip()}")
        await lab.ask(node, SaveConfiguration())
    await restart(lab, node)


async def accept_tpms(lab: LabUnderTest, nodes: tuple[NodeName, ...]) -> None:
    """Clear the records of these TPMs at each vCenter that runs and has their hosts; its alarm
    gates nothing (ATT-09)."""
    for entry in lab.directory().nodes:
        if entry.role is not Role.VCENTER:
            continue
        if (await lab.status(entry.node)).state is NodeRunState.RUNNING:
            known = {one.host for one in await all_hosts(lab, entry.node)}
            for node in nodes:
                if node in known:
                    await lab.ask(entry.node, ClearTpmRecord(host=node))


# Tpm clear ------------------------------------------------------------------------------------
#
# ``tpm.clear``: the TPM is cleared; what it sealed is gone, its endorsement key stays.
#
# ``latent``: it is cleared while its host runs, which goes on as it is until its next boot.


class TpmClearParams(NodesParams):
    """Which hosts; ``latent``: they are not booted for it."""

    latent: bool = False


class TpmClearFault(TpmFault, frozen=True, kw_only=True):
    """TPMs are cleared as in the firmware's set-up; what was sealed under them is lost."""

    kind: ClassVar[str] = "tpm.clear"
    example: ClassVar[str] = "on: esxi-001"
    drawn_roles: ClassVar[tuple[Role, ...]] = (Role.ESXI,)
    params: ClassVar[type[Params]] = TpmClearParams
    latent: bool = False
    act: ClassVar[TpmAct] = TpmAct.CLEAR

    def file_fields(self) -> dict[str, Any]:
        return super().file_fields() | ({"latent": True} if self.latent else {})

    def summary(self) -> str:
        how = ", not booted since" if self.latent else ""
        return f"TPM of {names(self.nodes)} cleared{how}"

    async def survey(self, lab: LabUnderTest) -> Notes:
        notes = await super().survey(lab)
        dark = [node for node in self.nodes if not notes["srk"][node]]
        if dark:
            text = f"{names(tuple(dark))}: off or failed, so a clear could not be seen"
            raise ChaosError("KS-CHAOS-106", text)
        for node in self.nodes:  # one that is disabled is on until its host's next boot
            if not self.latent and not (await lab.firmware_of(node)).tpm_enabled:
                text = f"the TPM of {node} is disabled in the firmware: it cannot be cleared there"
                raise ChaosError("KS-CHAOS-106", text)
        return notes

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        if not self.latent:
            return await super().begin(lab, until, notes)

        return await all_of(self.nodes, lambda node: lab.tpm(node, self.act))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """The storage root key is another one or none, so what was sealed under it does not load;
        and unless it is latent, the host has booted since."""
        for node in self.nodes:
            if not self.latent and (await lab.status(node)).boot <= notes["boots"][node]:
                return f"{node} is in the boot of before: its TPM cannot have been cleared"
            acted = await lab.tpm(node, TpmAct.INFO)
            if acted.info is None or acted.info.failed:
                return f"the TPM of {node} does not tell its storage root key"
            if acted.srk == notes["srk"][node]:
                return f"the TPM of {node} has the storage root key that it had"
            if acted.ek != notes["ek"][node]:
                return f"{node} has another endorsement key: that is no clear"
        return ""


# Tpm dead -------------------------------------------------------------------------------------
#
# ``tpm.dead``: the TPM answers nothing but its failure, from now on and at every boot (F6).
#
# A running host notices it when it needs its TPM next; one whose configuration is sealed stops at
# its screen at the next boot. What the TPM holds is there again when it is mended.


class TpmDead(NodesFault, frozen=True, kw_only=True):
    """TPMs fail, and stay in failure mode over power cycles."""

    kind: ClassVar[str] = "tpm.dead"
    example: ClassVar[str] = "on: esxi-001"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.NEXT_TPM,))
    alone: ClassVar[bool] = True
    role: ClassVar[Role | None] = Role.ESXI

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        there = [e.node for e in directory.nodes if e.role is Role.ESXI and e.tpm]
        return {"on": list(map(str, draws.pick(there, 1)))} if there else None

    def summary(self) -> str:
        return f"TPM of {names(self.nodes)} dead"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"TPM of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        for node in self.nodes:
            if (await lab.status(node)).tpm is TpmBackend.NONE:
                raise ChaosError("KS-CHAOS-106", f"{node} has no TPM")
            info = (await lab.tpm(node, TpmAct.INFO)).info
            if info is None or info.failed:
                raise ChaosError("KS-CHAOS-106", f"the TPM of {node} is off, or failed already")
        return {}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await all_of(self.nodes, lambda node: lab.tpm(node, TpmAct.FAIL))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each TPM that has power tells that it failed, and nothing else."""
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None:
                return f"{node} cannot be asked"
            acted = await lab.tpm(node, TpmAct.INFO)
            off = status.state is NodeRunState.OFF
            if not off and (acted.info is None or not acted.info.failed or acted.pcrs):
                return f"the TPM of {node} answers"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        """It leaves failure mode at a power cycle only, so a host that is on is booted again."""

        async def mend(node: NodeName) -> None:
            await lab.tpm(node, TpmAct.UNFAIL)
            state = (await lab.status(node)).state
            if state is NodeRunState.OFF:
                return
            info = (await lab.tpm(node, TpmAct.INFO)).info
            if info is None or info.failed:
                orderly = state is NodeRunState.RUNNING
                await lab.power_off(node, "stop" if orderly else "power_loss")
                await lab.power_on(node)

        await all_of(self.nodes, mend)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each answers; one without power cannot show that it does."""
        for node in self.nodes:
            info = (await lab.tpm(node, TpmAct.INFO)).info
            if info is None:
                return f"{node} is off, so its TPM cannot show that it answers"
            if info.failed:
                return f"the TPM of {node} is in failure mode"
        return ""


# Tpm swap -------------------------------------------------------------------------------------
#
# ``tpm.swap``: the mainboard is replaced: another TPM, another endorsement key, the same disk.
#
# ``accept: false``: its cure leaves vCenter's record of the old TPM, so that somebody sees the
# mismatch and clears it (``host.clear-tpm``).


class TpmSwapParams(NodesParams):
    """Which hosts; ``accept``: the cure has vCenter forget the TPM that it recorded."""

    accept: bool = True


class TpmSwapFault(TpmFault, frozen=True, kw_only=True):
    """Mainboards are replaced: what was sealed is lost, vCenter sees another endorsement key."""

    kind: ClassVar[str] = "tpm.swap"
    example: ClassVar[str] = "on: esxi-001"
    drawn_roles: ClassVar[tuple[Role, ...]] = (Role.ESXI,)
    params: ClassVar[type[Params]] = TpmSwapParams
    act: ClassVar[TpmAct] = TpmAct.SWAP

    def file_fields(self) -> dict[str, Any]:
        return super().file_fields() | ({} if self.accept else {"accept": False})

    def summary(self) -> str:
        return f"mainboard of {names(self.nodes)} replaced"

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        for node in self.nodes:
            acted = await lab.tpm(node, TpmAct.INFO)
            if acted.ek == notes["ek"][node]:
                return f"{node} still has the endorsement key it had"
        return ""
