"""Bugs of what binds and encrypts messages and streams."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.crypto import seal
from protocol.crypto.stream import StreamCipher
from protocol.messages.base import NIL
from tests.mutations.bugs.planting import plant, replaces


def box_bound_to_nothing() -> None:
    """Sealing broken: a box is bound to no message, so that it opens in any other."""

    plant(seal, "_digest", lambda original: lambda envelope: b"")


def box_not_bound_to_body() -> None:
    """Sealing broken: a box is bound to its envelope, but not to the clear fields beside the
    keys."""

    plant(
        seal,
        "_digest",
        lambda original: lambda envelope: original(msgspec.structs.replace(envelope, body=NIL)),
    )


def capsule_bound_to_nobody() -> None:
    """Sealing broken: a context is bound to no pair of lives, so that one node's serves another."""

    plant(seal, "_info", lambda original: lambda sender, boot, receiver, life: b"")


def stream_in_clear() -> None:
    """MOB-01 broken: the parts of a stream are numbered and bound, and not encrypted."""

    @replaces(StreamCipher, "seal_part")
    @replaces(StreamCipher, "open_part")
    def as_it_is(original: Any, self: Any, number: int, data: bytes, aad: bytes) -> bytes:
        return data
