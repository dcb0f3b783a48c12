"""The content of a guest's disk blocks: agreed between guests and those that verify them.

A guest writes blocks made from a marker that only the verifier keeps. Each block carries the
marker's seed, its own number and its generation, so a guest can verify what it reads from the
datastore, and rewrite it, without remembering anything. The verifier computes the right answer from
the marker alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

BLOCK_SIZE: Final = 4096
"""Bytes of a block of a guest's disk."""
_MAGIC: Final = b"KSGUEST1"
_HEADER: Final = len(_MAGIC) + 32 + 8 + 8
_REPEATS: Final = BLOCK_SIZE // 64


def guest_seed(marker: bytes) -> bytes:
    """The 32 bytes that stand for ``marker`` in every block."""
    return hashlib.sha256(b"keystead guest marker" + marker).digest()


def guest_block(seed: bytes, index: int, generation: int) -> bytes:
    """Block ``index`` in its ``generation`` (0 = as first written): ``BLOCK_SIZE`` bytes.

    The digest of the header fills the block: cheap to compute, and no two blocks share a part
    longer than the beginning of the header.
    """
    header = _MAGIC + seed + index.to_bytes(8, "big") + generation.to_bytes(8, "big")
    return _fill_block(header)


def _fill_block(header: bytes) -> bytes:
    return header + (hashlib.blake2b(header).digest() * _REPEATS)[: BLOCK_SIZE - _HEADER]


def read_guest_block(block: bytes, index: int) -> tuple[bytes, int]:
    """Seed and generation of a block that was read as number ``index``.

    ``ValueError`` when it is not exactly a block of that number: wrong key, wrong place, or torn.
    """
    header = block[:_HEADER]
    if len(block) != BLOCK_SIZE or not header.startswith(_MAGIC):
        raise ValueError(f"block {index} was not written by a guest")
    if header[_HEADER - 16 : -8] != index.to_bytes(8, "big") or block != _fill_block(header):
        raise ValueError(f"block {index} is damaged")
    return header[len(_MAGIC) : _HEADER - 16], int.from_bytes(header[-8:], "big")


def challenge_digest(nonce: bytes, contents: Sequence[bytes]) -> bytes:
    """The expected ``GuestAnswer.digest``: SHA-256 of nonce and contents in the requested order."""
    digest = hashlib.sha256(nonce)
    for content in contents:
        digest.update(content)
    return digest.digest()
