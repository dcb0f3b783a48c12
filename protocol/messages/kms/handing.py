"""A message of KMIP that one key server hands on to the one that takes changes (``forward``)."""

from __future__ import annotations

from typing import ClassVar

from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.kms.group import Mark


class HandOnMessage(Request["MessageHandedOn"], frozen=True, kw_only=True):
    """Do what this message of KMIP says, for a client that the sender has at its own endpoint.

    ``who``, ``role`` and ``scope`` are what the sender's table has of that client: believed of a
    server that replicates with the receiver, and of nobody else. ``message`` is its bytes (TTLV) as
    one key, for there may be keys in them. ``NotConnected``: the receiver takes no changes. What a
    second one does is what it does in KMIP: a Create makes another key, so it is never sent again.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    who: str
    role: str
    scope: str
    message: Sealed


class MessageHandedOn(Reply, frozen=True, kw_only=True):
    """``answer``: the bytes of the answer, as one key. ``until``: how far the receiver's own log is
    with it; who has that much of it reads what the message has changed."""

    answer: Sealed
    until: Mark
