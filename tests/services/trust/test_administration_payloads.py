"""Hostile payloads to vCenters and hosts of a Trust Authority: one clear error each, or done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from protocol.errors import Internal, ProductError
from protocol.messages.agent import NodeRunState
from protocol.messages.base import Request
from protocol.messages.host.crypto import (
    ActivateTpmCredential,
    ExportTpmEndorsement,
    QueryTpmAttestationReport,
)
from protocol.messages.vcenter.trust import (
    ImportServicesInformation,
    ImportToTrustAuthority,
    RemediateTrustedCluster,
    RemoveFromTrustAuthority,
    SetTrustedAdmin,
    SetTrustedState,
    TrustKeyServers,
)
from protocol.terms import NodeName
from protocol.tpm.structures import PCR_ATTESTED, TpmCredential
from protocol.trust import TpmCaCertificate, TrustItem
from tests.services.esxi.rig import A
from tests.services.trust.administration import (
    CLUSTER,
    ENABLE,
    PERIOD_S,
    SETTINGS,
    TA,
    WORKLOAD,
    Administration,
)
from tests.services.trust.hostile import variants
from tests.services.trust.rig import TRUSTED
from tests.services.trust.test_administration import image, lab

__all__ = ["lab"]

To = tuple[NodeName, Request[Any]]


def _chain(lab: Administration) -> To:
    chain = lab.do(ExportTpmEndorsement(), A).ca_chain
    return TA, ImportToTrustAuthority(ca_certificate=TpmCaCertificate(name="maker", chain=chain))


def _credential(lab: Administration) -> To:
    return A, ActivateTpmCredential(credential=TpmCredential(bytes(66), bytes(68)))


MESSAGES: dict[str, Callable[[Administration], To]] = {
    "enable": lambda lab: (TA, ENABLE),
    "settings": lambda lab: (TA, SETTINGS),
    "principal": lambda lab: (TA, lab.principal()),
    "key": lambda lab: (TA, lab.endorsement_key()),
    "chain": _chain,
    "image": lambda lab: (TA, image(lab, "another")),
    "provider": lambda lab: (TA, lab.provider()),
    "review": lambda lab: (TA, TrustKeyServers(provider=TRUSTED)),
    "remove": lambda lab: (
        TA,
        RemoveFromTrustAuthority(kind=TrustItem.BASE_IMAGE, name="nothing"),
    ),
    "services": lambda lab: (
        WORKLOAD,
        ImportServicesInformation(services=lab.services_information()),
    ),
    "trusted": lambda lab: (WORKLOAD, SetTrustedState(cluster=CLUSTER)),
    "remediate": lambda lab: (WORKLOAD, RemediateTrustedCluster(cluster=CLUSTER)),
    "admin": lambda lab: (WORKLOAD, SetTrustedAdmin(member="alice")),
    "report": lambda lab: (A, QueryTpmAttestationReport(nonce=b"n" * 32, selection=PCR_ATTESTED)),
    "credential": _credential,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_hostile_payload_is_one_clear_error_and_nothing_falls(
    lab: Administration, name: str
) -> None:
    """What of it is taken is on all services; the host and both vCenters go on."""
    lab.ready()
    node, good = MESSAGES[name](lab)
    for place, message in variants(good):
        said = ""
        try:
            lab.do(message, node)
        except ProductError as refusal:
            assert not isinstance(refusal, Internal), place
            said = str(refusal)
        assert said.isprintable() or not said, place
        assert len(said) < 400, place
    for each in (TA, WORKLOAD, A):
        assert lab.agent.machine(each).state is NodeRunState.RUNNING
        assert lab.agent.machine(each).runner.internal_errors == 0
    lab.sleep(2 * PERIOD_S)
    assert lab.well()
