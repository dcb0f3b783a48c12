"""The memory of a running guest, and the part of it that a migration sends. Pure.

A guest writes pages made from a secret that it draws when it starts and stores nowhere else. A
guest that answers with the same secret is the same run, on whatever host.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from protocol.errors import GuestFault
from protocol.secret import KeyMaterial

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
