"""What every event of the table is to a play: who takes part, what is asked, what it comes to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec

from chaos.matrix import clock
from chaos.matrix.evidence import Answered, JudgedLetter, VmSeen, Works
from chaos.matrix.faults.base import StagedFault
from chaos.matrix.judging.account import EventCourse
from chaos.matrix.judging.letters import of_both, of_three_looks
from chaos.matrix.looks import Looks
from chaos.matrix.scene import StagingScene, vm_of
from chaos.matrix.terms import Actor, Knobs, VmKind, is_native
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.messages.base import Request
from protocol.messages.host.vms import HostPowerOnVm
from protocol.messages.vcenter.vms import PowerOnVm
from protocol.terms import CryptoKeyId, NodeName, VmName


class WantedVm(msgspec.Struct, frozen=True):
    """A VM that an event needs, by what it is there for; ``judged``: cells are about it.

    ``used_on``: where hosts derive keys, the other host that has used its key. ``cold``: a VM of
    such blocks only, whose key its host has not used.
    """

    what: str
    actor: Actor
    kind: VmKind
    judged: bool = True
    used_on: Actor | None = None
    cold: bool = False


class EventPlay(ABC):
    """One event in one staging: ``judged`` is its letter, ``went`` its course, once it was played.

    ``cast``: hosts that it needs in a cluster of its own. ``boots``: it is played after both kinds
    of going down. ``latent``: the host on which a fault of hosts stays latent, when the event is
    about one that is not booted. ``without_key``: the host that must lack the key.
    ``dumps``: the host on which an encrypted dump is written before the fault. ``target``: the
    host on which the first VM shall run, when that is another than the one where it is.

    ``graced``: under F7 it is played twice, while keys of the deleted provider may still be there
    and when they are not; ``when_over`` is the part of such a cell that says how it is when the
    fault is over. ``unmended``: what ``administer`` came to, empty when all is well. ``odd``: what
    was so of its hosts before it, and must not be. ``vsan``: its hosts have an encrypted vSAN,
    whose keys are P's; no other event may be played in the same lab.
    """

    event: ClassVar[TableEvent]
    cast: ClassVar[tuple[Actor, ...]]
    vms: ClassVar[tuple[WantedVm, ...]]
    boots: ClassVar[bool] = False
    latent: ClassVar[Actor | None] = None
    without_key: ClassVar[Actor | None] = None
    dumps: ClassVar[Actor | None] = None
    target: ClassVar[Actor | None] = None
    graced: ClassVar[bool] = False
    when_over: ClassVar[str] = ""
    vsan: ClassVar[bool] = False

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        self.scene, self.fault = scene, fault
        self.trail = scene.book.trail(self.event)
        self.looks = Looks(scene, self.trail)
        self.parts: dict[str, bool | int | str] = {}
        self.judged: JudgedLetter | None = None
        self.went: EventCourse | None = None
        self.power_on_at: float | None = None
        self.asked_at = self.ended_at = 0.0
        self.unmended = self.odd = ""

    @classmethod
    def waits_for_b(cls, block: Block, fault: TableFault) -> bool:
        """Whether a fault of hosts is on another host, which must have booted before."""
        return False

    @classmethod
    def forks(cls, block: Block, fault: TableFault) -> tuple[Knobs, ...]:
        """Settings of knobs beside the usual ones, under each of which it is played too: where two
        sources differ, and the table has both answers."""
        return ()

    @classmethod
    async def make_ready(cls, scene: StagingScene) -> None:
        """Before the fault: what it needs besides VMs."""
        return

    @classmethod
    async def check_ready(cls, scene: StagingScene) -> None:
        """``Void`` unless that is healthy, just before the fault."""
        return

    @classmethod
    def by_ha(cls, fault: TableFault) -> bool:
        """Whether the hosts of its cluster have high availability."""
        return False

    @classmethod
    def list_needed_vms(cls, block: Block) -> tuple[WantedVm, ...]:
        """The VMs that it needs in this block."""
        return tuple(one for one in cls.vms if is_native(block) or not one.cold)

    async def ready(self) -> bool:
        """Before the fault, in good time: whether something was set up for this event, so that the
        lab has to come to the end of a pass once more."""
        return False

    @abstractmethod
    async def play(self, begins_at: float) -> JudgedLetter:
        """Ask at ``begins_at`` (seconds after t0), look through the window, and judge."""

    def course(self) -> EventCourse:
        """When it happened, on which host, for which keys: what its witnesses are looked for in."""
        vm, host = self.subject
        return EventCourse(
            host=host,
            asked=self.asked_at,
            ended=self.ended_at,
            power_on=self.power_on_at,
            keys=self.scene.keys.get(vm, ()),
        )

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        """The judged VM and the host that it is about: the first of ``vms``, on its ``target`` or
        where it is."""
        first = self.vms[0]
        return self.vm(first.what), self.host(self.target or first.actor)

    async def first_sight(self) -> None:
        """vCenter has returned, and its way to the keys is still shut."""
        return

    async def relief(self) -> None:
        """The way is open: what must be well again within ``clock.SETTLED_S``."""
        return

    async def administer(self) -> str:
        """All letters are fixed, the fault is still there: what an administrator does then. Empty,
        or what did not come of it."""
        return ""

    async def clear_away(self) -> None:
        """All letters are fixed, and the keys of before the fault are about to be put back: what
        was made since goes."""
        return

    async def aftermath(self) -> str:
        """The fault is over and its time to settle too: empty when all is undisturbed."""
        return ""

    # ---- what events share ----------------------------------------------------------------------

    def host(self, actor: Actor) -> NodeName:
        """Who plays this here."""
        return self.scene.host(self.event, actor)

    def vm(self, what: str) -> VmName:
        """The VM that is there for this."""
        return vm_of(self.event, what)

    def keys(self, what: str) -> tuple[CryptoKeyId, ...]:
        """The keys that this VM needs."""
        return self.scene.keys[self.vm(what)]

    async def power_on(self, vm: VmName, host: NodeName) -> Answered:
        """By a task of vCenter when it is up; else by the host's own administrator."""
        if self.fault.vcenter_away:
            return await self.ask(host, HostPowerOnVm(vm=vm))
        return await self.ask(self.scene.vcenter, PowerOnVm(vm=vm))

    async def ask(
        self, node: NodeName, message: Request[Any], *, within_s: float = clock.TASK_S
    ) -> Answered:
        """The request that decides; when it was made and ended is remembered."""
        self.asked_at = self.scene.lab.monotonic()
        asked = await self.looks.ask(node, message, within_s=within_s)
        self.ended_at = self.scene.lab.monotonic()
        return asked

    async def clear_vm(self, host: NodeName, vm: VmName, *, answers: bool) -> tuple[Works, bool]:
        """What the VM without encryption answers when it is powered on at a host that has booted,
        and whether it runs. ``answers``: whether that host does."""
        asked = await self.power_on(vm, host)
        if not answers:
            return Works(right=None, detail=asked.text), asked.done
        if asked.done:
            await self.scene.guests.plant(vm, host)
        seen = await self.looks.vm(vm, host)
        return seen.works, seen.own is not None and seen.own.on

    async def until_it_works(self, vm: VmName, host: NodeName) -> str:
        """Empty when the VM works, or comes to it by itself while things settle: its host may have
        booted a moment ago."""
        until = self.scene.lab.monotonic() + clock.SETTLED_S
        while True:
            seen = await self.looks.vm(vm, host)
            if seen.works.right or self.scene.lab.monotonic() > until:
                return "" if seen.works.right else f"{vm} does not work: {seen.works.detail}"
            await self.scene.lab.sleep(clock.AGAIN_S)

    async def hold(self, seen: VmSeen, vm: VmName, host: NodeName, *, needed: bool) -> VmSeen:
        """The VM again when it has had time to change, if that is ``needed``; else ``seen``."""
        if not needed:
            return seen
        await self.scene.lab.sleep(clock.SETTLED_S)
        return await self.looks.vm(vm, host)


class LockingPlay(EventPlay, ABC):
    """An event whose judged VM may be locked, which a vCenter that is down can only say later.

    ``when_cold_again``: the part that says how a cold VM is when the right KDK is there again.
    """

    when_cold_again: ClassVar[str] = "ok"

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._sight: VmSeen | None = None
        self._cold: VmName | None = None  # locked, beside a judged VM that is not

    @property
    def comes(self) -> tuple[VmName, NodeName]:
        """The VM that must come back, and its host."""
        vm, host = self.subject
        return self._cold or vm, host

    @property
    def has_other_kdk(self) -> bool:
        """Whether there is another KDK under the provider's name: what a host has not derived
        before is told apart then."""
        return self.scene.native and self.fault.fault is TableFault.F8

    def both(self, used: JudgedLetter, cold: JudgedLetter) -> JudgedLetter:
        """The letter of the VM whose key was used, and of the cold one; each is a part."""
        self.parts |= {"kek_cached": used.letter, "kek_cold": cold.letter}
        if cold.letter == Letter.LOCKED:
            self._cold = self.vm("cold")
        return of_both(used, cold)

    @property
    def is_open(self) -> bool:
        """Whether the letter waits for what vCenter shows when it is back."""
        judged = self.judged
        return self.fault.vcenter_away and judged is not None and judged.letter == Letter.LOCKED

    async def first_sight(self) -> None:
        if self.is_open:
            until = self.scene.lab.monotonic() + self.scene.in_turn
            seen = await self.looks.vm(*self.subject)
            self._sight = await self._until_marked(seen, *self.subject, until)

    async def relief(self) -> None:
        if self.judged is None or self._sight is None or not self.is_open:
            return
        wrong = await self.comes_back()
        keys = self.scene.keys[self.subject[0]]
        self.judged = of_three_looks(self.judged, self._sight, keys, wrong)

    async def comes_back(self) -> str:
        """Empty when the VM is unlocked by itself, starts, and works."""
        vm, host = self.comes
        if wrong := await self.still_locked():
            return wrong
        until = self.scene.lab.monotonic() + clock.TASK_S + self.scene.patience
        message = PowerOnVm(vm=vm)
        asked = await self.looks.ask_vcenter(message)
        while asked.error == "HostUnreachable" and self.scene.lab.monotonic() < until:
            await self.scene.lab.sleep(clock.AGAIN_S)  # it has booted, and vCenter comes back to it
            asked = await self.looks.ask_vcenter(message)
        seen = await self.looks.vm(vm, host)
        if not asked.done:
            return f"{vm} does not start: {asked.error}: {asked.text}"
        if seen.works.right is not True:
            return f"{vm} does not work: {seen.works.detail}"
        return ""

    async def in_window(self, asked: Answered, vm: VmName, host: NodeName) -> VmSeen:
        """The VM after the request. vCenter, which has no part in keys of a Trust Authority, hears
        of a refusal by the host when that has ended: it has the window to mark the VM."""
        longer = self.scene.patience + self.scene.in_turn
        until = self.scene.lab.monotonic() + clock.TASK_S + longer
        seen = await self.looks.vm(vm, host)
        if not self.scene.trusted or not asked.key_required:
            return seen
        return await self._until_marked(seen, vm, host, until)

    async def _until_marked(self, seen: VmSeen, vm: VmName, host: NodeName, until: float) -> VmSeen:
        """The VM again and again until vCenter, when it is up, shows it as locked."""
        while (
            seen.vcenter is not None
            and not seen.vcenter.locked
            and self.scene.lab.monotonic() < until
        ):
            await self.scene.lab.sleep(clock.AGAIN_S)
            seen = await self.looks.vm(vm, host)
        return seen

    async def _cold_comes_back(self) -> str:
        """What works goes on; what was locked is unlocked, and starts."""
        if wrong := await self.until_it_works(*self.subject):
            return wrong
        wrong = await self.comes_back()
        if not wrong:
            self.parts["after_right_import"] = self.when_cold_again
        return wrong

    async def still_locked(self) -> str:
        """Empty when nobody shows the VM as locked: nobody has asked for it since the fault."""
        vm, host = self.comes
        seen = await self.looks.vm(vm, host)
        locked = any(view is not None and view.locked for view in (seen.own, seen.vcenter))
        return f"{vm} is still locked" if locked else ""

    async def aftermath(self) -> str:
        if self.judged is not None and self.judged.letter == Letter.OK:
            return await self.until_it_works(*self.subject)
        if self._cold is not None:
            return await self._cold_comes_back()
        wrong = await self.comes_back()
        if self.graced and not wrong:
            self.parts["after_fault_ends"] = self.when_over
        return wrong
