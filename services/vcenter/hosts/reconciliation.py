"""The periodic repair of all hosts (STD-10): a pass of step B8 for every connected host.

It also runs at once when a provider that was down answers again, and when a provider was added.
These passes also remove keys; the pass of a connecting host only adds them.
"""

from __future__ import annotations

from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.knobs import VcenterNode
from services.vcenter.ticker import Ticker


class Reconciliation:
    """Requests the passes; ``soon`` does so before the period is over."""

    def __init__(
        self, node: VcenterNode, ticker: Ticker, sessions: HostSessions, passes: PassQueue
    ) -> None:
        self._node, self._ticker = node, ticker
        self._sessions, self._passes = sessions, passes

    def start(self) -> None:
        """Repair in each period from now on; the first time after one period."""
        self._ticker.start()
        self._node.background("reconcile", self._run())

    def soon(self) -> None:
        """Repair now, without waiting for the end of the period."""
        self._ticker.tick_now()

    async def _run(self) -> None:
        while True:
            await self._ticker.next()
            connected = self._sessions.list_connected()
            self._node.record("reconcile.pass", hosts=len(connected))
            for session in connected:
                self._passes.want(session.host, removing=True)
