"""Taking something away from hosts as a part of a task that an administrator waits for."""

from __future__ import annotations

from protocol.terms import NodeName
from services.vcenter.vcenter import VCenter


async def passes_over(vc: VCenter, hosts: tuple[NodeName, ...]) -> None:
    """Return when a pass that takes away has ended at each of these hosts, whole or not, or after
    ``request_timeout_s``. The turn of the task ends here: what follows in it need not wait."""
    ends = [vc.passes.want(host, removing=True) for host in hosts]
    vc.node.end_turn()
    try:
        async with vc.clock.timeout(vc.node.knobs.request_timeout_s):
            for end in ends:
                await end.wait()
    except TimeoutError:
        pass  # who has not confirmed is named by the caller
