"""What key servers of a staging were asked for, whichever transport it came by.

Over the bus it is heard. What passes under TLS is read in the audit trails of the servers, at their
consoles: when the letters are fixed, before what ends the fault puts an older database in their
place, and when it has ended, for servers that were off.
"""

from __future__ import annotations

from typing import Final

from chaos.lab import LabUnderTest
from chaos.matrix.judging.given import Audited, KeyRequest, requests_in_trail
from chaos.observe.audit import AuditTail
from chaos.observe.look import WITHIN_S
from protocol.terms import NodeName

PATIENCE_REAL_S: Final = 3.0
"""Real seconds on top of that for a page of a trail, where messages take real time."""


class Trails:
    """The trails of a lab's key servers, if one of them is asked by KMIP; else none is read.

    ``began_at``: Unix time of the lab's beginning, by the clocks of nodes.
    """

    def __init__(self, lab: LabUnderTest, began_at: float) -> None:
        self._lab, self._began_at = lab, began_at
        self._tail = AuditTail(lab, within_s=WITHIN_S + lab.in_lab_s(PATIENCE_REAL_S))

    async def follow(self) -> None:
        """Read what is new in them."""
        if any(entry.by_kmip for entry in self._lab.directory().nodes):
            await self._tail.position()

    @property
    def unread(self) -> tuple[NodeName, ...]:
        """Servers of whose trails a part could not be read."""
        return tuple(self._tail.unread)

    def requests_by(self, by: NodeName, since: float, until: float) -> tuple[KeyRequest, ...]:
        """What this node has asked for in this time, by the servers' trails."""
        rows = zip(self._tail.of, self._tail.rows, strict=True)
        trail = [Audited(t=row.at - self._began_at, server=of, row=row) for of, row in rows]
        return tuple(
            one for one in requests_in_trail(trail) if one.by == by and since <= one.t <= until
        )
