"""``link.stall``: handshakes over the links get no further."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.connections import ConnectionFault
from protocol.errors import TimedOut
from protocol.messages.agent import StallRule
from protocol.terms import NodeName


class LinkStallFault(ConnectionFault, frozen=True, kw_only=True):
    """Who connects is let in, and its handshake gets no further. Connections whose handshake was
    done go on, and messages of the bus pass."""

    kind: ClassVar[str] = "link.stall"
    example: ClassVar[str] = "between: [vcenter, kms]"
    meets: ClassVar[str] = TimedOut.__name__

    def summary(self) -> str:
        return f"stall handshakes on {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> StallRule:
        return StallRule(id=self.id, src=src, dst=dst, until=until)
