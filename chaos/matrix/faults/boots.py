"""F5a, F5b, F6: faults of a host that its next boot meets."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Final

from chaos.faults.base import Fault as LabFault
from chaos.faults.base import status_of
from chaos.faults.firmware import (
    EXEC_OPTION,
    HostBootMeasure,
    HostExecOption,
    HostTpmDisabled,
    fetch_exec_option,
)
from chaos.faults.nodes import restart
from chaos.faults.tpms import TpmClearFault, TpmDead, TpmSwapFault
from chaos.matrix import provider_setup
from chaos.matrix.faults.base import DrivenFault, StagedFault
from chaos.matrix.scene import StagingScene, Void
from chaos.matrix.terms import Variant
from chaos.oracle.terms import TableFault
from protocol.messages.agent import NodeRunState, TpmBackend
from protocol.messages.host.session import Esxcli
from protocol.terms import NodeName

SET_OPTION: Final = ("system", "settings", "kernel", "set", "-s", EXEC_OPTION, "-v", "TRUE")
REQUIRE: Final = ("system", "settings", "encryption", "set", "--require-exec-installed-only=true")


class FaultOfHosts(StagedFault):
    """Each host that it touches has a fault of ``chaos.faults`` of its own."""

    of_a_host: ClassVar[bool] = True

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self.on_hosts: dict[NodeName, DrivenFault] = {}

    @abstractmethod
    def on(self, host: NodeName) -> LabFault:
        """The fault of one host."""

    async def survey(self, host: NodeName) -> None:
        held = self.on_hosts[host] = DrivenFault(self.scene, self.on(host))
        await held.survey()

    async def change(self, host: NodeName) -> None:
        if host not in self.on_hosts:
            await self.survey(host)
        await self.on_hosts[host].begin()
        self.write("fault", host, self.on_hosts[host].fault.kind)

    async def verify_on_host(self, host: NodeName) -> str:
        return await self.on_hosts[host].bites()

    async def verify_heal(self) -> str:
        for held in self.on_hosts.values():
            if wrong := await held.verify_heal():
                return wrong
        return ""


class OtherBoot(FaultOfHosts):
    """The firmware of a host is set up so that its next boot measures something else."""

    async def make_latent(self, host: NodeName) -> None:
        await self.change(host)

    async def bites(self) -> str:
        """Latent: the setting reads back, and the host has not booted."""
        for host, held in self.on_hosts.items():
            if wrong := await held.bites():
                return f"{host}: {wrong}"
        return ""

    async def end(self) -> None:
        """The setting goes back; each host that was booted with it boots without it."""
        for host, held in self.on_hosts.items():
            status = await status_of(self.scene.lab, host)
            ran = status is not None and status.state is NodeRunState.RUNNING
            await held.heal()  # which boots a host that stood at its screen
            if ran and host in self.booted:
                await restart(self.scene.lab, host)
            self.write("heal", host, "undone")


class PolicyViolated(OtherBoot):
    """Secure Boot is switched off, or the option that was enforced is removed, or the TPM disabled;
    what was sealed before does not open."""

    fault: ClassVar[TableFault] = TableFault.F5A
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant.USUAL,
        Variant.EXEC_OPTION,
        Variant.TPM_DISABLED,
    )

    async def prepare(self) -> bool:
        """Hosts with a TPM are sealed to the option that is to be removed."""
        if self.scene.variant is not Variant.EXEC_OPTION:
            return False
        for host in self.scene.hosts():
            await self._enforce(host)
        return True

    async def survey(self, host: NodeName) -> None:
        if self.scene.variant is Variant.EXEC_OPTION and not await self._enforced(host):
            await self._enforce(host)  # it was not there before
        await super().survey(host)
        if self.scene.variant is Variant.EXEC_OPTION:
            await self.on_hosts[host].begin()

    async def _enforced(self, host: NodeName) -> bool:
        return await fetch_exec_option(self.scene.lab, host) == "TRUE"

    async def _enforce(self, host: NodeName) -> None:
        lab = self.scene.lab
        sealed = (await lab.status(host)).tpm is not TpmBackend.NONE
        lines = (SET_OPTION, *[REQUIRE] * sealed)
        for number, line in enumerate(lines):
            if number:
                await restart(lab, host)
            done = await lab.ask(host, Esxcli(arguments=line))
            if done.exit_code:
                raise Void(f"{host}: {' '.join(line)}: {done.output.strip()}")
        if not sealed:
            await restart(lab, host)
        self.write("note", host, "enforced", option=EXEC_OPTION)

    async def change(self, host: NodeName) -> None:
        """The option is one of the loader's: it was set at a host that still ran."""
        if self.scene.variant is not Variant.EXEC_OPTION or host not in self.on_hosts:
            await super().change(host)

    def on(self, host: NodeName) -> LabFault:
        match self.scene.variant:
            case Variant.EXEC_OPTION:
                return HostExecOption(id=f"F5a-{host}", nodes=(host,))
            case Variant.TPM_DISABLED:
                return HostTpmDisabled(id=f"F5a-{host}", nodes=(host,))
        return HostBootMeasure(id=f"F5a-{host}", nodes=(host,), secure_boot=False)


class OtherMeasure(OtherBoot):
    """Another signed build, or another firmware: the log says so, the sealed PCRs do not."""

    fault: ClassVar[TableFault] = TableFault.F5B
    variants: ClassVar[tuple[Variant, ...]] = (Variant.USUAL, Variant.FIRMWARE)

    def on(self, host: NodeName) -> LabFault:
        if self.scene.variant is Variant.FIRMWARE:
            return HostBootMeasure(id=f"F5b-{host}", nodes=(host,), version="other")
        return HostBootMeasure(id=f"F5b-{host}", nodes=(host,), build="other")


class TpmGone(FaultOfHosts):
    """The TPM is cleared: while the host is off, or under one that runs, where it stays latent. Or
    another one is in its place while the host is off, or it fails."""

    fault: ClassVar[TableFault] = TableFault.F6
    variants: ClassVar[tuple[Variant, ...]] = (Variant.USUAL, Variant.REPLACED, Variant.DEAD)

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self._latent: list[NodeName] = []

    def on(self, host: NodeName) -> LabFault:
        if self.scene.variant is Variant.DEAD:
            return TpmDead(id=f"F6-{host}", nodes=(host,))
        if self.scene.variant is Variant.REPLACED and host not in self._latent:
            return TpmSwapFault(id=f"F6-{host}", nodes=(host,))
        return TpmClearFault(id=f"F6-{host}", nodes=(host,), latent=host in self._latent)

    async def make_latent(self, host: NodeName) -> None:
        self._latent.append(host)
        await self.change(host)

    async def bites(self) -> str:
        """Latent: what was sealed does not load any more, and the host runs on."""
        for host in self._latent:
            if wrong := await self.on_hosts[host].bites():
                return wrong
        return ""

    async def end(self) -> None:
        """The recovery key, mode TPM set anew, a save; vCenter forgets the TPM that it recorded."""
        for host, held in self.on_hosts.items():
            await held.heal()
            self.write("heal", host, "recovered")
            if self.scene.trusted:  # another endorsement key is in the TPM (ATT-08)
                await provider_setup.forget(self.scene, host)
                await provider_setup.register(self.scene, host)
