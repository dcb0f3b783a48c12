"""A host that may have to ask silent services in turn has the time for that (KPS-06)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from protocol.messages.host.session import Command, HostSummary, TrustView
from protocol.messages.host.vms import HostPowerOffVm, HostPowerOnVm
from protocol.terms import HostCryptoState, NodeName, VmName
from protocol.trust import HostTrustReport, TrustAttestationStatus
from services.runtime.ports import Clock
from services.vcenter.hosts.session import time_for
from services.vcenter.knobs import VcenterKnobs

KNOBS = VcenterKnobs(request_timeout_s=10.0, trust_timeout_s=4.0)


class Floor:
    """A clock that raises every limit to so many seconds."""

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s

    def limit(self, seconds: float) -> float:
        return max(seconds, self._least_s)


def of(services: int) -> HostSummary:
    """A host that knows so many Attestation Services; none: it is no trusted host."""
    reports = tuple(
        HostTrustReport(service=NodeName(f"a-{number}"), status=TrustAttestationStatus.UNKNOWN)
        for number in range(services)
    )
    plain = HostSummary(
        host=NodeName("esxi-001"), boot=1, version="8.0U3", crypto_state=HostCryptoState.SAFE
    )
    if not services:
        return plain
    trusted = TrustView(revision="1", digest="", reports=reports)
    return HostSummary(
        host=plain.host,
        boot=1,
        version=plain.version,
        crypto_state=plain.crypto_state,
        trusted=trusted,
    )


ON, OFF = HostPowerOnVm(vm=VmName("vm")), HostPowerOffVm(vm=VmName("vm"))


@pytest.mark.parametrize(
    ("command", "summary", "least_s", "wanted"),
    [
        (ON, None, 0.0, 10.0),
        (ON, of(0), 0.0, 10.0),
        (ON, of(0), 72.0, 10.0),  # the bus raises it
        (ON, of(2), 0.0, 10.0 + 4 * 4.0),
        (ON, of(3), 0.0, 10.0 + 6 * 4.0),
        (ON, of(2), 72.0, 5 * 72.0),  # each wait of the host is raised, so their sum is
        (OFF, of(2), 0.0, 10.0),  # it needs no key
    ],
)
def test_it_is_what_the_host_may_spend(
    command: Command[Any], summary: HostSummary | None, least_s: float, wanted: float
) -> None:
    clock = cast("Clock", Floor(least_s))
    assert time_for(command, summary, KNOBS, clock) == wanted
