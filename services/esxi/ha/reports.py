"""What the primary tells vCenter of, when it is there: restarts, tries that failed, lost hosts.

Each is told once and is lost with the life of the primary: what a VM is, and where, vCenter sees at
the hosts. Nothing waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from protocol.errors import ProductError
from protocol.messages.vcenter import HaIncident, HaReport
from services.esxi.host import EsxiHost

KEPT: Final = 256
"""Incidents that wait for vCenter; the oldest go first."""
_PER_REPORT: Final = 32
_AGAIN_S: Final = 10.0


class HaReports:
    """The incidents that vCenter has not heard of yet."""

    def __init__(self, host: EsxiHost) -> None:
        self._host = host
        self._waiting: deque[HaIncident] = deque(maxlen=KEPT)
        self._some = asyncio.Event()

    def tell(self, incident: HaIncident) -> None:
        """Soon, or when vCenter is there again."""
        self._waiting.append(incident)
        self._some.set()

    async def run(self) -> None:
        """For the rest of this life."""
        while True:
            await self._some.wait()
            if not self._host.uplink.connected:
                await self._host.clock.sleep(_AGAIN_S)
                continue
            told = [self._waiting.popleft() for _ in range(min(_PER_REPORT, len(self._waiting)))]
            if not self._waiting:
                self._some.clear()
            try:
                await self._host.uplink.send(HaReport(incidents=tuple(told)))
            except ProductError as error:
                if error.definite:  # it was not taken; who does not know says nothing twice
                    self._waiting.extendleft(reversed(told))
                    self._some.set()
                    await self._host.clock.sleep(_AGAIN_S)
