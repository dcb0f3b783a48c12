"""Ansible's ``vcenter_standard_key_provider``: trust between vCenter and KMIP servers."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

pytest.importorskip("pyVmomi")

from lab.schema import commands as c
from tests.lab.vsphere.clients.conftest import Machine
from tests.lab.vsphere.clients.test_ansible import play
from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.slow]
MODULE = "community.vmware.vcenter_standard_key_provider"


@pytest.fixture
def kmip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine in front of a lab whose vCenter asks its key servers by KMIP."""
    made = Served(tmp_path_factory.mktemp("kmip"), topology="kmip")
    made.start()
    yield Machine(made, tmp_path_factory.mktemp("home"))
    made.stop()


def test_a_play_renews_the_trust_of_a_provider(kmip: Machine, tmp_path: Path) -> None:
    def trust(**wanted: Any) -> tuple[str, dict[str, Any]]:
        return MODULE, {"name": "kms-provider", "state": "present", "make_kms_trust_vc": wanted}

    made = kmip.served.do(c.ProviderRenewCertificate("kms-provider"))
    found = play(
        kmip, tmp_path,
        trust(download_self_signed_cert=str(tmp_path)),
        trust(download_client_csr=str(tmp_path)),
    )  # fmt: skip
    assert [one.get("msg") for one in found if one.get("failed")] == []
    shown = (tmp_path / "kms-provider_self_signed_cert.pem").read_text()
    assert shown.strip() == made.certificate.strip()
    request = (tmp_path / "kms-provider_client_csr.pem").read_text()
    authority, key = _authority()
    issued = tmp_path / "signed.pem"
    issued.write_bytes(_issue(x509.load_pem_x509_csr(request.encode()), authority, key))
    done = play(kmip, tmp_path, trust(upload_kms_signed_client_csr=str(issued)))
    assert [one.get("msg") for one in done if one.get("failed")] == []
    after = kmip.served.do(c.ProviderTrust("kms-provider"))
    assert after.certificate.strip() == issued.read_text().strip()


def _authority() -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    """The one who signs for the key servers."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "key servers")])
    return name, ec.generate_private_key(ec.SECP256R1())


def _issue(
    request: x509.CertificateSigningRequest, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> bytes:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(issuer)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1000))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def test_a_key_server_of_the_lab_is_trusted_under_a_name_of_its_own(kmip: Machine) -> None:
    kmip.served.do(c.ProviderAdd("second", ("k1=kms-1", "k2=kms-2")))
    found = kmip.served.do(c.ProviderTrust("second"))
    assert [(s.server, s.client_trust_server, s.server_trust_client) for s in found.items] == [
        ("k1", True, True),
        ("k2", True, True),
    ]


def test_a_play_adds_servers_to_a_provider_of_its_own(kmip: Machine, tmp_path: Path) -> None:
    def wanted(**more: Any) -> tuple[str, dict[str, Any]]:
        return MODULE, {"name": "second", "state": "present", **more}

    first = wanted(kms_info=[{"kms_name": "k1", "kms_ip": "kms-1", "kms_port": 5696}])
    other = wanted(kms_info=[{"kms_name": "k2", "kms_ip": "kms-2", "kms_port": 5696}])
    found = play(
        kmip, tmp_path, first, first, other, wanted(mark_default=True), wanted(state="absent")
    )
    assert [one.get("msg") for one in found if one.get("failed")] == []
    assert [one["changed"] for one in found] == [True, False, True, True, True]
    (second,) = [p for p in found[2]["key_provider_clusters"] if p["key_provide_id"] == "second"]
    assert [server["name"] for server in second["servers"]] == ["k1", "k2"]
