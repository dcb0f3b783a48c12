"""What is seen of VMs, hosts and events: each look is written down as evidence of an event.

Every question goes to a local console, over no link that a fault could touch; what is asked of a
host is what the host shows, what is asked of vCenter is what clients are shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from chaos.faults.base import status_of
from chaos.lab import REFUSALS
from chaos.matrix import clock
from chaos.matrix.evidence import (
    Answered,
    EventSeen,
    HostSeen,
    JudgedLetter,
    MovedVm,
    RequestOutcome,
    VmSeen,
    VmView,
    Works,
)
from chaos.matrix.judging.letters import of_move
from chaos.matrix.scene import DUMP, LOOK_S, StagingScene, Trail, event_of
from chaos.observe.look import all_events, all_hosts, all_vms
from chaos.oracle.terms import Letter
from protocol.errors import (
    Disconnected,
    EncryptionKeyRequired,
    NotConnected,
    ProductError,
    Refused,
    TimedOut,
)
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.messages.base import Reply, Request
from protocol.messages.fingerprints import FingerprintKeys
from protocol.messages.host.crypto import DecryptDump, GetCryptoKeyStatus, KeyStatus
from protocol.messages.host.session import QueryHost
from protocol.messages.host.session import VmSummary as OwnVm
from protocol.messages.vcenter.inventory import HostInfo
from protocol.messages.vcenter.vms import MigrateVm, VmInfo
from protocol.terms import CryptoKeyId, KeyId, NodeName, VmName

R = TypeVar("R", bound=Reply)

_NOBODY = (NotConnected, Refused, TimedOut, Disconnected)


def plain(value: object) -> Any:
    """Evidence as a record has it."""
    return msgspec.to_builtins(value, str_keys=True)


class Looks:
    """Asks and looks for one event."""

    def __init__(self, scene: StagingScene, trail: Trail) -> None:
        self.scene, self.trail = scene, trail

    # ---- asking ---------------------------------------------------------------------------------

    async def ask(
        self, node: NodeName, message: Request[Any], *, within_s: float = LOOK_S
    ) -> Answered:
        """Have something done, and say how it ended."""
        op = type(message).__name__
        self.trail.write("invoke", node, op, request=plain(message))
        if node == self.scene.vcenter and self.scene.vcenter_cut:
            found = Answered(
                outcome=RequestOutcome.SILENT, error="TimedOut", text="its links are cut"
            )
            self.trail.write("info", node, op, **plain(found))
            return found
        try:
            longer = self.scene.patience + self.scene.in_turn
            await self.scene.lab.ask(node, message, within_s=within_s + longer)
        except REFUSALS as error:
            found = self._refusal(error)
            kind = "fail" if isinstance(error, ProductError) and error.definite else "info"
            self.trail.write(kind, node, op, **plain(found))
            return found
        self.trail.write("ok", node, op)
        return Answered(outcome=RequestOutcome.DONE)

    async def ask_vcenter(
        self, message: Request[Any], *, within_s: float = clock.TASK_S
    ) -> Answered:
        """``ask`` of vCenter; a task has the window of a power-on."""
        return await self.ask(self.scene.vcenter, message, within_s=within_s)

    @staticmethod
    def _refusal(error: Exception) -> Answered:
        silent = isinstance(error, _NOBODY)
        return Answered(
            outcome=RequestOutcome.SILENT if silent else RequestOutcome.REFUSED,
            error=type(error).__name__,
            text=str(error),
            keys=error.keys if isinstance(error, ProductError) else (),
        )

    # ---- VMs ------------------------------------------------------------------------------------

    async def vm(self, vm: VmName, host: NodeName) -> VmSeen:
        """The VM as ``host`` shows it, as vCenter does, and what its guest answers."""
        own = await self._at_host(vm, host)
        up, there = await self._in_vcenter(vm)
        works = Works(right=None, detail="it does not run")
        if own is not None and own.on:
            works = await self._works(vm, host)
        locks = tuple(e for e in await self.events(vm=vm) if e.locks) if up else ()
        seen = VmSeen(
            own=own,
            vcenter=there,
            vcenter_up=up,
            works=works,
            locks=locks,
            clear=vm in self.scene.clear & self.scene.judged,
        )
        self.trail.write("probe", host, "vm", vm=vm, **plain(seen))
        return seen

    async def _works(self, vm: VmName, host: NodeName) -> Works:
        """What its guest answers. One whose answers are right and whose disk on the datastore stays
        as it was has rewritten nothing: it is no guest that has its disk."""
        event = event_of(vm)
        before = await self.scene.bench.disk_of(event, vm)
        asked = await self.scene.guests.challenge(vm, host)
        if asked.right and before == await self.scene.bench.disk_of(event, vm):
            return Works(right=False, detail=f"{vm}: what it rewrote is not on the datastore")
        return Works(right=asked.right, detail=asked.detail)

    async def _at_host(self, vm: VmName, host: NodeName) -> VmView | None:
        summary = await self._summary(host)
        found = () if summary is None else summary.vms
        return next((_view(host, one) for one in found if one.vm == vm), None)

    async def _summary(self, host: NodeName) -> Any:
        found = await self.scene.find_answer(host, QueryHost())
        return None if found is None else found.summary

    async def _in_vcenter(self, vm: VmName) -> tuple[bool, VmView | None]:
        """Whether vCenter answers, and the VM as it shows it."""
        if self.scene.vcenter_cut:
            return False, None
        try:
            listed = await all_vms(self.scene.lab, self.scene.vcenter, within_s=LOOK_S)
        except REFUSALS:
            return False, None
        return True, next((_view(one.host, one) for one in listed if one.vm == vm), None)

    # ---- hosts ----------------------------------------------------------------------------------

    async def host(self, host: NodeName, *, since: float) -> HostSeen:
        """The host as it shows itself and as vCenter shows it, and what it has sent since then."""
        status = await status_of(self.scene.lab, host)
        summary = await self._summary(host) if _runs(status) else None
        up, info = await self._host_there(host)
        seen = HostSeen(
            answers=summary is not None,
            screen="" if status is None else status.screen,
            crypto=None if summary is None else summary.crypto_state,
            connection=None if info is None else info.connection,
            vcenter_crypto=None if info is None else info.crypto_state,
            vcenter_up=up,
            dump=None if summary is None else await self.dump(host),
            messages=self.scene.heard.count_sent_by(host, since),
        )
        self.trail.write("probe", host, "host", **plain(seen))
        return seen

    async def dump(self, host: NodeName) -> bool | None:
        """Whether the host decrypts the dump that was written on it; None when there is none, or
        nobody answers."""
        marker = self.scene.dumped.get(host)
        if marker is None:
            return None
        try:
            found = await self.scene.lab.ask(host, DecryptDump(dump=DUMP), within_s=LOOK_S)
        except EncryptionKeyRequired:
            return False
        except REFUSALS:
            return None
        return marker in found.content

    async def host_in_vcenter(self, host: NodeName) -> HostInfo | None:
        """The host in vCenter's inventory; None when it is not there, or nobody answers."""
        return (await self._host_there(host))[1]

    async def _host_there(self, host: NodeName) -> tuple[bool, HostInfo | None]:
        """Whether vCenter answers, and the host as it shows it."""
        if self.scene.vcenter_cut:
            return False, None
        try:
            listed = await all_hosts(self.scene.lab, self.scene.vcenter, within_s=LOOK_S)
        except REFUSALS:
            return False, None
        return True, next((one for one in listed if one.host == host), None)

    async def keys_at(
        self, host: NodeName, keys: Iterable[CryptoKeyId]
    ) -> tuple[KeyStatus, ...] | None:
        """Which of the keys the host has; None when it does not answer."""
        found = await self.scene.find_answer(host, GetCryptoKeyStatus(keys=tuple(keys)))
        if found is None:
            return None
        self.trail.write("probe", host, "keys", keys=plain(found.keys))
        return found.keys

    async def same_keys(
        self, host: NodeName, other: NodeName, keys: Iterable[CryptoKeyId]
    ) -> frozenset[CryptoKeyId]:
        """Those of the keys that both hosts have in their caches, with the same value.

        A host that only says that it has a key cannot tell its fingerprint under a fresh secret.
        """
        question = FingerprintKeys(secret=self.scene.draws.token(32))
        found: list[dict[KeyId, str]] = []
        for one in (host, other):
            answer = await self.scene.lab.ask(one, question, within_s=LOOK_S)
            cached = [key for key in answer.keys if key.place == "cache"]
            found.append({key.key_id: key.fingerprint for key in cached})
        here, there = found
        return frozenset(
            key for key in keys if key.key_id in here and here[key.key_id] == there.get(key.key_id)
        )

    # ---- events ---------------------------------------------------------------------------------

    async def events(
        self, *, vm: VmName | None = None, host: NodeName | None = None
    ) -> tuple[EventSeen, ...]:
        """vCenter's log since the fault began, of one VM or host, or all of it."""
        scene = self.scene
        if scene.vcenter_cut:
            return ()
        try:
            found = await all_events(scene.lab, scene.vcenter, after=scene.first_event)
        except REFUSALS:
            return ()
        return tuple(
            msgspec.convert(one, EventSeen, from_attributes=True)
            for one in found
            if vm in (None, one.vm) and host in (None, one.host)
        )


def _runs(status: NodeStatus | None) -> bool:
    return status is not None and status.state is NodeRunState.RUNNING


def _view(host: NodeName, one: OwnVm | VmInfo) -> VmView:
    return VmView(
        host=host,
        power=one.power,
        crypto=one.crypto,
        connection=one.connection,
        missing=one.missing,
    )


# Moving ---------------------------------------------------------------------------------------
#
# A VM that runs is moved to another host, by vMotion: what was seen of it, and its letter.

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
