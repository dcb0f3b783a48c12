"""How long vCenter waits for a host to do what it was told."""

from __future__ import annotations

from typing import Any

from protocol.messages.host import Command, HostSummary, TrustView
from services.runtime.ports import Clock
from services.vcenter.knobs import VcenterKnobs


def time_for(
    command: Command[Any], summary: HostSummary | None, knobs: VcenterKnobs, clock: Clock
) -> float:
    """Lab seconds that a host has to answer ``command``; ``summary``: its last word about itself.

    A trusted host that seeks keys may have to ask an Attestation Service, and then a Key Provider
    Service, on each machine of the Trust Authority in turn, and wait for each that is silent
    (KPS-06). Each of these waits is a limit of its own, which the clock may raise.
    """
    trusted = None if summary is None else summary.trusted
    if not command.seeks_keys or not isinstance(trusted, TrustView):
        return knobs.request_timeout_s
    services = 2 * len(trusted.reports)
    each_s = clock.limit(knobs.trust_timeout_s)
    return clock.limit(knobs.request_timeout_s) + services * each_s
