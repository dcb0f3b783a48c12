"""Events of a host that boots. E2: is it safe? E12: does it mount its encrypted disk groups?"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from chaos.matrix import clock, vsan
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import GroupsSeen, HostSeen, JudgedLetter
from chaos.matrix.faults.base import StagedFault
from chaos.matrix.faults.key_loss import REMOVE, DeletionRefused
from chaos.matrix.judging.account import EventCourse
from chaos.matrix.judging.letters import of_groups, of_host
from chaos.matrix.scene import StagingScene
from chaos.matrix.terms import Actor, Knobs, VmKind, is_native
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.messages.vcenter.vsan import MountVsanDisks
from protocol.terms import HostCryptoState, NodeName, VmName


class Reboots(EventPlay):
    """What the host is a minute after its boot, and still when things had time to settle."""

    event: ClassVar[TableEvent] = TableEvent.E2
    cast: ClassVar[tuple[Actor, ...]] = (Actor.B,)
    vms: ClassVar[tuple[WantedVm, ...]] = (
        WantedVm("off", Actor.B, VmKind.OFF),
        WantedVm("clear", Actor.B, VmKind.CLEAR, judged=False),
    )
    boots: ClassVar[bool] = True
    dumps: ClassVar[Actor | None] = Actor.B

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._proved: float | None = None

    def course(self) -> EventCourse:
        return msgspec.structs.replace(super().course(), proved=self._proved)

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        """Without VM: it is about the host key, which VMs do not name."""
        return VmName(""), self.host(Actor.B)

    async def play(self, begins_at: float) -> JudgedLetter:
        host, clear = self.host(Actor.B), self.vm("clear")
        await self.scene.until(begins_at)
        began = self.power_on_at = self.asked_at = await self.fault.reboot(host)
        self.scene.b_is_up.set()
        at_once = await self.looks.host(host, since=began)
        if at_once.crypto is HostCryptoState.SAFE and at_once.dump:
            self._proved = self.scene.lab.monotonic() - self.scene.patience
        up_at = self.scene.since()
        soon = await self._soon(began)
        await self.scene.until(up_at + clock.TASK_S + self.scene.patience)
        now = await self.looks.host(host, since=began)
        if not now.answers and self.scene.patience:
            # vCenter misses three heartbeats, and each takes real time.
            await self.scene.lab.sleep(2 * self.scene.patience)
            now = await self.looks.host(host, since=began)
        self.ended_at = self.scene.lab.monotonic()
        works, runs = await self.clear_vm(host, clear, answers=now.answers)
        await self.scene.until(up_at + clock.TASK_S + clock.SETTLED_S + self.scene.patience)
        later = await self.looks.host(host, since=began)
        self.trail.write("note", host, "clear", vm=clear, runs=runs, works=works.right)
        return of_host(now, later, works, clear_runs=runs, soon=soon)

    async def _soon(self, began: float) -> HostSeen | None:
        """Under F7 the host is looked at just after its boot too: whatever a deleted provider takes
        from it, it does not take then."""
        if self.fault.fault is not TableFault.F7:
            return None
        await self.scene.give(clock.AT_ONCE_S)
        return await self.looks.host(self.host(Actor.B), since=began)

    async def aftermath(self) -> str:
        seen = await self.looks.host(self.host(Actor.B), since=self.scene.lab.monotonic())
        if seen.crypto is not HostCryptoState.SAFE:
            state = "does not answer" if seen.crypto is None else f"is {seen.crypto.value}"
            return f"{self.host(Actor.B)} {state}"
        return "" if seen.dump else f"{self.host(Actor.B)} cannot decrypt its dump"


MOUNT_S: Final = 120.0


class Mounts(EventPlay):
    """Three hosts with an encrypted vSAN whose keys are P's; one reboots.

    Its groups are mounted a minute after, or are not, and it is the same when things had time to
    settle. Under F7, a standard provider is deleted under both values of C26.
    """

    event: ClassVar[TableEvent] = TableEvent.E12
    cast: ClassVar[tuple[Actor, ...]] = (Actor.B, Actor.V2, Actor.V3)
    vms: ClassVar[tuple[WantedVm, ...]] = (WantedVm("clear", Actor.B, VmKind.CLEAR, judged=False),)
    boots: ClassVar[bool] = True
    dumps: ClassVar[Actor | None] = Actor.B
    vsan: ClassVar[bool] = True

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._of_deletion: list[str] = []

    @classmethod
    def forks(cls, block: Block, fault: TableFault) -> tuple[Knobs, ...]:
        """A native provider has no profile on hosts that could be in the way (NKP-17)."""
        return (REMOVE,) if fault is TableFault.F7 and not is_native(block) else ()

    @classmethod
    async def make_ready(cls, scene: StagingScene) -> None:
        await vsan.mark(scene)

    @classmethod
    async def check_ready(cls, scene: StagingScene) -> None:
        await vsan.check_healthy(scene)

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        """Without VM: it is about keys that VMs do not name."""
        return VmName(""), self.host(Actor.B)

    def course(self) -> EventCourse:
        there = vsan.require_mark(self.scene)
        keys = (there.kek, there.host_key)
        return msgspec.structs.replace(super().course(), keys=keys, mounts=True)

    async def play(self, begins_at: float) -> JudgedLetter:
        host = self.host(Actor.B)
        await self.scene.until(begins_at)
        await self._after_deletion()
        self.power_on_at = self.asked_at = began = await self.fault.reboot(host)
        up_at = self.scene.since()
        await self.scene.until(up_at + clock.TASK_S + self.scene.patience)
        now = await self._look(began)
        self.ended_at = self.scene.lab.monotonic()
        works, runs = await self.clear_vm(host, self.vm("clear"), answers=now.host.answers)
        await self.scene.until(up_at + clock.TASK_S + clock.SETTLED_S + self.scene.patience)
        later = await self._look(began)
        judged = of_groups(now, later, works, clear_runs=runs)
        self._tell_of_deletion(now)
        return judged

    async def _look(self, began: float) -> GroupsSeen:
        """Once more where a host is not up: vCenter misses three heartbeats, each in real time."""
        found = await vsan.look_at_groups(self.looks, self.host(Actor.B), since=began)
        if not found.host.answers and self.scene.patience:
            await self.scene.lab.sleep(2 * self.scene.patience)
            found = await vsan.look_at_groups(self.looks, self.host(Actor.B), since=began)
        return found

    async def _after_deletion(self) -> None:
        """How the deletion of a standard provider ended, and what hosts have of it then."""
        if self.fault.fault is not TableFault.F7 or self.scene.native:
            return
        if isinstance(self.fault, DeletionRefused):
            self._of_deletion = [self.fault.answer, "provider listed"]
            return
        servers = await vsan.servers_of(self.scene, self.scene.vsan_hosts)
        self.trail.write("probe", "", "profiles", servers=servers)
        left = [host for host, count in servers.items() if count]
        profile = f"profile still on {', '.join(left)}" if left else "profile gone"
        self._of_deletion = ["deleted", profile]

    def _tell_of_deletion(self, seen: GroupsSeen) -> None:
        if not self._of_deletion:
            return
        group = f"group {'mounted' if seen.mounted else 'unmounted'}"
        if isinstance(self.fault, DeletionRefused):
            self.parts["refuse"] = ", ".join((*self._of_deletion, group))
        else:
            up = "host up" if seen.host.answers else "host down"
            self.parts["remove"] = ", ".join((*self._of_deletion, up, group))

    async def aftermath(self) -> str:
        """Mounted again by itself, or, where it was up without its groups, when its administrator
        has it try again (VSAN-04); its component reads right, and it is safe."""
        host = self.host(Actor.B)
        until = self.scene.lab.monotonic() + clock.SETTLED_S
        refused = self.judged is not None and self.judged.letter == Letter.NO
        asked = ""
        while True:
            seen = await vsan.look_at_groups(self.looks, host, since=self.scene.lab.monotonic())
            if not (wrong := _not_well(seen)) or self.scene.lab.monotonic() > until:
                break
            if refused and seen.host.answers:
                again = MountVsanDisks(host=host)
                done = await self.looks.ask_vcenter(again, within_s=MOUNT_S)
                asked = "" if done.done else f"; {done.error}: {done.text}"
            await self.scene.lab.sleep(clock.AGAIN_S)
        if not wrong and "remove" in self.parts:
            self.parts["remove"] = f"{self.parts['remove']}, readable after adding by name"
        return f"{host}: {wrong}{asked}" if wrong else ""


def _not_well(seen: GroupsSeen) -> str:
    """Empty when the host is safe, its groups are mounted, and its component reads right."""
    if not seen.host.answers:
        return "it does not answer"
    if not seen.mounted:
        return "its disk groups are not mounted"
    if seen.read.right is not True:
        return f"its component does not read right: {seen.read.detail}"
    if seen.host.crypto is not HostCryptoState.SAFE or not seen.host.dump:
        return f"it is {seen.host.crypto}, or does not decrypt its dump"
    return ""
