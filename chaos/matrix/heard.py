"""What was said on the data bus of a staging: kept as it travelled, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from chaos.conversation import Said, parse_said
from protocol.subjects import parse_link
from protocol.terms import NodeName


class Heard:
    """Hears every message that the broker lets in; ``now`` is in lab seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._messages: list[tuple[float, str, bytes]] = []

    def hear(self, subject: str, reply: str, payload: bytes) -> None:
        """What a tap is told (``services.runtime.wire.TapCallback``)."""
        self._messages.append((self._now(), subject, payload))

    def of(self, node: NodeName, since: float, until: float = inf) -> Iterator[Said]:
        """What the node has sent and was sent in this time, oldest first. What it says to itself,
        when it has connected to the broker, is no message to anybody."""
        for at, subject, payload in self._messages:
            if not since <= at <= until:
                continue
            link = parse_link(subject)
            if link is not None and link.src != link.dst and node in (link.src, link.dst):
                yield parse_said(at, subject, payload)

    def payloads(self) -> Iterator[bytes]:
        """Every message as it travelled, oldest first."""
        return (payload for _, _, payload in self._messages)

    def holds(self, secret: bytes) -> bool:
        """Whether any message had these bytes in it."""
        return any(secret in payload for _, _, payload in self._messages)

    def count_sent_by(self, node: NodeName, since: float) -> int:
        """How many messages the node has sent to others since then."""
        return sum(1 for one in self.of(node, since) if one.src == node)
