"""A running guest: its memory, of which a migration sends a part, and its work: it reads, verifies
and rewrites its disk on the datastore, for real.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import msgspec

from protocol.crypto.disk import DiskCipher
from protocol.errors import GuestFault, InvalidArgument
from protocol.guest import (
    BLOCK_SIZE,
    challenge_digest,
    guest_block,
    guest_seed,
    read_guest_block,
)
from protocol.messages.host.vms import GuestAnswer
from protocol.secret import KeyMaterial
from protocol.terms import VmName
from services.esxi.vms.file_formats import DiskConfig, VmConfig, VmKeys
from services.esxi.vms.vtpm import Vtpm
from services.runtime.ports import Choices, Datastore

PAGES: Final = 4
PAGE_SIZE: Final = 1024
SECRET_SIZE: Final = 32
RUN_SIZE: Final = 8
_GENERATION: Final = 8  # bytes


class GuestMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The state from which a frozen guest continues: its pages (never written ones are empty), the
    progress of its work, and the state of its virtual TPM, if it has one."""

    pages: tuple[bytes, ...]
    next_block: int
    writes: int
    vtpm: bytes | None = None


_decoder: Final = msgspec.msgpack.Decoder(GuestMemory)
_encode: Final = msgspec.msgpack.Encoder().encode


def pack_memory(memory: GuestMemory) -> bytes:
    """The memory as bytes."""
    return _encode(memory)


def unpack_memory(data: bytes) -> GuestMemory:
    """The memory in these bytes; ``GuestFault`` when they are malformed."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError):
        raise GuestFault("what came is no guest's memory") from None


class Ram:
    """The pages of one guest. ``writes``: how many were written since it started."""

    def __init__(self, secret: bytes, *, secrecy: bool) -> None:
        """``secrecy``: the guest's VM is encrypted, so its memory is secret."""
        self._secret = KeyMaterial(secret) if secrecy else secret
        self._pages = [b""] * PAGES
        self.writes = 0

    @property
    def run(self) -> bytes:
        """Identifies the run of the guest, and reveals nothing of its memory: 8 bytes."""
        return hashlib.sha256(b"keystead guest run" + self._clear).digest()[:RUN_SIZE]

    @property
    def pages(self) -> tuple[bytes, ...]:
        """The present pages."""
        return tuple(self._pages)

    @property
    def _clear(self) -> bytes:
        return self._secret if isinstance(self._secret, bytes) else self._secret.reveal()

    def write(self) -> None:
        """Read and verify the next page, and write it again; ``GuestFault`` when it is wrong."""
        at = self.writes % PAGES
        self._verify(at)
        self.writes += 1
        self._pages[at] = _page(self._clear, at, self.writes)

    def verify(self) -> None:
        """``GuestFault`` unless every page is as it was written."""
        for at in range(PAGES):
            self._verify(at)

    def _verify(self, at: int) -> None:
        page = self._pages[at]
        if page:
            generation = int.from_bytes(page[SECRET_SIZE : SECRET_SIZE + _GENERATION], "big")
            if page != _page(self._clear, at, generation):
                raise GuestFault(f"page {at} of the memory is damaged")

    @classmethod
    def thaw(cls, memory: GuestMemory, *, secrecy: bool) -> Ram:
        """The memory of a resumed guest; ``GuestFault`` unless all pages are of one guest."""
        first = memory.pages[0] if len(memory.pages) == PAGES else b""
        if len(first) != PAGE_SIZE:
            raise GuestFault("the memory is incomplete")
        ram = cls(first[:SECRET_SIZE], secrecy=secrecy)
        ram._pages, ram.writes = list(memory.pages), memory.writes
        ram.verify()
        return ram


def _page(secret: bytes, at: int, generation: int) -> bytes:
    head = secret + generation.to_bytes(_GENERATION, "big") + at.to_bytes(8, "big")
    return head + hashlib.shake_256(head).digest(PAGE_SIZE - len(head))


RUN: Final = 64
"""Blocks read or written in one call of the datastore."""


SPAN: Final = 32768
"""Block addresses of each disk: block ``at`` of "Hard disk N" is (N-1) * SPAN + ``at``."""


def disk_image(dek: KeyMaterial | None, plain: Sequence[bytes]) -> bytes:
    """A whole disk file with these block contents, the journal last; in clear without a DEK."""
    cipher = None if dek is None else DiskCipher(dek)
    return b"".join([_encrypt_block(cipher, index, block) for index, block in enumerate(plain)])


def decrypt_blocks(dek: KeyMaterial | None, stored: Sequence[bytes]) -> list[bytes]:
    """The content of the blocks of a disk file."""
    if dek is None:
        return list(stored)
    cipher = DiskCipher(dek)
    return [cipher.decrypt(index, block) for index, block in enumerate(stored)]


def fresh_blocks(disk: DiskConfig, seed: bytes) -> list[bytes]:
    """The content of a new disk: every block as first written, with its VM's nvram as marker."""
    made, first = guest_seed(seed), _first_address(disk)
    return [guest_block(made, first + at, 0) for at in range(disk.blocks + 1)]


def _first_address(disk: DiskConfig) -> int:
    """The address of the disk's first block."""
    return (disk.number - 1) * SPAN


def _encrypt_block(cipher: DiskCipher | None, index: int, plain: bytes) -> bytes:
    return plain if cipher is None else cipher.encrypt(index, plain)


def split_image(image: bytes, vm: VmName, disk: DiskConfig) -> list[bytes]:
    """Blocks of a disk file; ``GuestFault`` when it does not have the size of the disk."""
    if len(image) != (disk.blocks + 1) * BLOCK_SIZE:
        raise GuestFault(f"{vm}: {disk.file} has {len(image)} bytes")
    return [image[at : at + BLOCK_SIZE] for at in range(0, len(image), BLOCK_SIZE)]


def _split_runs(blocks: Sequence[int]) -> Iterator[Sequence[int]]:
    """Split into runs for one call of the datastore each: other guests get their turn in
    between."""
    return (blocks[at : at + RUN] for at in range(0, len(blocks), RUN))


def _describe_blocks(blocks: Sequence[int]) -> str:
    count, first, last = len(blocks), blocks[0], blocks[-1]
    return f"block {first}" if count == 1 else f"{count} blocks from {first} to {last}"


@dataclass(frozen=True)
class _Disk:
    """A disk as its guest sees it: with the cipher of its DEK, None in clear."""

    disk: DiskConfig
    cipher: DiskCipher | None


class RunningGuest:
    """One run of one VM. The block after the last of each disk is the guest's own journal."""

    def __init__(
        self, datastore: Datastore, config: VmConfig, keys: VmKeys, ram: Ram, next_block: int = 0
    ) -> None:
        self.config, self._ram = config, ram
        self.fault = ""
        self._datastore = datastore
        self._marked = guest_seed(keys.seed)
        self._disks = {
            disk.number - 1: _Disk(disk, None if dek is None else DiskCipher(dek))
            for disk, dek in zip(config.disks, keys.deks, strict=True)
        }
        self._next_block = next_block
        self.vtpm: Vtpm | None = None

    @classmethod
    def thaw(
        cls, datastore: Datastore, config: VmConfig, keys: VmKeys, memory: GuestMemory
    ) -> RunningGuest:
        """Resume a frozen guest; ``GuestFault`` when its memory is damaged."""
        ram = Ram.thaw(memory, secrecy=bool(config.keys))
        return cls(datastore, config, keys, ram, memory.next_block)

    def freeze(self) -> GuestMemory:
        """The complete state of the guest. The caller ensures that only one host resumes it.
        ``GuestFault`` when it has faulted: a fault does not travel."""
        self._alive()
        if not self._ram.writes:
            self._ram.write()
        return GuestMemory(
            pages=self._ram.pages,
            next_block=self._next_block,
            writes=self._ram.writes,
            vtpm=None if self.vtpm is None else self.vtpm.pack_for_handover(),
        )

    async def start(self) -> None:
        """Verify every disk completely, as a guest that mounts its file systems."""
        for of in self._disks.values():
            image = await self._read_image(of.disk)
            first = _first_address(of.disk)
            for at, stored in enumerate(split_image(image, self.config.vm, of.disk)):
                self._decrypt_and_verify(first + at, stored)

    async def fill(self, marker: bytes) -> GuestAnswer:
        """Write every block of the first disk anew, made from ``marker``, and read them back."""
        seed, blocks = guest_seed(marker), self._first_disk.blocks
        contents = [guest_block(seed, index, 0) for index in range(blocks)]
        for run in _split_runs(range(blocks)):
            await self._put({index: contents[index] for index in run})
        return GuestAnswer(digest=challenge_digest(b"", contents))

    @property
    def _first_disk(self) -> DiskConfig:
        return next(iter(self._disks.values())).disk

    async def contents(self, blocks: Sequence[int]) -> list[bytes]:
        """These blocks, read from the datastore now and verified."""
        found: list[bytes] = []
        for run in _split_runs(blocks):
            found += map(self._decrypt_and_verify, run, await self._read_stored_blocks(run))
        return found

    async def challenge(self, nonce: bytes, blocks: Sequence[int], choices: Choices) -> GuestAnswer:
        """Answer with a digest and one rewritten block, whose next generation is read back."""
        if not 0 < len(blocks) <= self._size or not all(map(self._has, blocks)):
            known = ", ".join(
                f"{_first_address(of.disk)}..{_first_address(of.disk) + of.disk.blocks - 1}"
                for of in self._disks.values()
            )
            raise InvalidArgument(f"blocks: 1 to {self._size} blocks within {known}")
        contents = await self.contents(blocks)
        at = choices.randrange(0, len(blocks))
        index = blocks[at]
        generation = await self._rewrite(index, contents[at])
        self._use_memory()
        return GuestAnswer(
            digest=challenge_digest(nonce, contents),
            rewritten=index,
            generation=generation,
            run=self._ram.run,
        )

    @property
    def _size(self) -> int:
        return sum(of.disk.blocks for of in self._disks.values())

    def _has(self, block: int) -> bool:
        of = self._disks.get(block // SPAN)
        return of is not None and block % SPAN < of.disk.blocks

    async def work(self) -> None:
        """One step of its own work on each disk: verify the next block, then rewrite and read the
        journal."""
        for of in self._disks.values():
            first, journal = _first_address(of.disk), _first_address(of.disk) + of.disk.blocks
            _, old = await self.contents((first + self._next_block % of.disk.blocks, journal))
            await self._rewrite(journal, old)
        self._next_block += 1
        self._use_memory()
        if self.vtpm is not None:
            await self.vtpm.work()

    def _use_memory(self) -> None:
        try:
            self._ram.write()
        except GuestFault as fault:
            self._fail(str(fault))

    async def _rewrite(self, index: int, old: bytes) -> int:
        seed, generation = read_guest_block(old, index)
        await self._put({index: guest_block(seed, index, generation + 1)})
        return generation + 1

    async def _put(self, plain: Mapping[int, bytes]) -> None:
        """Write these blocks, and check by reading that they were stored."""
        written = await self._write(plain)
        if await self._read_stored_blocks(list(plain)) != written:
            self._fail(f"{_describe_blocks(list(plain))} was not read back as it was written")

    async def _write(self, plain: Mapping[int, bytes]) -> list[bytes]:
        """Write these blocks; returns what must be stored afterwards."""
        self._alive()
        stored = {
            at: _encrypt_block(self._cipher(at), at % SPAN, block) for at, block in plain.items()
        }
        for of, found in self._by_disk(stored):
            pieces = {at % SPAN: stored[at] for at in found}
            try:
                await self._datastore.write_blocks(self.config.vm, of.disk.file, pieces)
            except OSError as error:
                why = error.strerror or error
                raise GuestFault(f"{self.config.vm}: {_describe_blocks(found)}: {why}") from None
        return list(stored.values())

    def _cipher(self, block: int) -> DiskCipher | None:
        return self._disks[block // SPAN].cipher

    def _by_disk(self, blocks: Iterable[int]) -> list[tuple[_Disk, list[int]]]:
        """These addresses, grouped by disk."""
        found: dict[int, list[int]] = {}
        for block in blocks:
            found.setdefault(block // SPAN, []).append(block)
        return [(self._disks[unit], of) for unit, of in found.items()]

    async def _read_stored_blocks(self, blocks: Sequence[int]) -> list[bytes]:
        self._alive()
        read: dict[int, bytes] = {}
        for of, found in self._by_disk(blocks):
            try:
                pieces = await self._datastore.read_blocks(
                    self.config.vm, of.disk.file, [at % SPAN for at in found], BLOCK_SIZE
                )
            except OSError as error:
                self._fail(f"{_describe_blocks(found)} cannot be read: {error.strerror or error}")
            read.update(zip(found, pieces, strict=True))
        return [read[block] for block in blocks]

    async def _read_image(self, disk: DiskConfig) -> bytes:
        try:
            return await self._datastore.read(self.config.vm, disk.file)
        except OSError as error:
            self._fail(f"{disk.label} cannot be read: {error.strerror or error}")

    def _decrypt_and_verify(self, index: int, stored: bytes) -> bytes:
        """Decrypt and verify; the journal must be made from the seed in the VM's nvram."""
        if len(stored) != BLOCK_SIZE:
            self._fail(f"block {index} is cut short")
        of = self._disks[index // SPAN]
        plain = stored if of.cipher is None else of.cipher.decrypt(index % SPAN, stored)
        try:
            seed, _ = read_guest_block(plain, index)
        except ValueError as error:
            self._fail(str(error))
        if index % SPAN == of.disk.blocks and seed != self._marked:
            self._fail("the journal is another guest's")
        return plain

    def _alive(self) -> None:
        if self.fault:
            raise GuestFault(f"{self.config.vm}: {self.fault}")

    def _fail(self, why: str) -> NoReturn:
        self.fault = self.fault or why
        raise GuestFault(f"{self.config.vm}: {why}")
