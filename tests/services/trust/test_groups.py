"""Two Trust Authorities beside each other: what one has issued is worth nothing at the other."""

from __future__ import annotations

import msgspec
import pytest

from protocol.errors import InvalidArgument, NoPermission, NotFound, Unauthenticated
from protocol.messages.attestation import SetAttestationConfiguration
from protocol.messages.host.crypto import AttestHost, SetTrustedConfiguration
from protocol.messages.host.vms import HostCreateVm
from protocol.messages.keyprovider import (
    DecryptWrappedKey,
    GenerateWrappedKey,
    SetKeyProviderConfiguration,
)
from protocol.messages.kms.keys import CreateKey
from protocol.terms import NodeName, ProviderId, VmName
from protocol.trust import (
    AcceptedAttestationService,
    KeyServerRecord,
    ServiceRecord,
    TokenType,
    TrustedKeyProvider,
)
from tests.services.esxi.rig import A, B
from tests.services.trust import prover
from tests.services.trust.rig import AS1, AS2, GROUP, KMS, KPS1, KPS2, TRUSTED, TrustRig

OTHER_GROUP, OTHER = "group-2", ProviderId("other-provider")


@pytest.fixture
def two(rig: TrustRig) -> TrustRig:
    """``group-1`` with AS1 and KPS1, ``group-2`` with AS2 and KPS2; a host that both attest."""
    rig.authority()
    rig.trusted_host()
    other = rig.console(CreateKey(operation_id="other", activate=True), KMS).key_id
    servers = (KeyServerRecord(node=KMS, trusted=True),)
    second = TrustedKeyProvider(provider=OTHER, primary_key_id=other, servers=servers)
    attesting = rig.attestation_configuration(group=OTHER_GROUP)
    rig.ask(AS2, SetAttestationConfiguration(configuration=attesting))
    alone = rig.key_provider_configuration(attestation_services=(rig.issuer(AS1),))
    rig.ask(KPS1, SetKeyProviderConfiguration(configuration=alone))
    accept(rig, rig.issuer(AS2, OTHER_GROUP), providers=(second,))
    return rig


def accept(rig: TrustRig, *issuers: AcceptedAttestationService, **changes: object) -> None:
    """Whose tokens KPS2 takes."""
    fields = {"group": OTHER_GROUP, "attestation_services": issuers, **changes}
    made = rig.key_provider_configuration(**fields)
    rig.ask(KPS2, SetKeyProviderConfiguration(configuration=made))


def document(
    rig: TrustRig, service: NodeName, kind: TokenType = TokenType.KMS_AUTH_JWT, host: NodeName = A
) -> bytes:
    """What a service has issued for a host that it has attested."""
    report = prover.attest(rig, host, service)
    return next(found.token for found in report.documents if found.type is kind)


def test_a_token_of_one_is_no_token_at_the_other(two: TrustRig) -> None:
    first, second = document(two, AS1), document(two, AS2)
    two.ask(KPS1, GenerateWrappedKey(provider=TRUSTED, token=first), A)
    two.ask(KPS2, GenerateWrappedKey(provider=OTHER, token=second), A)
    for kps, provider, token in ((KPS1, TRUSTED, second), (KPS2, OTHER, first)):
        request = GenerateWrappedKey(provider=provider, token=token)
        assert isinstance(two.refused(kps, request, A), Unauthenticated)


def test_not_though_its_issuer_is_accepted_in_both(two: TrustRig) -> None:
    """The token says of which group it is, and its issuer cannot lend it."""
    token = document(two, AS1)
    for group in (GROUP, OTHER_GROUP):
        accept(two, two.issuer(AS1, group))
        refused = two.refused(KPS2, GenerateWrappedKey(provider=TRUSTED, token=token), A)
        assert isinstance(refused, Unauthenticated), group
    assert "another group" in str(refused)


def test_a_token_is_of_its_host_and_a_report_is_no_token(two: TrustRig) -> None:
    """Those that a service has issued, and not what a test has made."""
    two.up(B)
    stolen = GenerateWrappedKey(provider=TRUSTED, token=document(two, AS1))
    refused = two.refused(KPS1, stolen, B)
    assert isinstance(refused, Unauthenticated) and "another host" in str(refused)
    report = document(two, AS1, TokenType.REPORTING_JWT)
    refused = two.refused(KPS1, GenerateWrappedKey(provider=TRUSTED, token=report), A)
    assert isinstance(refused, NoPermission)


def test_a_ciphertext_of_one_opens_at_neither_provider_of_the_other(two: TrustRig) -> None:
    made = two.ask(KPS1, GenerateWrappedKey(provider=TRUSTED, token=document(two, AS1)), A)
    token = document(two, AS2)
    for provider, kind in ((TRUSTED, NotFound), (OTHER, InvalidArgument)):
        asked = DecryptWrappedKey(provider=provider, token=token, ciphertext=made.ciphertext)
        assert isinstance(two.refused(KPS2, asked, A), kind)


def test_a_host_of_both_has_keys_of_each_while_the_other_is_away(two: TrustRig) -> None:
    services = two.trusted_configuration()

    def grouped(records: tuple[ServiceRecord, ...]) -> tuple[ServiceRecord, ...]:
        return (records[0], msgspec.structs.replace(records[1], group=OTHER_GROUP))

    both = two.trusted_configuration(
        attestation_services=grouped(services.attestation_services),
        key_provider_services=grouped(services.key_provider_services),
        providers=(TRUSTED, OTHER),
    )
    two.command(SetTrustedConfiguration(configuration=both))
    two.make_safe_trusted()
    two.command(HostCreateVm(vm=VmName("of-the-second"), blocks=8, provider=OTHER))
    assert set(two.host().trust.tokens) == {GROUP, OTHER_GROUP}
    two.stop_services(AS1, KPS1)
    two.host().trust.tokens.clear()
    two.command(AttestHost())
    two.command(HostCreateVm(vm=VmName("again"), blocks=8, provider=OTHER))
    two.start_services(AS1, KPS1)
    two.stop_services(AS2, KPS2)
    two.host().trust.tokens.clear()
    two.command(HostCreateVm(vm=VmName("of-the-first"), blocks=8, provider=TRUSTED))


def test_what_was_removed_and_registered_again_opens_what_it_has_closed(two: TrustRig) -> None:
    """KEY-01: a provider is its name and its primary key."""
    token = document(two, AS1)
    made = two.ask(KPS1, GenerateWrappedKey(provider=TRUSTED, token=token), A)
    issuers = (two.issuer(AS1),)
    opening = DecryptWrappedKey(provider=TRUSTED, token=token, ciphertext=made.ciphertext)
    for providers in ({"providers": ()}, {}):
        changed = two.key_provider_configuration(attestation_services=issuers, **providers)
        two.ask(KPS1, SetKeyProviderConfiguration(configuration=changed))
        if providers:
            assert isinstance(two.refused(KPS1, opening, A), NotFound)
    assert two.ask(KPS1, opening, A).plaintext.keys == made.plaintext.keys
