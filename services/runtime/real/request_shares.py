"""How many requests one sender may send to one node per second, on a real machine.

Reading a request takes processor time from all others. Requests beyond the share of a sender are
dropped unread, until the broker excludes the sender (decision 93). Virtual time has no such cost,
so the simulation has no shares.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

RATE: Final = 5_000.0
"""Sustained requests of one sender per second of the real clock."""

BURST: Final = 2_500.0
"""Requests of one sender at once."""


class RequestShares:
    """What is left of each sender's share. ``monotonic`` returns seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._left: defaultdict[str, float] = defaultdict(lambda: BURST)
        self._at: dict[str, float] = {}

    def allows(self, sender: str) -> bool:
        """Whether one more request of ``sender`` is within its share; if so, it is used."""
        now = self._monotonic()
        left = min(BURST, self._left[sender] + (now - self._at.get(sender, now)) * RATE)
        self._at[sender] = now
        self._left[sender] = left - 1 if left >= 1 else left
        return left >= 1
