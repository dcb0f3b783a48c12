"""What a Key Provider Service gives for which token, and what it refuses, as which fault."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.crypto.tokens import AUDIENCE, AttestationClaims, Signer, new_certificate
from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidName,
    ItemNotFound,
    KeyProviderUnreachable,
    NoPermission,
    NotFound,
    ProductError,
    Unauthenticated,
    WrongKeyLifecycleState,
)
from protocol.messages.agent import NodeSpec
from protocol.messages.host.crypto import AttestHost, QueryTrustedServices
from protocol.messages.keyprovider import (
    DecryptWrappedKey,
    GenerateWrappedKey,
    QueryKeyProviderConfiguration,
    QueryKeyProviderService,
    QueryTrustedKeyProviderHealth,
    SetKeyProviderConfiguration,
    WrappedKeyGenerated,
)
from protocol.messages.kms.keys import CreateKey, Destroy, GetKeys, Revoke
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, NodeName, ProviderHealth, ProviderId, Role
from protocol.trust import (
    AcceptedAttestationService,
    KeyServerRecord,
    TokenType,
    TrustedKeyProvider,
)
from tests.services.esxi.rig import A, B
from tests.services.trust.rig import AS1, GROUP, KMS, KPS1, KPS2, TRUSTED, TrustRig

OTHER = ProviderId("other-provider")
KMS2 = NodeName("kms-2")


class Desk:
    """A Key Provider Service that takes tokens of an issuer whose key the test has."""

    def __init__(self, rig: TrustRig) -> None:
        self.rig = rig
        rig.authority()
        for host in (A, B):
            rig.up(host)
        self.signer = signer(b"issuer")
        self.configure()

    def configure(self, **changes: Any) -> None:
        issuer = AcceptedAttestationService(
            node=AS1, certificate=self.signer.certificate, group=GROUP
        )
        fields = {"attestation_services": (issuer,), **changes}
        made = self.rig.key_provider_configuration(**fields)
        self.rig.ask(KPS1, SetKeyProviderConfiguration(configuration=made))

    @property
    def now(self) -> float:
        return self.rig.services[KPS1].clock.now()

    def token(self, by: Signer | None = None, **changes: Any) -> bytes:
        at = self.now
        claims = AttestationClaims(
            iss=AS1,
            sub=A,
            aud=AUDIENCE,
            typ=TokenType.KMS_AUTH_JWT,
            group=GROUP,
            iat=at,
            nbf=at,
            exp=at + 100,
            jti="1",
            ek="",
            base_image="",
            secure_boot=True,
            reset_count=1,
        )
        return (by or self.signer).sign_claims(msgspec.structs.replace(claims, **changes))

    def generate(self, token: bytes | None = None, **fields: Any) -> WrappedKeyGenerated:
        return self.rig.ask(KPS1, self.request(token, **fields), A)  # type: ignore[no-any-return]

    def refused(self, token: bytes | None = None, **fields: Any) -> ProductError:
        return self.rig.refused(KPS1, self.request(token, **fields), A)  # type: ignore[no-any-return]

    def request(self, token: bytes | None = None, **fields: Any) -> GenerateWrappedKey:
        clear = self.token() if token is None else token
        return GenerateWrappedKey(**{"provider": TRUSTED, "token": clear, **fields})

    def decrypt(self, ciphertext: bytes, provider: ProviderId = TRUSTED) -> DecryptWrappedKey:
        return DecryptWrappedKey(provider=provider, token=self.token(), ciphertext=ciphertext)


def signer(name: bytes) -> Signer:
    secret = KeyMaterial(name.ljust(32, b"."))
    return Signer(secret, new_certificate(name.decode(), secret, bytes(16), 1.0))


@pytest.fixture
def desk(rig: TrustRig) -> Desk:
    return Desk(rig)


def test_a_key_that_was_generated_comes_back_for_its_ciphertext(desk: Desk) -> None:
    made = desk.generate()
    [key] = made.plaintext.keys
    back = desk.rig.ask(KPS1, desk.decrypt(made.ciphertext), A)
    assert back.plaintext.keys == (key,)
    assert key.reveal() not in made.ciphertext
    assert desk.generate().ciphertext != made.ciphertext


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"group": "another"}, Unauthenticated, "another group"),
        ({"sub": B}, Unauthenticated, "another host"),
        ({"iss": NodeName("attestation-9")}, Unauthenticated, "in the name of another service"),
        ({"exp": -61.0}, Unauthenticated, "expired"),
        ({"iat": 61.0, "nbf": 61.0}, Unauthenticated, "not valid yet"),
        ({"nbf": 61.0}, Unauthenticated, "not valid yet"),
        ({"typ": TokenType.REPORTING_JWT}, NoPermission, "authorizes nothing"),
        ({"aud": "somebody"}, NoPermission, "authorizes nothing"),
    ],
)
def test_a_token_that_is_no_good_gets_no_key(
    desk: Desk, changes: dict[str, Any], kind: type[ProductError], text: str
) -> None:
    """Times are seconds from now, by the service's own clock; the leeway is a minute."""
    made = {n: desk.now + v if isinstance(v, float) else v for n, v in changes.items()}
    error = desk.refused(desk.token(None, **made))
    assert type(error) is kind and text in str(error)


@pytest.mark.parametrize("changes", [{"exp": -59.0}, {"iat": 59.0, "nbf": 59.0}])
def test_clocks_may_differ_by_the_leeway(desk: Desk, changes: dict[str, float]) -> None:
    desk.generate(desk.token(None, **{n: desk.now + v for n, v in changes.items()}))


def test_a_forged_token_gets_no_key(desk: Desk) -> None:
    good = desk.token()
    head, body, signature = good.split(b".")
    forged = [
        b"",
        b"..",
        b"no token",
        good[:-4],
        good + b".",
        head + b"." + body + b".",
        head + b"." + body[:-2] + b"." + signature,
        b"eyJhbGciOiJub25lIiwia2lkIjoiIiwidHlwIjoiSldUIn0." + body + b".",
        desk.token(by=signer(b"stranger")),
        b"x" * 5000,
        desk.rig.sts.voucher(AS1, A, 1.0),
    ]
    for token in forged:
        assert type(desk.refused(token)) is Unauthenticated, token
    assert desk.rig.kinds("keyprovider.generated", KPS1) == []


def test_an_issuer_of_another_group_is_not_accepted(desk: Desk) -> None:
    """TA-08: the same certificate, and the group is not that of this service."""
    foreign = AcceptedAttestationService(
        node=AS1, certificate=desk.signer.certificate, group="another"
    )
    desk.configure(attestation_services=(foreign,))
    assert type(desk.refused()) is Unauthenticated
    assert type(desk.refused(desk.token(group="another"))) is Unauthenticated


def test_a_stranger_does_not_learn_which_providers_there_are(desk: Desk) -> None:
    assert type(desk.refused(b"", provider=ProviderId("unknown"))) is Unauthenticated
    assert type(desk.refused(provider=ProviderId("unknown"))) is NotFound


def test_what_is_no_request_is_an_invalid_argument(desk: Desk) -> None:
    assert type(desk.refused(num_of_bytes=16)) is InvalidArgument
    made = desk.generate().ciphertext
    wrong = [b"", b"\x01", made[:-1], made + b"x", bytes(100), b"\x01\xff" + made[2:], made[:40]]
    wrong += [bytes((*made[:n], made[n] ^ 1, *made[n + 1 :])) for n in (0, 45, len(made) - 1)]
    for ciphertext in wrong:
        error = desk.rig.refused(KPS1, desk.decrypt(ciphertext), A)
        assert type(error) is InvalidArgument, ciphertext
    another = made[:5] + bytes([made[5] ^ 1]) + made[6:]  # the id of a primary key that is none
    assert type(desk.rig.refused(KPS1, desk.decrypt(another), A)) is ItemNotFound


def test_a_ciphertext_is_bound_to_its_provider_and_primary_key(desk: Desk) -> None:
    other = desk.rig.console(CreateKey(operation_id="other", activate=True), KMS).key_id
    servers = (KeyServerRecord(node=KMS, trusted=True),)
    mine = TrustedKeyProvider(provider=TRUSTED, primary_key_id=desk.rig.primary, servers=servers)
    same = msgspec.structs.replace(mine, provider=OTHER)
    desk.configure(providers=(mine, same))
    made = desk.generate()
    assert type(desk.rig.refused(KPS1, desk.decrypt(made.ciphertext, OTHER), A)) is InvalidArgument
    # Another primary key: what was wrapped before names the earlier one, and is found.
    desk.configure(providers=(msgspec.structs.replace(mine, primary_key_id=other),))
    back = desk.rig.ask(KPS1, desk.decrypt(made.ciphertext), A)
    assert back.plaintext.keys == made.plaintext.keys
    swapped = made.ciphertext.replace(desk.rig.primary.encode(), other.encode())
    assert type(desk.rig.refused(KPS1, desk.decrypt(swapped), A)) is InvalidArgument


def test_the_state_of_the_primary_key_decides(desk: Desk) -> None:
    made = desk.generate()
    desk.rig.console(Revoke(key_id=desk.rig.primary), KMS)
    assert type(desk.refused()) is WrongKeyLifecycleState
    desk.rig.ask(KPS1, desk.decrypt(made.ciphertext), A)  # it may still be used to process
    desk.rig.console(Destroy(key_id=desk.rig.primary), KMS)
    assert type(desk.rig.refused(KPS1, desk.decrypt(made.ciphertext), A)) is ItemNotFound


def test_one_key_server_after_the_other(rig: TrustRig) -> None:
    desk = Desk(rig)
    identities = {kps: {"role": "kps"} for kps in (KPS1,)}
    rig.add_node(NodeSpec(node=KMS2, role=Role.KMS, config={"identities": identities}))
    rig.power_on(KMS2)
    provider = TrustedKeyProvider(
        provider=TRUSTED,
        primary_key_id=rig.primary,
        servers=(
            KeyServerRecord(node=NodeName("kms-9"), trusted=True),
            KeyServerRecord(node=KMS2, trusted=False),
            KeyServerRecord(node=KMS, trusted=True),
        ),
    )
    desk.configure(providers=(provider,))
    desk.generate()
    assert [f["server"] for f in rig.kinds("keyprovider.server_failed", KPS1)] == ["kms-9"]
    desk.generate()  # who gave it last is asked first
    assert len(rig.kinds("keyprovider.server_failed", KPS1)) == 1
    health = rig.ask(KPS1, QueryTrustedKeyProviderHealth(provider=TRUSTED))
    assert health.health is ProviderHealth.WARNING
    assert [(s.client_trust_server, s.server_trust_client) for s in health.servers] == [
        (True, None),
        (False, None),
        (True, True),
    ]
    rig.power_off(KMS)
    assert type(desk.refused()) is KeyProviderUnreachable
    health = rig.ask(KPS1, QueryTrustedKeyProviderHealth(provider=TRUSTED))
    assert health.health is ProviderHealth.ERROR


def test_a_key_server_that_does_not_know_the_service_gives_nothing(rig: TrustRig) -> None:
    desk = Desk(rig)
    rig.add_node(NodeSpec(node=KMS2, role=Role.KMS, config={"identities": {}}))
    rig.power_on(KMS2)
    provider = TrustedKeyProvider(
        provider=TRUSTED,
        primary_key_id=rig.primary,
        servers=(KeyServerRecord(node=KMS2, trusted=True),),
    )
    desk.configure(providers=(provider,))
    assert type(desk.refused()) is KeyProviderUnreachable
    [server] = rig.ask(KPS1, QueryTrustedKeyProviderHealth(provider=TRUSTED)).servers
    assert server.server_trust_client is False


def test_a_key_provider_service_only_reads_at_its_key_server(desk: Desk) -> None:
    refused = desk.rig.refused(KMS, CreateKey(operation_id="mine"), KPS1)
    assert type(refused).__name__ == "PermissionDenied"
    for message in (Revoke(key_id=desk.rig.primary), Destroy(key_id=desk.rig.primary)):
        assert type(desk.rig.refused(KMS, message, KPS1)).__name__ == "PermissionDenied"
    assert desk.rig.ask(KMS, GetKeys(key_ids=(desk.rig.primary,)), KPS1).material.keys


@pytest.mark.parametrize("kept", [False, True])
def test_whether_it_keeps_the_primary_key(rig: TrustRig, kept: bool) -> None:
    """C14; another configuration takes away what was kept."""
    rig.authority(knobs={"kps_primary_key_cache": kept})
    desk = _desk_of(rig)
    made = desk.generate()
    rig.power_off(KMS)
    if not kept:
        assert type(desk.refused()) is KeyProviderUnreachable
        return
    desk.rig.ask(KPS1, desk.decrypt(made.ciphertext), A)
    desk.configure()
    assert type(desk.refused()) is KeyProviderUnreachable


def _desk_of(rig: TrustRig) -> Desk:
    """A desk in a rig whose authority is up already."""
    desk = Desk.__new__(Desk)
    desk.rig, desk.signer = rig, signer(b"issuer")
    rig.up(A)
    desk.configure()
    return desk


def test_a_configuration_is_durable_and_told_by_item(desk: Desk) -> None:
    before = desk.rig.ask(KPS1, QueryKeyProviderConfiguration())
    service = desk.rig.ask(KPS1, QueryKeyProviderService())
    desk.rig.power_off(KPS1, "power_loss")
    desk.rig.power_on(KPS1)
    assert desk.rig.ask(KPS1, QueryKeyProviderConfiguration()) == before
    assert desk.rig.ask(KPS1, QueryKeyProviderService()) == service
    assert [found.kind for found in before.items] == ["provider", "attestationService"]
    desk.generate()


def test_a_configuration_that_makes_no_sense_changes_nothing(desk: Desk) -> None:
    before = desk.rig.ask(KPS1, QueryKeyProviderConfiguration())
    [good] = desk.rig.key_provider_configuration().providers
    bad: list[tuple[type[ProductError], dict[str, Any]]] = [
        (AlreadyExists, {"providers": (good, good)}),
        (InvalidArgument, {"group": ""}),
        (InvalidArgument, {"providers": (msgspec.structs.replace(good, servers=()),)}),
        (
            InvalidArgument,
            {"providers": (msgspec.structs.replace(good, primary_key_id=KeyId("")),)},
        ),
        (InvalidName, {"providers": (msgspec.structs.replace(good, provider="a/b"),)}),
    ]
    for kind, changes in bad:
        made = desk.rig.key_provider_configuration(**changes)
        refused = desk.rig.refused(KPS1, SetKeyProviderConfiguration(configuration=made))
        assert isinstance(refused, kind), changes
    assert desk.rig.ask(KPS1, QueryKeyProviderConfiguration()) == before


def test_only_its_vcenter_configures_it(desk: Desk) -> None:
    made = SetKeyProviderConfiguration(configuration=desk.rig.key_provider_configuration())
    for sender in (A, KPS2):
        assert type(desk.rig.refused(KPS1, made, sender)) is NoPermission


def test_a_host_learns_of_a_providers_health_with_a_token_of_its_own_only(rig: TrustRig) -> None:
    """HLT-06: who has no token does not learn which providers there are."""
    rig.authority()
    rig.trusted_host()
    for name in (TRUSTED, ProviderId("another")):
        error = rig.refused(KPS1, QueryTrustedKeyProviderHealth(provider=name), sender=A)
        assert isinstance(error, Unauthenticated)
    rig.command(AttestHost())
    held = rig.host().trust.find_token(GROUP, rig.loop.time())
    assert held is not None
    question = QueryTrustedKeyProviderHealth(provider=TRUSTED, token=held.token)
    assert rig.ask(KPS1, question, sender=A).health is ProviderHealth.OK
    assert {one.health for one in rig.console(QueryTrustedServices()).services} == {
        ProviderHealth.OK
    }
    rig.stop_services(KPS2)
    states = {one.service: one for one in rig.console(QueryTrustedServices()).services}
    assert states[KPS1].answers and not states[KPS2].answers and KPS2 in states[KPS2].reason
