"""F5a, F5b, F6: faults of a host that its next boot meets."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from chaos.faults.base import Fault as LabFault
from chaos.faults.base import status_of
from chaos.faults.host_boot_measure import HostBootMeasure
from chaos.faults.power import restart
from chaos.faults.tpm_clear import TpmClear
from chaos.matrix.faults.base import Held, StagedFault
from chaos.matrix.scene import Scene
from chaos.oracle.terms import Fault
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName


class FaultOfHosts(StagedFault):
    """Each host that it touches has a fault of ``chaos.faults`` of its own."""

    of_a_host: ClassVar[bool] = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.held: dict[NodeName, Held] = {}

    @abstractmethod
    def on(self, host: NodeName) -> LabFault:
        """The fault of one host."""

    async def survey(self, host: NodeName) -> None:
        held = self.held[host] = Held(self.scene, self.on(host))
        await held.survey()

    async def change(self, host: NodeName) -> None:
        if host not in self.held:
            await self.survey(host)
        await self.held[host].begin()
        self.write("fault", host, self.held[host].fault.kind)

    async def seen_on(self, host: NodeName) -> str:
        return await self.held[host].bites()

    async def healed(self) -> str:
        for held in self.held.values():
            if wrong := await held.healed():
                return wrong
        return ""


class OtherBoot(FaultOfHosts):
    """The firmware of a host is set up so that its next boot measures something else."""

    async def make_latent(self, host: NodeName) -> None:
        await self.change(host)

    async def bites(self) -> str:
        """Latent: the setting reads back, and the host has not booted."""
        for host, held in self.held.items():
            if wrong := await held.bites():
                return f"{host}: {wrong}"
        return ""

    async def end(self) -> None:
        """The setting goes back; each host that was booted with it boots without it."""
        for host, held in self.held.items():
            status = await status_of(self.scene.lab, host)
            ran = status is not None and status.state is NodeRunState.RUNNING
            await held.heal()  # which boots a host that stood at its screen
            if ran and host in self.booted:
                await restart(self.scene.lab, host)
            self.write("heal", host, "undone")


class PolicyViolated(OtherBoot):
    """Secure Boot is switched off; what was sealed while it was on does not open."""

    fault: ClassVar[Fault] = Fault.F5A

    def on(self, host: NodeName) -> LabFault:
        return HostBootMeasure(id=f"F5a-{host}", nodes=(host,), secure_boot=False)


class OtherMeasure(OtherBoot):
    """Another signed build: the log says so, the sealed PCRs do not."""

    fault: ClassVar[Fault] = Fault.F5B

    def on(self, host: NodeName) -> LabFault:
        return HostBootMeasure(id=f"F5b-{host}", nodes=(host,), build="other")


class TpmGone(FaultOfHosts):
    """The TPM is cleared: while the host is off, or under one that runs, where it stays latent."""

    fault: ClassVar[Fault] = Fault.F6

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._latent: list[NodeName] = []

    def on(self, host: NodeName) -> LabFault:
        return TpmClear(id=f"F6-{host}", nodes=(host,), latent=host in self._latent)

    async def make_latent(self, host: NodeName) -> None:
        self._latent.append(host)
        await self.change(host)

    async def bites(self) -> str:
        """Latent: what was sealed does not load any more, and the host runs on."""
        for host in self._latent:
            if wrong := await self.held[host].bites():
                return wrong
        return ""

    async def end(self) -> None:
        """The recovery key, mode TPM set anew, a save; vCenter forgets the TPM that it recorded."""
        for host, held in self.held.items():
            await held.heal()
            self.write("heal", host, "recovered")
