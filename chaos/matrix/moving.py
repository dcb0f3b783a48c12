"""A VM that runs is moved to another host, by vMotion: what was seen of it, and its letter."""

from __future__ import annotations

from typing import Final

from chaos.matrix import clock
from chaos.matrix.evidence import Answered, JudgedLetter, MovedVm
from chaos.matrix.letters import of_move
from chaos.matrix.looks import Looks, plain
from chaos.oracle.terms import Letter
from protocol.messages.vcenter import MigrateVm
from protocol.terms import NodeName, VmName

OK: Final = "ok"
REFUSED: Final = "refused"


class Moving:
    """Moves of one event; ``asked_at`` and ``ended_at``: of the task that decided, in lab
    seconds."""

    def __init__(self, looks: Looks) -> None:
        self._looks, self._scene = looks, looks.scene
        self.asked_at = self.ended_at = 0.0

    async def move_and_judge(
        self, vm: VmName, source: NodeName, target: NodeName, *, patient: bool = False
    ) -> JudgedLetter:
        """The task of vCenter; then the letter. ``patient``: see ``until_answered``."""
        looks = self._looks
        before = await looks.vm(vm, source)
        run = self._scene.guests.run_of(vm)
        asked = await (self.until_answered(vm, target) if patient else self.ask(vm, target))
        here, there = await looks.vm(vm, source), await looks.vm(vm, target)
        moved = MovedVm(
            asked=asked,
            here=here,
            there=there,
            same_run=before.works.right is True and self._scene.guests.run_of(vm) == run,
            gap_s=self._gap_s(source),
        )
        looks.trail.write("probe", target, "moved", **plain(moved))
        limit_s = clock.SWITCH_OVER_S + self._scene.patience
        return of_move(
            moved,
            source=source,
            target=target,
            limit_s=limit_s,
            encrypted=vm not in self._scene.clear,
        )

    async def move_and_describe(self, vm: VmName, source: NodeName, target: NodeName) -> str:
        """A move as a part of another event: ``ok``, ``refused``, or what is neither."""
        judged = await self.move_and_judge(vm, source, target)
        known: dict[str, str] = {Letter.OK: OK, Letter.NO: REFUSED}
        return known.get(judged.letter, judged.why)

    async def until_answered(self, vm: VmName, target: NodeName) -> Answered:
        """The task, to a host that has just booted: again while vCenter is not connected to it, as
        long as a move may take."""
        lab = self._scene.lab
        until = lab.monotonic() + clock.MOVE_S + self._scene.patience
        asked = await self.ask(vm, target)
        while asked.error in ("HostUnreachable", "TimedOut") and lab.monotonic() < until:
            await lab.sleep(clock.AGAIN_S)
            asked = await self.ask(vm, target)
        return asked

    async def ask(self, vm: VmName, target: NodeName) -> Answered:
        """The task alone."""
        lab, message = self._scene.lab, MigrateVm(vm=vm, host=target)
        self.asked_at = lab.monotonic()
        asked = await self._looks.ask_vcenter(message, within_s=clock.MOVE_S)
        self.ended_at = lab.monotonic()
        return asked

    def _gap_s(self, source: NodeName) -> float | None:
        """From the first part of its memory on the wire to the target's word that it goes on."""
        said = [
            one
            for one in self._scene.heard.of(source, self.asked_at)
            if one.name in ("SendMemory", "SwitchOver", "SwitchedOver")
        ]
        began = min((one.t for one in said if one.name == "SendMemory"), default=None)
        ended = max((one.t for one in said if one.kind == "reply"), default=None)
        return None if began is None or ended is None else ended - began
