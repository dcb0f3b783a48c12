"""Received requests: each is checked, decoded, and answered once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from protocol.codec import decode_envelope, decode_message
from protocol.envelope import Envelope
from protocol.errors import Malformed, NotSent, ProductError
from protocol.messages.base import Reply, Request
from protocol.terms import NodeName
from services.runtime.rpc.envelopes import Envelopes

SendReply = Callable[[NodeName, str, bytes], None]
"""Sends a reply: to whom, on which subject, what. Raises ``NotSent``."""


class RequestServing:
    """The serving side of one connection.

    Counts ``forged`` (sent in another node's name), ``late`` (its deadline has passed),
    ``oversize`` (the reply was over the limit, an error was sent instead), ``replies_lost`` (no
    connection to send it on) and ``answered_twice``.
    """

    def __init__(
        self,
        envelopes: Envelopes,
        counters: Counter[str],
        monotonic: Callable[[], float],
        send: SendReply,
    ) -> None:
        self.envelopes, self.counters = envelopes, counters
        self.monotonic, self.send = monotonic, send

    def admit(self, sender: str, name: str, reply_to: str, payload: bytes) -> PendingRequest | None:
        """A request that arrived in the name of ``sender`` on the subject of messages ``name``.

        None when its bytes contradict that; ``Malformed`` for bytes that are not an envelope.
        """
        envelope = decode_envelope(payload)
        if envelope.sender != sender or envelope.name != name:
            self.counters["forged"] += 1
            return None
        return PendingRequest(self, envelope, reply_to)


class PendingRequest:
    """One request, with the subject of its answer."""

    __slots__ = ("_answered", "_reply_to", "_serving", "envelope")

    def __init__(self, serving: RequestServing, envelope: Envelope, reply_to: str) -> None:
        self.envelope = envelope
        self._serving, self._reply_to, self._answered = serving, reply_to, False

    def too_late(self) -> bool:
        """Whether its deadline has passed: the sender has given up, so it is not carried out."""
        if self.envelope.deadline < self._serving.monotonic():
            self._serving.counters["late"] += 1
            return True
        return False

    def message(self) -> Request[Any]:
        """The message; ``Malformed`` if it is unknown, invalid or not sealed for this node."""
        envelope = self.envelope
        message = decode_message(envelope.name, envelope.body)
        if not isinstance(message, Request):
            raise Malformed(f"{envelope.name} is not a request")
        return self._serving.envelopes.seals.unseal_keys(envelope, message)

    def answer(self, outcome: Reply | ProductError) -> None:
        """Send the outcome, once; a reply that cannot be sent is lost."""
        serving, request = self._serving, self.envelope
        if self._answered:
            serving.counters["answered_twice"] += 1
            return
        self._answered = True
        try:
            payload = serving.envelopes.reply(request, outcome)
        except Malformed as too_large:
            serving.counters["oversize"] += 1
            payload = serving.envelopes.oversize_reply(request, too_large)
        try:
            serving.send(request.sender, self._reply_to, payload)
        except NotSent:
            serving.counters["replies_lost"] += 1
