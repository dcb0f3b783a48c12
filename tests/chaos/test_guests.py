"""A guest's answer is right only if it is; lost answers stay open until a later one comes."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.draws import Draws
from chaos.observe.guests import BLOCKS, OPEN_LIMIT, GuestReply, Guests
from protocol.errors import InvalidPowerState, ProductError, TimedOut
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.messages.host.vms import GuestAnswer, GuestChallenge, GuestWrite
from protocol.terms import NodeName, VmName

VM, HOST = VmName("vm-01"), NodeName("esxi-001")


class Disk:
    """A lab of one guest that keeps its promises, except as told."""

    def __init__(self) -> None:
        self.seed = b""
        self.generations = [0] * BLOCKS
        self.lose: ProductError | None = None
        self.asked: list[tuple[int, ...]] = []
        self.rewrites: int | None = None  # the block that is rewritten whenever it is asked
        self.boasts = 0  # generations that its answers add
        self.elsewhere = False  # it says that it rewrote a block that was not asked

    async def ask(self, node: NodeName, message: Any, *, within_s: float = 30.0) -> GuestAnswer:
        if isinstance(message, GuestWrite):
            self.seed, self.generations = guest_seed(message.marker), [0] * BLOCKS
            return GuestAnswer(digest=b"")
        assert isinstance(message, GuestChallenge)
        if self.lose is not None and self.lose.definite:
            raise self.lose
        self.asked.append(message.blocks)
        contents = [guest_block(self.seed, b, self.generations[b]) for b in message.blocks]
        block = message.blocks[len(self.asked) % len(message.blocks)]
        if self.rewrites in message.blocks:
            block = self.rewrites
        self.generations[block] += 1
        if self.lose is not None:
            raise self.lose
        return GuestAnswer(
            digest=challenge_digest(message.nonce, contents),
            rewritten=BLOCKS if self.elsewhere else block,
            generation=self.generations[block] + self.boasts,
        )


@pytest.fixture
async def guests() -> tuple[Guests, Disk]:
    disk = Disk()
    lab: Any = disk
    made = Guests(lab, Draws(3, "guests"))
    assert await made.plant(VM, HOST) == ""
    return made, disk


async def test_a_guest_that_keeps_its_promises_is_right_again_and_again(
    guests: tuple[Guests, Disk],
) -> None:
    for _ in range(40):
        assert await guests[0].challenge(VM, HOST) == GuestReply(True)
    assert sum(guests[1].generations) == 40


async def test_a_forgotten_rewrite_is_wrong(guests: tuple[Guests, Disk]) -> None:
    """An acknowledged rewrite that a power loss took back must be seen, sooner or later."""
    made, disk = guests
    await made.challenge(VM, HOST)
    disk.generations = [0] * BLOCKS
    results = [await made.challenge(VM, HOST) for _ in range(40)]
    assert GuestReply(False, f"{VM}: the digest is not that of its blocks") in results


@pytest.mark.parametrize("block", [0, 31, 63])
async def test_one_forgotten_rewrite_is_found_wherever_it_was(
    guests: tuple[Guests, Disk], block: int
) -> None:
    """Reading all of the disk finds it at once; it does not take luck."""
    made, disk = guests
    disk.rewrites = block
    while not disk.generations[block]:
        assert (await made.challenge(VM, HOST)).right is True
    disk.rewrites = None
    assert (await made.read_back(VM, HOST)).right is True
    disk.generations[block] -= 1
    asked = await made.read_back(VM, HOST)
    assert asked == GuestReply(False, f"{VM}: the digest is not that of its blocks")


async def test_all_of_the_disk_is_read_also_while_answers_are_open(
    guests: tuple[Guests, Disk],
) -> None:
    made, disk = guests
    disk.lose = TimedOut("lost")
    for _ in range(OPEN_LIMIT + 2):
        assert (await made.challenge(VM, HOST)).right is None
    disk.lose = None
    disk.asked.clear()
    assert (await made.read_back(VM, HOST)).right is True
    assert sorted(block for blocks in disk.asked for block in blocks) == list(range(BLOCKS))


@pytest.mark.parametrize(("boasts", "elsewhere"), [(1, False), (-1, False), (0, True)])
async def test_a_rewrite_that_was_not_asked_for_or_skips_a_generation_is_wrong(
    guests: tuple[Guests, Disk], boasts: int, elsewhere: bool
) -> None:
    made, disk = guests
    disk.boasts, disk.elsewhere = boasts, elsewhere
    asked = await made.challenge(VM, HOST)
    assert asked.right is False and "has another generation" in asked.detail


async def test_a_guest_that_stops_answering_is_no_proof(guests: tuple[Guests, Disk]) -> None:
    made, disk = guests
    disk.lose = InvalidPowerState("off")
    assert (await made.read_back(VM, HOST)).right is None
    assert (await made.read_back(VmName("vm-02"), HOST)).right is None


@pytest.mark.parametrize("seed", [b"", b"another marker"])
async def test_other_content_is_wrong(guests: tuple[Guests, Disk], seed: bytes) -> None:
    made, disk = guests
    disk.seed = guest_seed(seed)
    assert (await made.challenge(VM, HOST)).right is False


async def test_lost_answers_are_settled_by_later_ones(guests: tuple[Guests, Disk]) -> None:
    made, disk = guests
    for round in range(60):
        disk.lose = TimedOut("lost") if round % 3 == 0 else None
        asked = await made.challenge(VM, HOST)
        assert asked.right is not False, asked.detail
        assert asked.definite is (disk.lose is None)
    disk.lose = None
    assert [(await made.challenge(VM, HOST)).right for _ in range(60)] == [True] * 60
    assert min(len(blocks) for blocks in disk.asked) == 1


async def test_a_definite_refusal_changes_nothing(guests: tuple[Guests, Disk]) -> None:
    made, disk = guests
    disk.lose = InvalidPowerState("off")
    asked = await made.challenge(VM, HOST)
    assert (asked.right, asked.definite) == (None, True)
    disk.lose = None
    assert (await made.challenge(VM, HOST)).right is True


async def test_a_guest_that_was_never_filled_cannot_tell(guests: tuple[Guests, Disk]) -> None:
    assert (await guests[0].challenge(VmName("vm-02"), HOST)).right is None
