"""Whatever is sent to a service of a Trust Authority is answered by one clear error, or done."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from protocol.errors import Internal, InvalidArgument, ProductError
from protocol.messages.agent import NodeRunState
from protocol.messages.attestation import SetAttestationConfiguration
from protocol.messages.base import Request
from protocol.messages.host.crypto import AttestHost, ExportTpmEndorsement
from protocol.messages.keyprovider import (
    DecryptWrappedKey,
    GenerateWrappedKey,
    QueryTrustedKeyProviderHealth,
    SetKeyProviderConfiguration,
)
from protocol.terms import NodeName
from protocol.tpm.public import ek_rsa_public
from protocol.trust import TpmCaCertificate, TpmIdentity, TrustAttestationStatus
from tests.services.esxi.rig import VCENTER, A
from tests.services.trust import prover
from tests.services.trust.hostile import variants
from tests.services.trust.rig import AS1, GROUP, KPS1, TRUSTED, TrustRig

Made = Callable[[TrustRig], tuple[NodeName, NodeName, Request[Any]]]


def begin(rig: TrustRig) -> tuple[NodeName, NodeName, Request[Any]]:
    return A, AS1, prover.begin(rig)


def begin_certified(rig: TrustRig) -> tuple[NodeName, NodeName, Request[Any]]:
    found = rig.console(ExportTpmEndorsement())
    return A, AS1, prover.begin(rig, identity=TpmIdentity(certificate=found.certificate))


def finish(rig: TrustRig) -> tuple[NodeName, NodeName, Request[Any]]:
    return A, AS1, prover.finish(rig, prover.begun(rig))


def configure_attestation(rig: TrustRig) -> tuple[NodeName, NodeName, Request[Any]]:
    maker = TpmCaCertificate(name="maker", chain=rig.console(ExportTpmEndorsement()).ca_chain)
    made = rig.attestation_configuration(ca_certificates=(maker,))
    return VCENTER, AS1, SetAttestationConfiguration(configuration=made)


def token(rig: TrustRig) -> bytes:
    held = rig.host().trust.find_token(GROUP, rig.loop.time())
    assert held is not None
    return held.token


def generate(rig: TrustRig) -> tuple[NodeName, NodeName, Request[Any]]:
    return A, KPS1, GenerateWrappedKey(provider=TRUSTED, token=token(rig))


def decrypt(rig: TrustRig) -> tuple[NodeName, NodeName, Request[Any]]:
    made = rig.ask(KPS1, GenerateWrappedKey(provider=TRUSTED, token=token(rig)), A)
    message = DecryptWrappedKey(provider=TRUSTED, token=token(rig), ciphertext=made.ciphertext)
    return A, KPS1, message


def health(rig: TrustRig) -> tuple[NodeName, NodeName, Request[Any]]:
    return A, KPS1, QueryTrustedKeyProviderHealth(provider=TRUSTED, token=token(rig))


def configure_key_provider(rig: TrustRig) -> tuple[NodeName, NodeName, Request[Any]]:
    made = rig.key_provider_configuration()
    return VCENTER, KPS1, SetKeyProviderConfiguration(configuration=made)


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        begin,
        begin_certified,
        finish,
        configure_attestation,
        generate,
        decrypt,
        health,
        configure_key_provider,
    ],
)
def test_a_hostile_payload_is_one_clear_error_and_the_service_goes_on(
    rig: TrustRig, made: Made
) -> None:
    rig.authority()
    rig.trusted_host()
    rig.command(AttestHost())
    sender, service, good = made(rig)
    for number, (place, _) in enumerate(list(variants(good))):
        _, _, fresh = made(rig)  # what serves once serves each of them
        *_, (_, message) = islice(variants(fresh), number + 1)
        said = ""
        try:
            rig.ask(service, message, sender)
        except ProductError as refusal:
            assert not isinstance(refusal, Internal), place
            said = str(refusal)
        assert said.isprintable() or not said, place
        assert len(said) < 400, place
    assert rig.status(service).state is NodeRunState.RUNNING
    assert rig.agent.machine(service).runner.internal_errors == 0
    sender, service, again = made(rig)
    rig.ask(service, again, sender)


@pytest.mark.parametrize("modulus", [b"", b"\xff" * 33, b"\xff" * 255 + b"\xfe", b"\xff" * 60_000])
def test_an_endorsement_key_that_encrypts_nothing_is_none(rig: TrustRig, modulus: bytes) -> None:
    """A credential cannot be made for it."""
    rig.authority()
    rig.trusted_host()
    identity = TpmIdentity(public_area=ek_rsa_public(modulus))
    refused = rig.refused(AS1, prover.begin(rig, identity=identity), A)
    assert isinstance(refused, InvalidArgument) and str(refused).startswith("identity:")


@pytest.mark.slow
@pytest.mark.parametrize("renew", ["on_demand", "ahead"])
@pytest.mark.parametrize("handler", ["begin", "finish"])
def test_an_attestation_service_that_answers_nonsense_harms_no_host(
    rig: TrustRig, handler: str, renew: str
) -> None:
    """The host says so of that service, and asks the other one."""
    rig.authority(knobs={"token_lifetime_s": 60})
    rig.trusted_host(knobs={"token_renew": renew})
    rig.command(AttestHost())
    service: Any = rig.services[AS1]
    good = getattr(service, handler)
    number, told = 0, 1

    async def lying(message: Any, peer: Any) -> Any:
        nonlocal told
        answers = list(variants(await good(message, peer)))
        told = len(answers)
        return answers[min(number, told - 1)][1]

    setattr(service, handler, lying)
    while number < told:
        rig.command(AttestHost())
        rig.sleep(1 if renew == "on_demand" else 90)
        number += 1
    assert number > 5
    assert rig.status(A).state is NodeRunState.RUNNING
    assert rig.agent.machine(A).runner.internal_errors == 0
    setattr(service, handler, good)
    rig.connect()
    assert {r.status for r in rig.command(AttestHost()).reports} >= {
        TrustAttestationStatus.ATTESTED
    }
