"""One endorsement key, two hosts: lent, copied, or mixed with another's attestation key."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from protocol.errors import InvalidState
from protocol.messages.agent import Firmware, TpmBackend
from protocol.messages.attestation import AttestationReport
from protocol.terms import NodeName
from protocol.tpm.structures import EkKind
from protocol.trust import FindingCode as Code
from protocol.trust import TpmIdentity
from tests.services.esxi.rig import A, B
from tests.services.trust import prover
from tests.services.trust.rig import AS1, BACKENDS, ISSUER, TrustRig
from tests.services.trust.test_attestation import replaced

TPMS = pytest.mark.parametrize("tpm", BACKENDS)


@pytest.fixture
def two(rig: TrustRig, tpm: TpmBackend) -> TrustRig:
    """A trusted host, and another one with a TPM and a voucher of its own."""
    rig.authority()
    rig.trusted_host(A, tpm=tpm)
    rig.up(B, tpm=tpm, firmware=Firmware(secure_boot=True))
    return rig


def lent(rig: TrustRig, service: NodeName = AS1) -> AttestationReport:
    """What comes of B's attestation for which the TPM of A does all the work."""
    mine: dict[str, Any] = {"voucher": rig.sts.voucher(ISSUER, B, 1.0)}
    asked = rig.ask(service, prover.begin(rig, A, **mine), B)
    return rig.ask(service, prover.finish(rig, asked, A), B)  # type: ignore[no-any-return]


@TPMS
def test_a_tpm_that_is_lent_attests_one_host_only(two: TrustRig) -> None:
    """The quote is fresh and good; it says nothing of the host that brings it."""
    assert prover.attest(two, A).attested
    assert prover.codes(lent(two)) == [Code.ENDORSEMENT_KEY]
    two.power_off(AS1, "power_loss")
    two.power_on(AS1)
    assert prover.codes(lent(two)) == [Code.ENDORSEMENT_KEY]  # it is remembered
    assert prover.attest(two, A).attested


@TPMS
def test_a_copied_tpm_does_no_harm_to_the_host_that_it_was_copied_from(two: TrustRig) -> None:
    """Its counters fall behind, and they count for nothing: the host goes on."""
    device = two.world.device(A)
    assert device is not None and prover.attest(two, A).attested
    two.power_off(A)
    copy = device.snapshot()
    two.power_on(A)
    for _ in range(3):
        two.reboot(A)
    assert prover.attest(two, A).attested
    replaced(two, lambda other: other.restore(copy), B)
    assert prover.codes(prover.attest(two, B)) == [Code.ENDORSEMENT_KEY]
    assert prover.attest(two, A).attested


@TPMS
def test_keys_of_two_tpms_are_of_none(two: TrustRig) -> None:
    """An attestation key of one, an endorsement key of the other: no TPM opens the credential."""
    two.register(B)
    two.configure_services()
    [of_a, of_b] = [two.run(prover.tpm(two, node).ek(EkKind.ECC_P256))[0] for node in (A, B)]
    ak_of_a, _ = two.run(prover.tpm(two, A).ak())
    for node, first in (
        (B, {"identity": TpmIdentity(public_area=of_b), "ak": ak_of_a}),
        (A, {"identity": TpmIdentity(public_area=of_b), "ak": ak_of_a}),
        (B, {"identity": TpmIdentity(public_area=of_a)}),
    ):
        mine = {**first, "voucher": two.sts.voucher(ISSUER, node, 1.0)}
        assert Code.ATTESTATION_KEY in prover.codes(prover.attest(two, node, first=mine)), first
    assert prover.attest(two, A).attested and prover.attest(two, B).attested


@TPMS
def test_a_key_that_is_registered_anew_may_be_another_hosts(two: TrustRig) -> None:
    """The board of A is in B by now: the administrator says so."""
    assert prover.attest(two, A).attested
    two.keys = {"moved": replace(two.keys[A], name="moved")}
    two.configure_services()
    two.import_image(B)
    assert lent(two).attested
    assert prover.codes(prover.attest(two, A)) == [Code.ENDORSEMENT_KEY]


@TPMS
def test_what_was_begun_earlier_and_comes_later_is_no_tpm_that_was_set_back(
    rig: TrustRig, tpm: TpmBackend
) -> None:
    """A message that was late, maybe of the life before: its counters are behind, no more."""
    rig.authority()
    rig.trusted_host(tpm=tpm)
    late = prover.finish(rig, prover.begun(rig))
    assert prover.attest(rig).attested
    refused = rig.refused(AS1, late, A)
    assert isinstance(refused, InvalidState) and "begin again" in str(refused)
    assert prover.attest(rig).attested
