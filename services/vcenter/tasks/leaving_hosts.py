"""Waiting for removals from hosts that are part of an administrator's task."""

from __future__ import annotations

from protocol.terms import NodeName
from services.vcenter.vcenter import VCenter


async def passes_over(vc: VCenter, hosts: tuple[NodeName, ...]) -> None:
    """Return when a removing pass has ended at each of these hosts, complete or not, or after
    ``request_timeout_s``. The turn of the task ends here: the next task need not wait."""
    ends = [vc.passes.want(host, removing=True) for host in hosts]
    vc.node.end_turn()
    try:
        async with vc.clock.timeout(vc.node.knobs.request_timeout_s):
            for end in ends:
                await end.wait()
    except TimeoutError:
        pass  # the caller names the hosts that have not confirmed
