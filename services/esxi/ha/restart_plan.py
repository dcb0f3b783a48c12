"""When a VM of a failed host is tried, and on which host. Pure.

HA does not know which host has a VM's keys (HA-02): a host that refused is only tried again when
all others were tried as often. The first try is made at once, each further one ``again_s`` after
the one before, ``tries`` in all (C23). A try without an answer does not count and is repeated soon.
Nor does a try that met the VM's lock: its holder may be looking for keys in vain.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocol.terms import NodeName, VmName


class WaitingVm(msgspec.Struct, frozen=True, kw_only=True):
    """A VM to be restarted. ``tried`` are the hosts that refused it, in order; ``due`` is in lab
    seconds of the monotonic clock."""

    vm: VmName
    of: NodeName
    due: float
    tried: tuple[NodeName, ...] = ()


def choose_host(waiting: WaitingVm, loads: Mapping[NodeName, int]) -> NodeName | None:
    """The host of the next try. ``loads`` are the hosts that accept VMs, with their number of VMs.
    None when there is none."""
    if not loads:
        return None
    return min(loads, key=lambda host: (waiting.tried.count(host), loads[host], host))


def after_refusal(
    waiting: WaitingVm, host: NodeName, now: float, *, tries: int, again_s: float
) -> WaitingVm | None:
    """The VM after a refused try; None: that was the last try."""
    tried = (*waiting.tried, host)
    if len(tried) >= tries:
        return None
    return msgspec.structs.replace(waiting, tried=tried, due=now + again_s)


def defer_to_own_host(waiting: WaitingVm, now: float, wait_s: float) -> WaitingVm:
    """The VM after its own host has come back: that host starts it first, if it can."""
    return msgspec.structs.replace(waiting, due=max(waiting.due, now + wait_s))
