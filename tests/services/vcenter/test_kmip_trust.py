"""What vCenter keeps of trust with KMIP servers, and what it refuses; how it is lived is in e2e."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.crypto.certificates import SEED_SIZE, SERIAL_SIZE, new_key, self_signed
from protocol.errors import (
    InvalidArgument,
    InvalidState,
    NoPermission,
    NotAvailable,
    NotFound,
)
from protocol.messages.base import Sealed
from protocol.messages.vcenter import KmipServer, RegisterKmsCluster
from protocol.messages.vcenter.kmip import (
    GenerateSelfSignedClientCert,
    RetrieveClientCert,
    RetrieveKmipServerCert,
    UploadClientCert,
    UploadKmipServerCert,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, ProviderId, Role
from services.vcenter.tasks.kmip_trust import TRUSTED_LIMIT
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
    upload = UploadClientCert(provider=P, chain=(certificate(1),), private_key=Sealed.of(key(1)))
    told = rig.do(upload).certificate
    assert told is not None and told.subject == "CN=c1"
    assert shown(rig) == certificate(1)
    rig.do(GenerateSelfSignedClientCert(provider=P))
    assert shown(rig) != certificate(1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"chain": (certificate(1),), "private_key": Sealed.of(key(2))},
        {"chain": (), "private_key": Sealed.of(key(1))},
        {"chain": (b"noise",), "private_key": Sealed.of(key(1))},
        {"chain": (certificate(1), b"noise"), "private_key": Sealed.of(key(1))},
        {"chain": (certificate(1),), "private_key": Sealed.of(KeyMaterial(b"noise"))},
        {"chain": (certificate(1),), "private_key": Sealed.of()},
    ],
    ids=[
        "another key",
        "no certificate",
        "no certificate in it",
        "noise above it",
        "no key in it",
        "no key",
    ],
)
def test_what_does_not_belong_together_changes_nothing(rig: Rig, wrong: dict[str, Any]) -> None:
    over_kmip(rig)
    before = shown(rig)
    assert isinstance(rig.refused(UploadClientCert(provider=P, **wrong)), InvalidArgument)
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
