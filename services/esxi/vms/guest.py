"""A running guest: it reads, verifies and rewrites its disk on the datastore, for real.

Nothing that it read earlier may serve as an answer: every question goes to the datastore. What
it finds wrong it never forgets while it runs: a faulted guest answers nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NoReturn

from protocol.crypto.disk import DiskCipher
from protocol.errors import GuestFault, InvalidArgument
from protocol.guest import (
    BLOCK_SIZE,
    challenge_digest,
    guest_block,
    guest_seed,
    read_guest_block,
)
from protocol.messages.host import GuestAnswer
from services.esxi.vms.vmx import VmConfig, VmKeys
from services.runtime.ports import Choices, Datastore

RUN: Final = 64
"""Blocks that are read or written in one call of the datastore."""


def disk_image(keys: VmKeys, plain: Sequence[bytes]) -> bytes:
    """A whole disk file with these block contents, the journal last."""
    cipher = _cipher(keys)
    return b"".join([_stored(cipher, index, block) for index, block in enumerate(plain)])


def fresh_blocks(config: VmConfig, seed: bytes) -> list[bytes]:
    """What a new VM's disk holds: every block as first written, with its nvram as marker."""
    made = guest_seed(seed)
    return [guest_block(made, index, 0) for index in range(config.blocks + 1)]


def plain_blocks(keys: VmKeys, stored: Sequence[bytes]) -> list[bytes]:
    """What a disk's blocks hold, as they lie in its file."""
    cipher = _cipher(keys)
    return [each if cipher is None else cipher.decrypt(i, each) for i, each in enumerate(stored)]


def _cipher(keys: VmKeys) -> DiskCipher | None:
    """None for a disk in clear."""
    return None if keys.dek is None else DiskCipher(keys.dek)


def _stored(cipher: DiskCipher | None, index: int, plain: bytes) -> bytes:
    return plain if cipher is None else cipher.encrypt(index, plain)


def split_image(image: bytes, config: VmConfig) -> list[bytes]:
    """Blocks of a disk file; ``GuestFault`` when it has not the size of the VM's disk."""
    if len(image) != (config.blocks + 1) * BLOCK_SIZE:
        raise GuestFault(f"{config.vm}: {config.disk_file} has {len(image)} bytes")
    return [image[at : at + BLOCK_SIZE] for at in range(0, len(image), BLOCK_SIZE)]


def _runs(blocks: Sequence[int]) -> Iterator[Sequence[int]]:
    """In pieces of what one call of the datastore may be about: others have their turn between."""
    return (blocks[at : at + RUN] for at in range(0, len(blocks), RUN))


def _named(blocks: Sequence[int]) -> str:
    count, first, last = len(blocks), blocks[0], blocks[-1]
    return f"block {first}" if count == 1 else f"{count} blocks from {first} to {last}"


class Guest:
    """One run of one VM. Block ``blocks`` (after the last) is the guest's own journal."""

    def __init__(self, datastore: Datastore, config: VmConfig, keys: VmKeys) -> None:
        self.config = config
        self.fault = ""
        self._datastore = datastore
        self._cipher, self._marked = _cipher(keys), guest_seed(keys.seed)
        self._next_block = 0

    async def start(self) -> None:
        """Verify the whole disk, as a guest does that mounts its file system."""
        image = await self._stored_image()
        for index, stored in enumerate(split_image(image, self.config)):
            self._verified(index, stored)

    async def fill(self, marker: bytes) -> GuestAnswer:
        """Every block as first written, made from the questioner's marker, and read back."""
        seed = guest_seed(marker)
        contents = [guest_block(seed, index, 0) for index in range(self.config.blocks)]
        for run in _runs(range(self.config.blocks)):
            await self._put({index: contents[index] for index in run})
        return GuestAnswer(digest=challenge_digest(b"", contents))

    async def contents(self, blocks: Sequence[int]) -> list[bytes]:
        """These blocks, read from the datastore now, each verified."""
        found: list[bytes] = []
        for run in _runs(blocks):
            found += map(self._verified, run, await self._stored_blocks(run))
        return found

    async def challenge(self, nonce: bytes, blocks: Sequence[int], choices: Choices) -> GuestAnswer:
        """Answer with digest and one rewritten block, its next generation read back."""
        most = self.config.blocks
        if not 0 < len(blocks) <= most or not all(0 <= index < most for index in blocks):
            raise InvalidArgument(f"blocks: 1 to {most} within 0..{most - 1} are asked")
        contents = await self.contents(blocks)
        at = choices.randrange(0, len(blocks))
        index = blocks[at]
        generation = await self._rewrite(index, contents[at])
        return GuestAnswer(
            digest=challenge_digest(nonce, contents), rewritten=index, generation=generation
        )

    async def work(self) -> None:
        """One step of its own: verify the next block, then rewrite the journal and read it."""
        at, journal = self._next_block % self.config.blocks, self.config.blocks
        _, old = await self.contents((at, journal))
        self._next_block += 1
        await self._rewrite(journal, old)

    async def _rewrite(self, index: int, old: bytes) -> int:
        seed, generation = read_guest_block(old, index)
        await self._put({index: guest_block(seed, index, generation + 1)})
        return generation + 1

    async def _put(self, plain: Mapping[int, bytes]) -> None:
        """Write these blocks, and read back that they lie there as they were written."""
        written = await self._write(plain)
        if await self._stored_blocks(list(plain)) != written:
            self._fail(f"{_named(list(plain))} was not read back as it was written")

    async def _write(self, plain: Mapping[int, bytes]) -> list[bytes]:
        """Write these blocks; what has to lie on the datastore then."""
        self._alive()
        stored = {index: _stored(self._cipher, index, block) for index, block in plain.items()}
        try:
            await self._datastore.write_blocks(self.config.vm, self.config.disk_file, stored)
        except OSError as error:
            why = error.strerror or error
            raise GuestFault(f"{self.config.vm}: {_named(list(stored))}: {why}") from None
        return list(stored.values())

    async def _stored_blocks(self, blocks: Sequence[int]) -> list[bytes]:
        self._alive()
        try:
            return await self._datastore.read_blocks(
                self.config.vm, self.config.disk_file, blocks, BLOCK_SIZE
            )
        except OSError as error:
            self._fail(f"{_named(blocks)} cannot be read: {error.strerror or error}")

    async def _stored_image(self) -> bytes:
        try:
            return await self._datastore.read(self.config.vm, self.config.disk_file)
        except OSError as error:
            self._fail(f"the disk cannot be read: {error.strerror or error}")

    def _verified(self, index: int, stored: bytes) -> bytes:
        """Decrypt and check; the journal must be made from the seed in the VM's nvram."""
        if len(stored) != BLOCK_SIZE:
            self._fail(f"block {index} is cut short")
        plain = stored if self._cipher is None else self._cipher.decrypt(index, stored)
        try:
            seed, _ = read_guest_block(plain, index)
        except ValueError as error:
            self._fail(str(error))
        if index == self.config.blocks and seed != self._marked:
            self._fail("the journal is another guest's")
        return plain

    def _alive(self) -> None:
        if self.fault:
            raise GuestFault(f"{self.config.vm}: {self.fault}")

    def _fail(self, why: str) -> NoReturn:
        self.fault = self.fault or why
        raise GuestFault(f"{self.config.vm}: {why}")
