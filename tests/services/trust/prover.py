"""An attestation spoken by hand: every part of it can be another one than a good host sends."""

from __future__ import annotations

from typing import Any

from protocol.messages.attestation import (
    AttestationChallenge,
    AttestationReport,
    BeginAttestation,
    FinishAttestation,
)
from protocol.terms import NodeName
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import EkKind, PcrSelection, Quote
from protocol.trust import FindingCode, TpmIdentity
from services.runtime.ports import Tpm
from tests.services.esxi.rig import A
from tests.services.trust.rig import AS1, ISSUER, TrustRig


def begun(
    rig: TrustRig, node: NodeName = A, service: NodeName = AS1, **changes: Any
) -> AttestationChallenge:
    """A challenge for ``node``; ``changes`` of what it says of itself."""
    return rig.ask(service, begin(rig, node, **changes), node)  # type: ignore[no-any-return]


def begin(rig: TrustRig, node: NodeName = A, **changes: Any) -> BeginAttestation:
    ek, _ = rig.run(tpm(rig, node).ek(EkKind.ECC_P256))
    ak, _ = rig.run(tpm(rig, node).ak())
    fields: dict[str, Any] = {
        "identity": TpmIdentity(public_area=ek),
        "ak": ak,
        "voucher": rig.sts.voucher(ISSUER, node, 1.0),
    }
    return BeginAttestation(**{**fields, **changes})


def finish(
    rig: TrustRig, asked: AttestationChallenge, node: NodeName = A, **changes: Any
) -> FinishAttestation:
    fields: dict[str, Any] = {
        "context": asked.context,
        "secret": opened(rig, asked, node),
        "quote": quote(rig, asked.nonce, node, asked.selection),
        "event_log": rig.host(node).event_log,
    }
    return FinishAttestation(**{**fields, **changes})


def attest(
    rig: TrustRig,
    node: NodeName = A,
    service: NodeName = AS1,
    *,
    first: dict[str, Any] | None = None,
    **changes: Any,
) -> AttestationReport:
    """A whole attestation; ``first``: changes of its first step, ``changes`` of its second."""
    asked = begun(rig, node, service, **(first or {}))
    return rig.ask(service, finish(rig, asked, node, **changes), node)  # type: ignore[no-any-return]


def opened(rig: TrustRig, asked: AttestationChallenge, node: NodeName = A) -> bytes:
    """What the TPM of ``node`` finds in the credential; nothing when it is of another one."""
    credential = asked.credential
    try:
        return rig.run(tpm(rig, node).activate(credential.id_object, credential.encrypted_seed))
    except TpmError:
        return b""


def quote(
    rig: TrustRig, nonce: bytes, node: NodeName = A, selection: PcrSelection | None = None
) -> Quote:
    return rig.run(tpm(rig, node).quote(selection or PcrSelection((0, 1)), nonce))


def tpm(rig: TrustRig, node: NodeName = A) -> Tpm:
    found = rig.host(node).tpm
    assert found is not None
    return found


def codes(report: AttestationReport) -> list[FindingCode]:
    assert report.attested is (not report.findings)
    assert bool(report.documents) is report.attested
    return [finding.code for finding in report.findings]
