"""Key bytes as a type of their own; ``reveal`` is the only way to the bytes."""

from __future__ import annotations

import hmac
from typing import NoReturn


class KeyMaterial:
    """Secret bytes. Redacted when shown; refused by pickle, JSON and msgpack.

    Equality takes constant time. Hashing is refused, so that key bytes never decide an order.
    Python cannot wipe memory: a key stays until its last reference is gone, and possibly longer in
    freed pages.
    """

    __slots__ = ("_bytes",)

    def __init__(self, raw: bytes) -> None:
        self._bytes = bytes(raw)

    def reveal(self) -> bytes:
        """The bytes themselves, for a cipher call; never for a log, message or file."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyMaterial):
            return NotImplemented
        return hmac.compare_digest(self._bytes, other._bytes)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "KeyMaterial(redacted)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("KeyMaterial cannot be pickled")

    def fingerprint(self, secret: bytes) -> str:
        """Keyed fingerprint (12 hex digits) for histories: it shows whether two keys are the same,
        and nothing else."""
        return hmac.digest(secret, self._bytes, "sha256")[:6].hex()
