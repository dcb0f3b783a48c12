"""Incidents that the primary reports to vCenter: restarts, failed tries, lost hosts.

Each is reported once and is lost with the life of the primary: vCenter sees the state of VMs at
their hosts anyway. Nothing waits for a report.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from protocol.errors import ProductError
from protocol.messages.vcenter import HaIncident, HaReport
from services.esxi.host import EsxiHost

KEPT: Final = 256
"""Incidents that wait for vCenter; the oldest are dropped first."""
_PER_REPORT: Final = 32
_AGAIN_S: Final = 10.0


class HaReports:
    """The incidents that were not reported yet."""

    def __init__(self, host: EsxiHost) -> None:
        self._host = host
        self._waiting: deque[HaIncident] = deque(maxlen=KEPT)
        self._some = asyncio.Event()

    def report(self, incident: HaIncident) -> None:
        """Report ``incident`` soon, or when vCenter is back."""
        self._waiting.append(incident)
        self._some.set()

    async def run(self) -> None:
        """Run for the rest of this life."""
        while True:
            await self._some.wait()
            if not self._host.uplink.connected:
                await self._host.clock.sleep(_AGAIN_S)
                continue
            reported = [
                self._waiting.popleft() for _ in range(min(_PER_REPORT, len(self._waiting)))
            ]
            if not self._waiting:
                self._some.clear()
            try:
                await self._host.uplink.send(HaReport(incidents=tuple(reported)))
            except ProductError as error:
                # VCenter did not accept it; if that is unknown, it is not reported twice.
                if error.definite:
                    self._waiting.extendleft(reversed(reported))
                    self._some.set()
                    await self._host.clock.sleep(_AGAIN_S)
