"""The symmetric keys that are made and kept here: algorithms, and lengths in bits and bytes.

A DES key has a parity bit in each byte, which Cryptographic Length does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from protocol.errors import InvalidField

SIZES: Final[Mapping[str, Mapping[int, int]]] = {
    "AES": {128: 16, 192: 24, 256: 32},
    "3DES": {112: 16, 168: 24},
    "SKIPJACK": {80: 10},
}
"""By algorithm: lengths in bits with the size of the key in bytes."""

MASK_LIMIT: Final = 2**31


@lru_cache(maxsize=256)
def size(algorithm: str, length: int, usage_mask: int) -> int:
    """Bytes of such a key; ``InvalidField`` when there is no such key."""
    sizes = SIZES.get(algorithm)
    if sizes is None:
        raise InvalidField(f"no algorithm here: {algorithm[:64]}; there are {', '.join(SIZES)}")
    if length not in sizes:
        lengths = ", ".join(map(str, sizes))
        raise InvalidField(f"an {algorithm} key has {lengths} bits, not {length}")
    if not 0 <= usage_mask < MASK_LIMIT:
        raise InvalidField(f"no usage mask: {usage_mask}")
    return sizes[length]
