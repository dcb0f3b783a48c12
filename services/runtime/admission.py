"""How many requests a node works on at once, and how many of them may be one peer's.

A peer that floods fills its own share and hears ``Busy``; others do not. The administrator at the
node's console has a door apart, so a node under flood can still be looked at and governed.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from protocol.terms import NodeName
from services.runtime.service import Peer

AT_ONCE: Final = 512
"""Requests from the bus; and as many again from the console."""

SHARE: Final = AT_ONCE // 2
"""Most of them that are one peer's."""

ALWAYS: Final = 8
"""A peer with fewer than these is admitted also when others have filled the node."""


class RequestAdmission:
    """The requests that a node works on, counted by who asked.

    So the most there can be are ``AT_ONCE`` and ``ALWAYS`` more for each further peer.
    """

    def __init__(self) -> None:
        self._of_peer: Counter[NodeName] = Counter()
        self._from_bus = 0
        self._at_console = 0

    def has_room(self, peer: Peer) -> bool:
        """Whether one more request of ``peer`` may begin."""
        if peer.local:
            return self._at_console < AT_ONCE
        mine = self._of_peer[peer.node]
        return mine < ALWAYS or (mine < SHARE and self._from_bus < AT_ONCE)

    def enter(self, peer: Peer) -> None:
        """A request of ``peer`` begins."""
        if peer.local:
            self._at_console += 1
            return
        self._from_bus += 1
        self._of_peer[peer.node] += 1

    def leave(self, peer: Peer) -> None:
        """A request of ``peer`` has ended."""
        if peer.local:
            self._at_console -= 1
            return
        self._from_bus -= 1
        self._of_peer[peer.node] -= 1
        if not self._of_peer[peer.node]:
            del self._of_peer[peer.node]
