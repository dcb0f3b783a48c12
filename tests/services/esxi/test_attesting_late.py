"""An attestation that ends when another configuration is in force says nothing of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from protocol.errors import TimedOut
from protocol.terms import NodeName
from protocol.trust import ServiceRecord, TrustedConfiguration
from services.esxi.providers.trusted.attestation import attest
from services.esxi.providers.trusted.state import AttestationOutcome, TrustState

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
