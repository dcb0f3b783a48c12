"""MOB-01 broken: the parts of a stream are numbered and bound, and not encrypted."""

from __future__ import annotations

from typing import Any

from protocol.crypto.stream import StreamCipher
from tests.mutations.bugs.planting import plant


def _plain(original: Any) -> Any:
    def as_it_is(self: Any, number: int, data: bytes, aad: bytes) -> bytes:
        return data

    return as_it_is


plant(StreamCipher, "seal_part", _plain)
plant(StreamCipher, "open_part", _plain)
