"""Recordings: streams of msgpack, one value after the other, as any reader of msgpack has them.

A history is one (``chaos.history``), and what was said on the bus of a run (``chaos.tap``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any, Final

import msgpack
import msgspec

from chaos.errors import ChaosError

_MOST_BYTES: Final = 64 * 1024 * 1024  # of one value
_CHUNK: Final = 256 * 1024

pack: Final[Callable[[Any], bytes]] = msgpack.Packer(default=msgspec.to_builtins).pack
"""One value as it stands in a stream."""


def read_packed(file: IO[bytes], *, whole: bool = True) -> Iterator[bytes]:
    """Each value of the stream as it was written, in bounded memory; ``whole``: it has ended.

    Raises ``ChaosError`` KS-CHAOS-204 for bytes that are no msgpack, and for a value that was cut
    off at the end, after every whole one was given.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=_MOST_BYTES)
    pending, begun, number = bytearray(), 0, 1
    while chunk := file.read(_CHUNK):
        try:
            unpacker.feed(chunk)
            pending += chunk
            while True:
                unpacker.skip()
                size = unpacker.tell() - begun
                yield bytes(pending[:size])
                del pending[:size]
                begun, number = begun + size, number + 1
        except msgpack.OutOfData:
            continue
        except (ValueError, msgpack.UnpackException) as error:
            why = str(error) or "these bytes are no msgpack"
            raise record_error(number, f"no record: {why}") from None
    if pending and whole:
        raise record_error(number, "it is cut off")


def record_error(number: int, why: str) -> ChaosError:
    """The record ``number`` of a recording is not what was written."""
    return ChaosError("KS-CHAOS-204", f"record {number}: {why}")
