"""An attestation that ends when another configuration is in force says nothing of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from protocol.errors import TimedOut
from protocol.terms import NodeName
from protocol.trust import ServiceRecord, TrustedConfiguration
from services.esxi.providers.trusted.attestation import attest
from services.esxi.providers.trusted.attestation_state import AttestationOutcome, TrustState

SERVICE = ServiceRecord(node=NodeName("attestation-1"), trusted_ca=(), group="g")
CONFIGURATION = TrustedConfiguration(revision="1", attestation_services=(SERVICE,))


@pytest.mark.parametrize(
    ("then", "told"), [(CONFIGURATION, ["attestation-1"]), (None, [])], ids=["same", "deleted"]
)
async def test_only_services_of_the_configuration_of_now_are_told_of(
    then: TrustedConfiguration | None, told: list[str]
) -> None:
    archive = SimpleNamespace(now=SimpleNamespace(trusted=CONFIGURATION))

    async def request(node: NodeName, message: object, *, within_s: float) -> None:
        archive.now.trusted = then
        raise TimedOut(f"{node} did not answer")

    identity: Any = SimpleNamespace()
    host: Any = SimpleNamespace(
        archive=archive,
        trust=TrustState(shown=(identity, identity)),
        clock=SimpleNamespace(monotonic=lambda: 0.0),
        tpm=SimpleNamespace(),
        ports=SimpleNamespace(bus=SimpleNamespace(request=request)),
        node=SimpleNamespace(
            knobs=SimpleNamespace(trust_timeout_s=5), record=lambda *given, **more: None
        ),
    )
    assert await attest(host, ("g",)) is AttestationOutcome.UNREACHABLE
    assert [*host.trust.reports] == told


def test_a_failure_counts_for_those_who_waited_for_it_and_for_nobody_later() -> None:
    state, refused = TrustState(), AttestationOutcome.REFUSED
    assert state.in_vain_since("g", 0) is None
    for came in range(3):
        state.record_attestation("g", refused)
        assert state.in_vain_since("g", came) is refused, "it ended after this caller came"
        assert state.in_vain_since("g", came + 1) is None, "this caller came after its end"
        assert state.in_vain_since("other", came) is None
    state.record_attestation("g", AttestationOutcome.ATTESTED)
    assert state.in_vain_since("g", 0) is None
