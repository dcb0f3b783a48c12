"""What travels between the nodes of a lab."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from lab.schema.answers.base import Answer
from lab.schema.tables import ColumnTable, field


class MessageKind(StrEnum):
    """A ``reply`` or an ``error`` answers a ``request``. An ``event`` has no single receiver.
    ``wrong`` is not a message of keystead. ``kmip`` is a request over KMIP and its outcome."""

    REQUEST = "request"
    REPLY = "reply"
    ERROR = "error"
    EVENT = "event"
    WRONG = "wrong"
    KMIP = "kmip"


class TravellingMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message; ``at`` in lab seconds, of KMIP on the clock of the key server. ``dst`` is empty
    for an event. ``boxes`` are fingerprints of sealed key material, ``cause`` is the message that
    led to it. In ``body`` binary data are fingerprints."""

    number: int
    at: float
    src: str
    dst: str
    kind: MessageKind
    name: str
    body: str = ""
    boxes: tuple[str, ...] = ()
    cause: str = ""

    table = ColumnTable(
        "number",
        (
            field("number", "NO"),
            field("at", "LAB S"),
            field("src", "FROM"),
            field("dst", "TO"),
            field("kind"),
            field("name"),
            ("FIELDS", lambda message: message.body[:100]),
        ),
        wide=(field("boxes", "SEALED"), field("cause", "FOR")),
    )


class MessageList(Answer, frozen=True, kw_only=True):
    """Messages, oldest first. ``last`` is the number of the newest that was heard, shown or not;
    ``began``: the lab listens only from now on."""

    items: tuple[TravellingMessage, ...]
    last: int
    began: bool = False

    def remarks(self) -> tuple[str, ...]:
        """As of ``Answer``."""
        return ("the lab listens from now on: repeat the command",) if self.began else ()
