"""E1 under F5b where a Trust Authority attests hosts: the image of what runs is withdrawn."""

from __future__ import annotations

from chaos.faults.firmware import HostBootMeasure
from chaos.faults.power import restart
from chaos.matrix import clock, setup, trust
from chaos.matrix.events.e1_running import RunsOn
from chaos.matrix.evidence import JudgedLetter
from chaos.matrix.faults.base import DrivenFault
from chaos.matrix.judging.letters import unclear
from chaos.matrix.scene import Void, build_encrypted_vm
from chaos.matrix.terms import Actor
from chaos.oracle.terms import TableFault
from protocol.messages.vcenter import PowerOnVm
from protocol.trust import TrustAttestationStatus as Status

BUILD = "own-build"


class RunsOnWithdrawn(RunsOn):
    """The host has not booted since it was attested, and measures what it measured. It has a build
    of its own, so that nobody else is refused; it is made to attest, and its VM runs on past the
    life of the token that it had (ATT-06)."""

    _version = ""

    @property
    def _judged_anew(self) -> bool:
        return self.fault.fault is TableFault.F5B

    async def ready(self) -> bool:
        """It boots a build of its own, which is imported, and its VM runs again."""
        if not self._judged_anew:
            return False
        scene, (vm, host) = self.scene, self.subject
        own = DrivenFault(scene, HostBootMeasure(id="build", nodes=(host,), build=BUILD))
        await own.survey()
        await own.begin()
        await restart(scene.lab, host)
        self._version = await trust.import_image(scene, host)
        await setup.hosts_settle(scene, (host,), clock.SETTLED_S)
        seen = await self.looks.vm(vm, host)
        if seen.own is None or not seen.own.on:
            await self.looks.ask_vcenter(PowerOnVm(vm=vm))
        if wrong := await self.until_it_works(vm, host):
            raise Void(f"with a build of its own: {wrong}")
        return True

    async def play(self, begins_at: float) -> JudgedLetter:
        if not self._judged_anew:
            return await super().play(begins_at)
        scene, host = self.scene, self.host(Actor.A)
        await scene.until(begins_at)
        await trust.withdraw_image(scene, self._version)
        status = await trust.attest(scene, host)
        made = await self._makes_a_vm()
        judged = await super().play(scene.since())
        if status is not Status.NOT_ATTESTED:
            return unclear(f"{host} is {status.value}, with an image that was withdrawn")
        return unclear(made) if made else judged

    async def _makes_a_vm(self) -> str:
        """Empty when the host is given no key any more: its token, which would be good for most of
        an hour, is void."""
        vm, host = self.vm("new"), self.host(Actor.A)
        message = build_encrypted_vm(self.event, vm, host)
        asked = await self.looks.ask_vcenter(message, within_s=clock.CREATE_S)
        return f"{host} was refused, and had a new key made" if asked.done else ""

    async def administer(self) -> str:
        """The image is trusted again, and so is the host."""
        if not self._judged_anew:
            return ""
        await trust.import_image(self.scene, self.host(Actor.A))
        status = await trust.attest(self.scene, self.host(Actor.A))
        return "" if status is Status.ATTESTED else f"{self.host(Actor.A)} is {status.value}"
