"""What the engine knows of each guest's disk and virtual TPM, and the questions that it answers
with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement

from chaos.draws import Draws
from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.look import LabLook
from protocol.errors import NotConnected, NotFound, ProductError
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.guest_tpm import SECRET_SIZE, flaw_of, secret_of
from protocol.messages.host.vms import (
    GuestAnswer,
    GuestChallenge,
    GuestTpmChallenge,
    GuestTpmSeal,
    GuestWrite,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, VmName
from protocol.tpm.structures import PublicArea

WITHIN_S = 30.0


@dataclass
class GuestTpm:
    """The secret sealed in a virtual TPM, the key that signs its answers, and the least value of
    its counter."""

    secret: KeyMaterial
    ak: PublicArea
    last: int


class GuestTpms:
    """The vTPMs of one run's guests; secrets and nonces come from a stream of the run's seed."""

    def __init__(self, lab: LabUnderTest, draws: Draws) -> None:
        self._lab, self._draws = lab, draws
        self._known: dict[VmName, GuestTpm] = {}

    def secrets(self) -> dict[VmName, bytes]:
        """The secret that each guest has sealed. It must be nowhere in clear."""
        return {vm: known.secret.reveal() for vm, known in self._known.items()}

    def knows(self, vm: VmName) -> bool:
        """Whether the engine's secret was sealed in its vTPM."""
        return vm in self._known

    def forget(self, vm: VmName) -> None:
        """The VM's virtual TPM is gone."""
        self._known.pop(vm, None)

    def copy(self, vm: VmName) -> GuestTpm | None:
        """A copy of the present knowledge, for a snapshot or a clone."""
        known = self._known.get(vm)
        return None if known is None else replace(known)

    def put(self, vm: VmName, known: GuestTpm | None) -> None:
        """Restore the knowledge that ``copy`` returned: the VM's virtual TPM is as it was then."""
        if known is None:
            self.forget(vm)
        else:
            self._known[vm] = replace(known)

    async def seal(self, vm: VmName, host: NodeName) -> str:
        """Have the guest seal a new secret. Empty on success, else why not."""
        marker = self._draws.token(SECRET_SIZE)
        try:
            sealed = await self._lab.ask(
                host, GuestTpmSeal(vm=vm, marker=marker), within_s=WITHIN_S
            )
        except REFUSALS as error:
            return f"{vm}: its virtual TPM: {type(error).__name__}: {error}"
        self._known[vm] = GuestTpm(secret_of(marker), PublicArea(sealed.ak), sealed.counter)
        return ""

    async def flaw(self, vm: VmName, host: NodeName) -> str:
        """Challenge with a fresh nonce: empty when the answer is right, else what is wrong with it.

        A ``ProductError`` of the request is raised to the caller.
        """
        known, nonce = self._known[vm], self._draws.token(16)
        asked = GuestTpmChallenge(vm=vm, nonce=nonce)
        answer = (await self._lab.ask(host, asked, within_s=WITHIN_S)).answer
        wrong = flaw_of(answer, ak=known.ak, secret=known.secret, nonce=nonce, last=known.last)
        if wrong:
            return f"{vm}: its virtual TPM: {wrong}"
        known.last = answer.counter
        return ""


BLOCKS = 64
ASKED = 8
OPEN_LIMIT = 3


@dataclass(frozen=True)
class GuestReply:
    """The result of a challenge: right, wrong, or None (no conclusive answer). ``definite``: it
    certainly had no effect. ``away``: the host has no such VM, or must not be queried. ``host``:
    the host that was queried, where the caller did not name one."""

    right: bool | None
    detail: str = ""
    definite: bool = True
    away: bool = False
    host: str = ""


@dataclass
class _Disk:
    seed: bytes
    run: bytes = b""
    generations: dict[int, int] = field(default_factory=dict)
    open: int = 0  # rewrites that may have happened
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def at_once(self, most: int) -> int:
        """How many of ``most`` blocks one question may be about: each open answer multiplies
        what a disk may hold, and while many are open it is one."""
        few = min(ASKED, most)
        return most if not self.open else few if self.open <= OPEN_LIMIT else 1


@dataclass(frozen=True)
class _Copy:
    """A guest as it was when its VM was copied."""

    seed: bytes
    generations: dict[int, int]
    open: int
    vtpm: GuestTpm | None


class Guests:
    """The disks of one run's guests; markers and nonces come from a stream of the run's seed."""

    def __init__(self, lab: LabUnderTest, draws: Draws) -> None:
        self._lab = lab
        self._draws = draws
        self._disks: dict[VmName, _Disk] = {}
        self.vtpms = GuestTpms(lab, draws)
        self._seen_on: dict[VmName, NodeName] = {}
        self._snapshots: dict[tuple[VmName, str], _Copy] = {}

    def list_planted(self) -> tuple[VmName, ...]:
        """VMs whose disks the engine has filled from a marker."""
        return tuple(self._disks)

    def run_of(self, vm: VmName) -> bytes:
        """The run of the guest that gave the latest right answer; empty when there is none."""
        disk = self._disks.get(vm)
        return b"" if disk is None else disk.run

    def seeds(self) -> dict[VmName, bytes]:
        """The clear text in every block of a guest's disk, which occurs nowhere else."""
        return {vm: disk.seed for vm, disk in self._disks.items()}

    async def plant(self, vm: VmName, host: NodeName, *, vtpm: bool = False) -> str:
        """Have the guest fill its disk, and seal a secret if it has a ``vtpm``. Empty on success,
        else why not."""
        marker = self._draws.token(32)
        try:
            await self._lab.ask(host, GuestWrite(vm=vm, marker=marker), within_s=WITHIN_S)
        except REFUSALS as error:
            return f"{vm}: {type(error).__name__}: {error}"
        self._disks[vm] = _Disk(guest_seed(marker))
        self._seen_on[vm] = host
        return await self.vtpms.seal(vm, host) if vtpm else ""

    def forget(self, vm: VmName) -> None:
        """The VM is gone. Another VM of that name has another disk, and another virtual TPM or
        none."""
        self._disks.pop(vm, None)
        self._seen_on.pop(vm, None)
        self.vtpms.forget(vm)

    @asynccontextmanager
    async def leave_alone(self, vm: VmName) -> AsyncIterator[None]:
        """Send the guest no challenge while its VM is copied or reverted."""
        disk = self._disks.get(vm)
        async with asyncio.Lock() if disk is None else disk.lock:
            yield

    def record_snapshot(self, vm: VmName, snapshot: str) -> None:
        """Record a snapshot with the guest's present content."""
        if copy := self._copy(vm):
            self._snapshots[vm, snapshot] = copy

    def went_back(self, vm: VmName, snapshot: str) -> None:
        """The guest was reverted; it is forgotten when its earlier content is not known."""
        copy = self._snapshots.get((vm, snapshot))
        if copy is None:
            self.forget(vm)
        else:
            self._put(vm, copy)

    def record_clone(self, vm: VmName, clone: VmName) -> None:
        """Another VM has a copy of this disk, and may have one of the virtual TPM, which is not
        challenged."""
        if copy := self._copy(vm):
            self._put(clone, replace(copy, vtpm=None))

    def _copy(self, vm: VmName) -> _Copy | None:
        disk = self._disks.get(vm)
        if disk is None:
            return None
        return _Copy(disk.seed, dict(disk.generations), disk.open, self.vtpms.copy(vm))

    def _put(self, vm: VmName, copy: _Copy) -> None:
        disk = self._disks.setdefault(vm, _Disk(copy.seed))
        disk.seed, disk.generations, disk.open = copy.seed, dict(copy.generations), copy.open
        self.vtpms.put(vm, copy.vtpm)

    async def challenge_found(self, vm: VmName) -> GuestReply | None:
        """``challenge`` at the host that has the VM: the last known one, else any that lists it
        now. None when no host that answers has it."""
        if vm in self._seen_on:
            asked = await self.challenge(vm, self._seen_on[vm])
            if not asked.away:
                return replace(asked, host=str(self._seen_on[vm]))
        seen = await LabLook(self._lab).vms()
        if vm not in seen:
            return None
        host = self._seen_on[vm] = seen[vm][0]
        return replace(await self.challenge(vm, host), host=str(host))

    async def challenge(self, vm: VmName, host: NodeName) -> GuestReply:
        """Challenge eight blocks (one while many answers are open) with a fresh nonce, and the
        vTPM."""
        disk = self._disks.get(vm)
        if disk is None:
            return GuestReply(None, f"{vm}: its disk was never filled")
        async with disk.lock:
            asked = await self._ask(
                vm, host, disk, self._draws.pick(range(BLOCKS), disk.at_once(ASKED))
            )
            return await self._ask_vtpm(vm, host) if asked.right else asked

    async def read_back(self, vm: VmName, host: NodeName) -> GuestReply:
        """Challenge every block of the disk; returns the first answer that is not right, or the
        last one.

        This finds a lost acknowledged rewrite in any block.
        """
        disk = self._disks.get(vm)
        if disk is None:
            return GuestReply(None, f"{vm}: its disk was never filled")
        asked = GuestReply(True)
        async with disk.lock:
            left = tuple(range(BLOCKS))
            while left and asked.right:
                count = disk.at_once(BLOCKS)
                blocks, left = left[:count], left[count:]
                asked = await self._ask(vm, host, disk, blocks)
            return await self._ask_vtpm(vm, host) if asked.right else asked

    async def _ask_vtpm(self, vm: VmName, host: NodeName) -> GuestReply:
        """Right at once of a guest without a vTPM."""
        if not self.vtpms.knows(vm):
            return GuestReply(True)
        try:
            wrong = await self.vtpms.flaw(vm, host)
        except ProductError as error:
            away = isinstance(error, NotFound | NotConnected)
            text = f"{vm}: its virtual TPM: {type(error).__name__}: {error}"
            return GuestReply(None, text, error.definite, away)
        return GuestReply(not wrong, wrong)

    async def _ask(
        self, vm: VmName, host: NodeName, disk: _Disk, blocks: tuple[int, ...]
    ) -> GuestReply:
        nonce = self._draws.token(16)
        question = GuestChallenge(vm=vm, nonce=nonce, blocks=blocks)
        try:
            answer = await self._lab.ask(host, question, within_s=WITHIN_S)
        except ProductError as error:
            if not error.definite:
                disk.open += 1
            away = isinstance(error, NotFound | NotConnected)
            return GuestReply(None, f"{vm}: {type(error).__name__}: {error}", error.definite, away)
        return _judge(vm, disk, nonce, blocks, answer)


def _judge(
    vm: VmName, disk: _Disk, nonce: bytes, blocks: tuple[int, ...], answer: GuestAnswer
) -> GuestReply:
    for guess in _worlds(disk, blocks):
        contents = [guest_block(disk.seed, block, guess[block]) for block in blocks]
        if challenge_digest(nonce, contents) != answer.digest:
            continue
        moved = sum(guess[block] - disk.generations.get(block, 0) for block in blocks)
        disk.open = max(0, disk.open - moved)
        disk.generations.update(guess)
        if answer.rewritten not in guess or answer.generation != guess[answer.rewritten] + 1:
            return GuestReply(False, f"{vm}: block {answer.rewritten} has another generation")
        disk.generations[answer.rewritten] = answer.generation
        disk.run = answer.run
        return GuestReply(True)
    return GuestReply(False, f"{vm}: the digest is not that of its blocks")


def _worlds(disk: _Disk, blocks: tuple[int, ...]) -> Iterator[dict[int, int]]:
    """Generations of ``blocks`` as they may be: as known, or with open rewrites among them."""
    known = {block: disk.generations.get(block, 0) for block in blocks}
    limit = disk.open if len(blocks) == 1 else min(disk.open, OPEN_LIMIT)
    for moved in range(limit + 1):
        for chosen in combinations_with_replacement(blocks, moved):
            world = dict(known)
            for block in chosen:
                world[block] += 1
            yield world
