"""The load of nodes with service times: how busy their cores are, and how many requests wait."""

from __future__ import annotations

from chaos.history import History
from chaos.lab import LabUnderTest
from protocol.messages.agent import NodeStatus
from protocol.terms import NodeName, Role


class WorkLook:
    """Records a ``work`` state at each look: for each node the share of its cores that worked since
    the last look, and the number of waiting requests. Of all hosts only the busiest is recorded, by
    name. Nothing is read in a lab without service times."""

    def __init__(self, lab: LabUnderTest, history: History) -> None:
        self._lab, self._history = lab, history
        self._there: bool | None = None
        self._before: dict[NodeName, float] = {}
        self._at = 0.0

    async def look(self) -> None:
        """Record the load since the last look."""
        if self._there is None:
            seen = await self._lab.statuses(counters=False)
            self._there = any(status.service is not None for status in seen.values())
        if not self._there:
            return
        now, past_s = self._lab.monotonic(), self._lab.monotonic() - self._at
        first, self._at = not self._before, now
        nodes: dict[str, tuple[float, int]] = {}
        busiest: tuple[float, int, str] = (0.0, 0, "")
        for node, status in (await self._lab.statuses()).items():
            done_s = _work_done_s(status)
            used_s = max(done_s - self._before.get(node, done_s), 0.0)
            self._before[node] = done_s
            if status.service is None or first or past_s <= 0:
                continue
            share = round(min(used_s / past_s / status.service.cores, 1.0), 4)
            found = share, status.counters.get("work_waiting", 0)
            if status.role is Role.ESXI:
                busiest = max(busiest, (*found, str(node)))
            elif found != (0.0, 0):
                nodes[str(node)] = found
        if nodes or busiest[2]:
            self._history.add("state", op="work", nodes=nodes, host=busiest)


def _work_done_s(status: NodeStatus) -> float:
    """Seconds of work that were done so far; what is booked for later is not."""
    told = status.counters
    return (told.get("work_busy_ms", 0) - told.get("work_backlog_ms", 0)) / 1e3
