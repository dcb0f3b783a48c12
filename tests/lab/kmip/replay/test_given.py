"""What a person gives to a replay: certificates of others, folders of trust flows, commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cryptography import x509

from lab.cli.main import run as keystead
from lab.kmip.replay import running, trust_flows
from lab.kmip.replay.servers import build_expired, unknown
from lab.kmip.replay.trust_flows import Pair, TrustFlow, identities, of_flows
from lab.schema.errors import KeysteadError
from tests.lab.kmip.replay.rig import VCENTER, certified
from tests.lab.kmip.tls import Party


def test_certificates_of_others_are_given_by_role() -> None:
    found = identities(["other=a,b.pem,a,b.key", "expired=x,y"])
    assert found == {
        "other": Pair(certificate=Path("a,b.pem,a"), key=Path("b.key")),
        "expired": Pair(certificate=Path("x"), key=Path("y")),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["someone=a,b"], "--identity someone=a,b: write ROLE=CERT,KEY"),
        (["other"], "write ROLE=CERT,KEY"),
        (["other=a"], "write ROLE=CERT,KEY"),
        (["other=,b"], "write ROLE=CERT,KEY"),
        (["vcenter=a,b"], "write ROLE=CERT,KEY"),
        (["other=a,b", "other=c,d"], "other is given twice"),
    ],
)
def test_what_is_no_identity_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(KeysteadError, match=said):
        identities(given)


# ---- trust flows --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flows") / "vc"
    trust_flows.ensure_parts(folder, "vc.example")
    return folder


def read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_vcenters_part_of_each_trust_flow_is_made(made: Path) -> None:
    """STD-04; vCenter's own certificate has no Extended Key Usage."""
    authority = read(made / "root-ca" / "ca.pem")
    under = read(made / "root-ca" / "certificate.pem")
    under.verify_directly_issued_by(authority)
    own = read(made / "certificate" / "certificate.pem")
    own.verify_directly_issued_by(own)
    assert not list(own.extensions)
    request = x509.load_pem_x509_csr((made / "signing-request" / "request.csr").read_bytes())
    assert request.is_signature_valid
    for name in (under.subject, own.subject, request.subject):
        assert name.rfc4514_string() == "CN=vc.example"
    assert all(file.stat().st_mode & 0o77 == 0 for file in made.rglob("*.key"))


def test_what_the_owner_of_the_server_does_is_told(made: Path) -> None:
    ready = {part.flow: part.ready for part in trust_flows.parts(made)}
    assert ready == {
        TrustFlow.ROOT_CA: True,
        TrustFlow.CERTIFICATE: True,
        TrustFlow.SIGNING_REQUEST: False,
        TrustFlow.UPLOAD: False,
    }
    assert set(of_flows(made, trust_flows.parts(made))) == {"root-ca", "certificate"}


def test_the_command_tells_them_as_a_document(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keystead(["kmip", "trust-flows", "--folder", str(made), "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "TrustFlowList"
    assert [(one["flow"], one["ready"]) for one in document["items"]] == [
        ("root-ca", True),
        ("certificate", True),
        ("signing-request", False),
        ("upload", False),
    ]
    assert document["items"][2]["give"] == str(made / "signing-request" / "request.csr")
    assert "certificate.key" in document["items"][3]["then"]


def test_what_is_there_stays(made: Path) -> None:
    before = {file: file.read_bytes() for file in made.rglob("*.*")}
    trust_flows.ensure_parts(made, "another.example")
    assert {file: file.read_bytes() for file in made.rglob("*.*")} == before


def test_a_folder_that_cannot_be_written_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vc").write_text("a file")
    assert keystead(["kmip", "trust-flows", "--folder", str(tmp_path / "vc")]) == 64
    assert "KS-KMIP-004" in capsys.readouterr().err
    words = ["kmip", "trust-flows", "--folder", str(tmp_path / "x"), "--common-name", "x" * 65]
    assert keystead(words) == 64
    assert "KS-USE-003" in capsys.readouterr().err


# ---- who should get nothing ---------------------------------------------------------------------


def test_an_unknown_certificate_has_the_name_of_the_client() -> None:
    shown = unknown(VCENTER.certificate)
    assert isinstance(shown.certificates, bytes)
    own, theirs = x509.load_der_x509_certificate(VCENTER.certificate), shown.certificates
    found = x509.load_pem_x509_certificate(theirs)
    assert found.subject == own.subject
    assert found.public_key() != own.public_key()


def test_only_who_signs_itself_can_make_one_that_has_ended() -> None:
    me = Party.named("vcenter")
    shown = build_expired(me.certificate, me.key, Path("me.key"))
    assert shown is not None and isinstance(shown.certificates, bytes)
    found = x509.load_pem_x509_certificate(shown.certificates)
    own = x509.load_der_x509_certificate(me.certificate)
    assert (found.subject, found.public_key()) == (own.subject, own.public_key())
    assert found.not_valid_after_utc < own.not_valid_before_utc
    issued = certified("vcenter")
    assert build_expired(issued.certificate, issued.key, Path("it.key")) is None


# ---- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("true", ""),
        (f"{sys.executable} -c 'import sys; sys.exit(0)'", ""),
        (f"{sys.executable} -c 'print(\"no such server\"); raise SystemExit(3)'", "no such server"),
        ("/nowhere/at/all", "No such file"),
        ("false", "ended with 1: it said nothing"),
    ],
)
async def test_a_command_says_why_it_failed(command: str, why: str) -> None:
    said = await running.run(command)
    assert (why in said) if why else said == ""


async def test_a_command_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "WITHIN_S", 0.1)
    assert "did not end within 0.1 s" in await running.run("sleep 60")


@pytest.mark.parametrize("command", ["", "   ", "'open"])
def test_what_is_no_command_is_refused(command: str) -> None:
    with pytest.raises(KeysteadError, match="--outage"):
        running.split("--outage", command)
