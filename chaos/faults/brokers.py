"""What faults of the data broker share: whether every running node has its link to it."""

from __future__ import annotations

from chaos.faults.base import running
from chaos.faults.links import ping
from chaos.lab import Lab

WITHIN_S = 5.0  # lab seconds for one canary


async def parted(lab: Lab) -> str:
    """Empty when a canary passes from each running node to the next, wherever no link rule is."""
    up = [e.node for e in lab.directory().nodes if await running(lab, e.node)]
    ruled = {(r.src, r.dst) for r in lab.rules()} | {(r.dst, r.src) for r in lab.rules()}
    ring = zip(up, up[1:] + up[:1], strict=True)
    edges = [(x, y) for x, y in ring if x != y and (x, y) not in ruled]
    for (x, y), result in (await ping(lab, edges, within_s=WITHIN_S, count=1)).items():
        if not result.answered:
            return f"no canary passes from {x} to {y}: {result.error}"
    return ""
