"""What surrounds a message on the data bus."""

from __future__ import annotations

import msgspec

from protocol.errors import ErrorBody
from protocol.terms import NodeName

VERSION = 2
SIZE_LIMIT = 256 * 1024  # bytes; the broker's max_payload is the same


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A request or event. ``deadline`` in lab seconds (monotonic, never skewed); 0 = none.

    ``message_id`` is unique within (sender, boot). ``cause`` is the id of the message that led to
    this one, as ``node/boot/id``: the command line follows such chains. ``boxes`` hold the key
    material of the body's sealed fields and are bound to all other fields here, the body included
    (``protocol.crypto.seal``).
    """

    version: int
    message_id: int
    cause: str
    sender: NodeName
    boot: int
    deadline: float
    name: str
    body: msgspec.Raw
    boxes: tuple[bytes, ...] = ()


class ReplyEnvelope(msgspec.Struct, frozen=True, array_like=True):
    """A reply: either ``body`` with ``name``, or ``error``. ``boot`` is the responder's.

    ``boxes`` are as in a request.
    """

    version: int
    message_id: int  # of the request
    sender: NodeName
    boot: int
    name: str
    body: msgspec.Raw
    error: ErrorBody | None = None
    boxes: tuple[bytes, ...] = ()
