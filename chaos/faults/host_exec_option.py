"""``host.exec_option_removed``: the boot option ``execInstalledOnly`` is taken away (F5a).

A host that requires it (POL-04) is sealed to the PCR that the option alone goes into, and stops at
its screen at the next boot. The option is kept by the boot loader and set at the host's console,
so the host must run for it, and in force is it from the next power-on.
"""

from __future__ import annotations

import re
from typing import ClassVar

from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Targets, all_of, names, running, status_of
from chaos.faults.power import NodesFault, NodesParams, restart
from chaos.lab import LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState, TpmAct, TpmBackend
from protocol.messages.host import Esxcli
from protocol.terms import NodeName, Role

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

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

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
