"""A server that stalls for two seconds in ten, measured by open arrivals and by a closed loop.

.venv/bin/python -m tests.lab.load.stall     # prints what docs/load.md shows
"""

from __future__ import annotations

import asyncio

from services.runtime.sim.loop import SimLoop
from tests.lab.load.play import Stalling, load


def closed_loop(server: Stalling, clients: int, seconds: float) -> list[float]:
    """What clients measure that ask again when they were answered, sorted."""
    took: list[float] = []

    async def client() -> None:
        clock = asyncio.get_running_loop().time
        while clock() < seconds:
            begun = clock()
            await server()
            took.append(clock() - begun)
            await asyncio.sleep(0.01)

    async def every() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())

    with SimLoop(1) as loop:
        loop.run(every())
    return sorted(took)


def seen() -> str:
    """Both, as a table in milliseconds."""
    report, closed = load(Stalling()), closed_loop(Stalling(), 4, 60.0)
    every = report.items[-1]
    rows: list[tuple[str, ...]] = [("", "measured", "p50", "p90", "p99", "max")]
    opened = (every.p50_ms, every.p90_ms, every.p99_ms, every.max_ms)
    rows.append(("open arrivals", str(every.ok), *(f"{ms:.0f}" for ms in opened if ms)))
    shares = (closed[int(len(closed) * share)] for share in (0.5, 0.9, 0.99))
    ends = (*shares, closed[-1])
    rows.append(("closed loop", str(len(closed)), *(f"{1000 * took:.0f}" for took in ends)))
    lines = (f"{name:14}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in rows)
    return "\n".join(lines)


if __name__ == "__main__":
    print(seen())
