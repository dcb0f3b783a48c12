"""What vCenter keeps of trust with KMIP servers, and what it refuses; how it is lived is in e2e."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from protocol.crypto.certificates import (
    SEED_SIZE,
    SERIAL_SIZE,
    issue_certificate,
    key_digest,
    new_key,
    self_signed,
)
from protocol.crypto.transfer import seal_secret
from protocol.errors import (
    InvalidArgument,
    InvalidState,
    NoPermission,
    NotAvailable,
    NotFound,
)
from protocol.messages.vcenter.providers import (
    GenerateClientCsr,
    GenerateSelfSignedClientCert,
    KmipServer,
    OpenTransfer,
    RegisterKmsCluster,
    RetrieveClientCert,
    RetrieveClientCsr,
    RetrieveKmipServerCert,
    UpdateKmsSignedCsrClientCert,
    UploadClientCert,
    UploadKmipServerCert,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, ProviderId, Role
from services.vcenter.tasks.kmip_servers import TRUSTED_LIMIT
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import KMS, P, Q, Rig

YEAR_S = 365 * 86_400.0


def key(seed: int) -> KeyMaterial:
    return new_key(KeyMaterial(bytes([seed]) * SEED_SIZE))


def certificate(seed: int, name: str = "", end: float = YEAR_S * 100) -> bytes:
    return self_signed(name or f"c{seed}", key(seed), bytes([seed]) * SERIAL_SIZE, 0.0, end)


def over_kmip(rig: Rig, provider: ProviderId = P) -> None:
    rig.add(KMS, Role.KMS)
    server = KmipServer(name="kms", node=KMS, address="kmip://kms")
    rig.do(RegisterKmsCluster(provider=provider, servers=(server,)))


def upload(rig: Rig, chain: tuple[bytes, ...], private_key: KeyMaterial) -> UploadClientCert:
    """As who stands at vCenter's console sends it."""
    opened = rig.do(OpenTransfer())
    box = seal_secret(opened.public_key, private_key, "private key")
    return UploadClientCert(provider=P, chain=chain, transfer=opened.transfer, private_key=box)


def shown(rig: Rig, provider: ProviderId = P) -> bytes:
    found = rig.do(RetrieveClientCert(provider=provider)).certificate
    assert found is not None
    return found.certificate


def test_a_certificate_is_made_with_the_first_kmip_server_and_stays(rig: Rig) -> None:
    over_kmip(rig)
    before = shown(rig)
    over_kmip(rig)  # registered once more
    rig.reboot(VCENTER)
    assert shown(rig) == before
    over_kmip(rig, Q)
    assert shown(rig, Q) != before


def test_a_provider_on_the_bus_has_none(rig: Rig) -> None:
    rig.provider()
    assert rig.do(RetrieveClientCert(provider=P)).certificate is None
    refused = rig.refused(RetrieveKmipServerCert(provider=P, server="kms"))
    assert isinstance(refused, NotAvailable)
    assert isinstance(rig.refused(RetrieveKmipServerCert(provider=P, server="nobody")), NotFound)
    assert isinstance(rig.refused(RetrieveClientCert(provider=Q)), NotFound)


def test_a_certificate_with_its_key_can_be_brought(rig: Rig) -> None:
    over_kmip(rig)
    told = rig.do(upload(rig, (certificate(1),), key(1))).certificate
    assert told is not None and told.subject == "CN=c1"
    assert shown(rig) == certificate(1)
    rig.do(GenerateSelfSignedClientCert(provider=P))
    assert shown(rig) != certificate(1)


@pytest.mark.parametrize(
    "wrong",
    [
        ((certificate(1),), key(2)),
        ((), key(1)),
        ((b"noise",), key(1)),
        ((certificate(1), b"noise"), key(1)),
        ((certificate(1),), KeyMaterial(b"noise")),
    ],
    ids=["another key", "no certificate", "none in it", "none above it", "no key in it"],
)
def test_what_does_not_belong_together_changes_nothing(
    rig: Rig, wrong: tuple[tuple[bytes, ...], KeyMaterial]
) -> None:
    over_kmip(rig)
    before = shown(rig)
    assert isinstance(rig.refused(upload(rig, *wrong)), InvalidArgument)
    other = msgspec.structs.replace(upload(rig, (certificate(1),), key(1)), private_key=b"noise")
    assert isinstance(rig.refused(other), InvalidArgument)
    assert isinstance(rig.refused(other), InvalidArgument)  # its transfer has ended, too
    assert shown(rig) == before


def test_a_certificate_on_a_key_of_rsa_can_be_brought(rig: Rig) -> None:
    """Makers of key servers issue such ones."""
    over_kmip(rig)
    private = rsa.generate_private_key(65537, 2048)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rsa")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .sign(private, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    rig.do(upload(rig, (made,), KeyMaterial(der)))
    row = rig.vcenter.inventory.providers[P]
    assert rig.vcenter.providers.certificates.identity(row).key == KeyMaterial(der)


# ---- signing requests ----------------------------------------------------------------------------


def issued_for(request: bytes) -> bytes:
    """What an authority makes of a request."""
    found = x509.load_der_x509_csr(request)
    assert found.is_signature_valid
    public = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return issue_certificate(
        "signed", public, b"s" * SERIAL_SIZE, 0.0, YEAR_S * 100,
        issuer=certificate(9), issuer_key=key(9),
    )  # fmt: skip


def test_a_request_takes_the_place_of_the_earlier_identity_at_once(rig: Rig) -> None:
    """SC-08, STD-04: what is shown until it is signed is of its key."""
    over_kmip(rig)
    before = shown(rig)
    assert isinstance(rig.refused(RetrieveClientCsr(provider=P)), NotFound)
    request = rig.do(GenerateClientCsr(provider=P)).request
    assert key_digest(shown(rig)) != key_digest(before)
    rig.reboot(VCENTER)
    assert rig.do(RetrieveClientCsr(provider=P)).request == request
    signed = issued_for(request)
    assert key_digest(signed) == key_digest(shown(rig))
    rig.do(UpdateKmsSignedCsrClientCert(provider=P, chain=(signed, certificate(9))))
    assert shown(rig) == signed
    row = rig.vcenter.inventory.providers[P]
    identity = rig.vcenter.providers.certificates.identity(row)
    assert identity.chain == (signed, certificate(9))
    assert rig.do(RetrieveClientCsr(provider=P)).request == request
    rig.do(GenerateSelfSignedClientCert(provider=P))
    assert isinstance(rig.refused(RetrieveClientCsr(provider=P)), NotFound)


@pytest.mark.parametrize("wrong", [(), (b"noise",), (certificate(1),)])
def test_a_certificate_of_another_key_is_not_shown(rig: Rig, wrong: tuple[bytes, ...]) -> None:
    over_kmip(rig)
    update = UpdateKmsSignedCsrClientCert(provider=P, chain=wrong)
    assert isinstance(rig.refused(update), NotFound)
    rig.do(GenerateClientCsr(provider=P))
    before = shown(rig)
    assert isinstance(rig.refused(update), InvalidArgument)
    assert shown(rig) == before


def test_so_many_certificates_are_trusted_and_each_once(rig: Rig) -> None:
    over_kmip(rig)
    for seed in range(TRUSTED_LIMIT):
        for _ in range(2):
            rig.do(UploadKmipServerCert(provider=P, certificate=certificate(seed)))
    one_more = UploadKmipServerCert(provider=P, certificate=certificate(99))
    assert isinstance(rig.refused(one_more), InvalidState)
    noise = UploadKmipServerCert(provider=P, certificate=b"noise")
    assert isinstance(rig.refused(noise), InvalidArgument)
    assert len(rig.vcenter.inventory.providers[P].trusted) == TRUSTED_LIMIT


@pytest.mark.parametrize("gone", ["of its name", "ended"])
def test_one_certificate_too_many_takes_the_place_of_one_of_no_use(rig: Rig, gone: str) -> None:
    """A server that is renewed again and again is trusted each time, and so are the others."""
    over_kmip(rig)
    uploads = [certificate(seed) for seed in range(TRUSTED_LIMIT)]
    name, end = ("kms", YEAR_S * 100) if gone == "of its name" else ("", 1.0)
    uploads[7], uploads[9] = (certificate(seed, name, end) for seed in (7, 9))
    new = certificate(99, "kms")
    for one in (*uploads, new, new):
        rig.do(UploadKmipServerCert(provider=P, certificate=one))
    del uploads[7]
    assert rig.vcenter.inventory.providers[P].trusted == (*uploads, new)
    rig.reboot(VCENTER)
    assert rig.vcenter.inventory.providers[P].trusted == (*uploads, new)


def test_trust_is_for_who_manages_key_servers(rig: Rig) -> None:
    over_kmip(rig)
    user = rig.user("without", role="NoCryptoAdmin")
    for message in (
        RetrieveClientCert(provider=P),
        GenerateSelfSignedClientCert(provider=P),
        UploadKmipServerCert(provider=P, certificate=certificate(1)),
        RetrieveKmipServerCert(provider=P, server="kms"),
    ):
        assert isinstance(rig.refused(message, user), NoPermission)


@pytest.mark.parametrize("address", ["kmip:kms", "http://kms", "kmip://a:b", "kms"])
def test_what_is_no_address_is_refused(rig: Rig, address: str) -> None:
    server = KmipServer(name="kms", node=NodeName(""), address=address)
    refused = rig.refused(RegisterKmsCluster(provider=P, servers=(server,)))
    assert isinstance(refused, InvalidArgument)
    nowhere = RegisterKmsCluster(provider=P, servers=(KmipServer(name="kms"),))
    assert isinstance(rig.refused(nowhere), InvalidArgument)
