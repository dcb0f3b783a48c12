"""Who sends more than a node may: the decision, pure (decision 93).

Each identity has a bucket that leaks at the rate it may have for ever and holds two seconds of it.
What a server counted for an identity since the last look goes in; a bucket that runs over is a
flood. Identities are those that clients have proved, whatever they call themselves, and over all
their connections: open ones and such as were closed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from lab.brokers.looks import Connection
from protocol.terms import NodeName

LOOK_EVERY_S: Final = 0.2
"""Real seconds between two looks."""

BURST_S: Final = 2.0
"""So many seconds of its rate a node may send at once."""

KEPT_OFF_S: Final = 60.0
"""Real seconds for which a node that flooded stays off the bus."""


class Amount(NamedTuple):
    """Messages and bytes, or so many of them a second."""

    messages: float = 0.0
    octets: float = 0.0

    def plus(self, other: Amount, times: float = 1.0) -> Amount:
        return Amount(self.messages + other.messages * times, self.octets + other.octets * times)


HOST: Final = Amount(5_000, 16 << 20)
"""What a host may send in a second."""

OTHER: Final = Amount(20_000, 64 << 20)
"""What any other node may send in a second: vCenter, a key server or a service speaks with all
hosts, and answers whoever floods it."""


class Flood(NamedTuple):
    """Who floods, and the rate since the last look."""

    nkey: str
    rate: Amount


NOTHING: Final = Amount()


@dataclass
class _Level:
    filled: Amount = NOTHING

    def add(self, sent: Amount, rate: Amount, seconds: float) -> float:
        """How full it is, 1: to the brim. It leaks for ``seconds`` before ``sent`` goes in."""
        left = self.filled.plus(rate, -seconds)
        self.filled = Amount(max(left.messages, 0.0), max(left.octets, 0.0)).plus(sent)
        of_messages = self.filled.messages / rate.messages
        return max(of_messages, self.filled.octets / rate.octets) / BURST_S


Counts = tuple[str, Iterable[Connection]]
"""What a server has counted: its id, which each start makes anew, and its connections."""


class FloodMeter:
    """The buckets of all nodes over all servers of a bus."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._counted: dict[int, tuple[str, dict[int, Connection]]] = {}
        self._levels: dict[str, _Level] = {}

    def look(
        self, now: float, told: Mapping[int, Counts], limits: Mapping[str, Amount]
    ) -> Flood | None:
        """Who floods the bus at ``now`` (seconds). ``told``: by number of the server, of all that
        are up; ``limits``: what may be sent in a second, by nkey.

        Nothing follows from the first look: nobody knows since when the servers have counted. Of
        several that run over it is the one that is the furthest above its limit, and all buckets
        are emptied: others may only have answered it.
        """
        sent: dict[str, Amount] = {}
        for number, (server, connections) in told.items():
            known, before = self._counted.get(number, ("", {}))
            seen = {one.cid: one for one in connections}
            for cid, one in seen.items():
                old = before.get(cid) if known == server else None
                news = Amount(one.in_msgs, one.in_bytes)
                if old is not None:
                    news = news.plus(Amount(old.in_msgs, old.in_bytes), -1)
                sent[one.authorized_user] = sent.get(one.authorized_user, NOTHING).plus(news)
            self._counted[number] = (server, seen)
        at, self._at = self._at, now
        if at is None:
            return None
        worst, most = None, 1.0
        for nkey in self._levels.keys() | sent.keys():
            if (rate := limits.get(nkey)) is None:
                self._levels.pop(nkey, None)
                continue
            level = self._levels.setdefault(nkey, _Level())
            news = sent.get(nkey, NOTHING)
            if (share := level.add(news, rate, now - at)) > most:
                worst, most = Flood(nkey, NOTHING.plus(news, 1 / max(now - at, 1e-3))), share
        if worst is not None:
            self._levels.clear()
        return worst


def describe_flood(node: NodeName, rate: Amount, limit: Amount) -> str:
    """Why a node is kept off, as a sentence without its end."""
    return (
        f"{node} is kept off the bus for {KEPT_OFF_S:g} s: it sent {_amount(rate)} a second, and "
        f"may send {_amount(limit)}"
    )


def _amount(amount: Amount) -> str:
    return f"{amount.messages:,.0f} messages of {amount.octets / (1 << 20):,.1f} MiB"
