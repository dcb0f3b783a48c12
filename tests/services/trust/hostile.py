"""Good messages with one part made hostile: empty, huge, senseless, or nested without end."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

DEEP = urlsafe_b64encode(b'{"x":' + b"[" * 2_900).rstrip(b"=") + b".e30.AAAA"
"""A document whose header is nested deeper than a reader goes."""
BYTES = (b"", b"\x00", b"\xff" * 33, bytes(200_000), DEEP, b".." * 40)
TEXTS = ("", "\x00", "\x1b[31m red\n", "a" * 100_000, "../../etc", "*.>", "\u202e" * 40)
FLOATS = (0.0, -1.0, 1e308, float("inf"), float("nan"))
NUMBERS = (0, -1, 1 << 31, (1 << 63) - 1)


def variants(good: T) -> Iterator[tuple[str, T]]:
    """``good`` again and again, each time with one leaf or list of it another one; and where."""
    yield from _of(good)


def _of(value: Any) -> Iterator[tuple[str, Any]]:
    match value:
        case msgspec.Struct():
            for name in value.__struct_fields__:
                for place, other in _of(getattr(value, name)):
                    try:
                        yield f".{name}{place}", msgspec.structs.replace(value, **{name: other})
                    except ValueError:
                        continue  # no such value can be made, so none can be sent
        case bool():
            yield "=not", not value
        case bytes():
            changed = [value[:-1], value + b"x", *BYTES]
            if value:
                changed.append(bytes([value[0] ^ 1]) + value[1:])
                changed.append(value[:-1] + bytes([value[-1] ^ 1]))
            yield from ((f"={len(each)} bytes", type(value)(each)) for each in changed)
        case str() if type(value) is str:
            yield from ((f"={each[:12]!r}", each) for each in TEXTS)
        case int() if type(value) is int:
            yield from ((f"={each}", each) for each in NUMBERS)
        case float():
            yield from ((f"={each}", each) for each in FLOATS)
        case tuple():
            yield "=()", ()
            yield "=twice", value * 2
            if value:
                for place, other in _of(value[0]):
                    yield f"[0]{place}", (other, *value[1:])
