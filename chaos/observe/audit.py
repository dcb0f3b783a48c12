"""The key servers' audit trails, followed."""

from __future__ import annotations

import asyncio

from chaos.faults.base import REFUSALS
from chaos.lab import Lab
from chaos.observe.look import WITHIN_S, nodes_of
from protocol.messages.kms import AuditRow, QueryAudit
from protocol.terms import NodeName, Role


class AuditTail:
    """New rows of the key servers' audit trails since the last call, each row once.

    ``blind`` tells that a server could not be asked at some time, so that rows may be missing.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._lock = asyncio.Lock()
        self._after: dict[NodeName, int] = {}
        self.rows: list[AuditRow] = []
        self.blind = False

    async def position(self) -> int:
        """Read on; the number of rows seen so far, as a mark in ``rows``."""
        async with self._lock:
            for server in nodes_of(self._lab, Role.KMS):
                await self._read_on(server)
            return len(self.rows)

    async def _read_on(self, server: NodeName) -> None:
        while True:
            after = self._after.get(server, 0)
            try:
                page = await self._lab.ask(server, QueryAudit(after=after), within_s=WITHIN_S)
            except REFUSALS:
                self.blind = True
                return
            if not page.rows:
                return
            self.rows += page.rows
            self._after[server] = page.rows[-1].sequence
