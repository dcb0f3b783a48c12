"""What faults of the data broker share: its servers, and whether every node has its link to it."""

from __future__ import annotations

from chaos.errors import ChaosError
from chaos.faults.base import running
from chaos.faults.links import ping
from chaos.lab import Directory, LabUnderTest

WITHIN_S = 5.0  # lab seconds for one canary


def has_servers(directory: Directory, number: int) -> None:
    """KS-CHAOS-106 when the bus has no server of that number that is the lab's own."""
    there = directory.bus_servers
    if not there:
        text = "the servers of the bus are run by somebody else, and are not ours to end"
        raise ChaosError("KS-CHAOS-106", f"{text}; a bus of its own: `bus: {{servers: 3}}`")
    if number > there:
        text = f"there is no server {number} of the bus, which has {there}"
        raise ChaosError("KS-CHAOS-106", f"{text}; `bus: {{servers: 3}}` in the Lab file")


async def verify_links(lab: LabUnderTest) -> str:
    """Empty when a canary passes from each running node to the next, wherever no link rule is."""
    up = [e.node for e in lab.directory().nodes if await running(lab, e.node)]
    ruled = {(r.src, r.dst) for r in lab.rules()} | {(r.dst, r.src) for r in lab.rules()}
    ring = zip(up, up[1:] + up[:1], strict=True)
    edges = [(x, y) for x, y in ring if x != y and (x, y) not in ruled]
    for (x, y), result in (await ping(lab, edges, within_s=WITHIN_S, count=1)).items():
        if not result.answered:
            return f"no canary passes from {x} to {y}: {result.error}"
    return ""
