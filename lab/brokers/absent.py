"""What servers of somebody else do to nodes while a lab runs: their administrator is not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lab.schema.errors import KeysteadError
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.terms import NodeName

EVERY_S: Final = 3.0  # real seconds between two looks
LOOKS: Final = 2  # without a link, in a row, until it is asked why


@dataclass
class _Seen:
    losses: int
    returns: int
    refused: int
    away: int = 0  # looks at which its link was lost and not back
    returns_before: int = 0  # when it was lost


class Absent:
    """``look`` tells ``notice`` of each node that has lost its link and is not let in again, once,
    with why by ``tried`` (KS-BROKER-007 or 008), and of each whose messages are refused."""

    def __init__(
        self, tried: Callable[[NodeName], Awaitable[None]], notice: Callable[[str], None]
    ) -> None:
        self._tried, self._notice = tried, notice
        self._seen: dict[NodeName, _Seen] = {}

    async def look(self, statuses: Mapping[NodeName, NodeStatus]) -> None:
        """At all nodes that can be asked now, with what they have counted."""
        for node, status in statuses.items():
            losses, returns, refused = (
                status.counters.get(name, 0) for name in ("disconnects", "reconnects", "violations")
            )
            seen = self._seen.setdefault(node, _Seen(losses, returns, refused))
            if refused > seen.refused:
                self._notice(
                    f"the servers of the bus refuse what {node} says or hears: its permissions "
                    "there are not those of `keystead lab broker-config`"
                )
            if losses > seen.losses:
                seen.away, seen.returns_before = 0, seen.returns
            if returns > seen.returns_before or status.state is not NodeRunState.RUNNING:
                seen.away = 0
            elif losses > seen.losses or seen.away:
                seen.away += 1
            seen.losses, seen.returns, seen.refused = losses, returns, refused
            if seen.away == LOOKS:
                await self._ask(node)

    async def _ask(self, node: NodeName) -> None:
        try:
            await self._tried(node)
        except KeysteadError as error:
            self._notice(f"{node} has no link to the bus any more: {error}; {error.fix}")
        except ProductError:
            return  # it is asked again when it loses its link again
