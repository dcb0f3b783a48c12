"""``link.reset``: connections that send something over the links are reset."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.connections import ConnectionFault
from protocol.errors import Disconnected
from protocol.messages.agent import ResetRule
from protocol.terms import NodeName


class LinkResetFault(ConnectionFault, frozen=True, kw_only=True):
    """Connections break as soon as they send something over the links, new ones too. Messages of
    the bus pass."""

    kind: ClassVar[str] = "link.reset"
    example: ClassVar[str] = "between: [vcenter, kms]"
    meets: ClassVar[str] = Disconnected.__name__

    def summary(self) -> str:
        return f"reset connections on {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> ResetRule:
        return ResetRule(id=self.id, src=src, dst=dst, until=until)
