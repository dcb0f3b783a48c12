"""``kmip replay`` as a command: whose fault it is when it cannot begin, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from lab.cli.main import run
from lab.kmip.replay import trust_flows
from tests.lab.kmip.test_serve import serving


def words(address: str, tls: Path, key: str = "client") -> list[str]:
    """The command line, without its first word; ``key``: whose it shows."""
    files = ("--ca", f"{tls}/ca.pem", "--cert", f"{tls}/client.pem", "--key", f"{tls}/{key}.key")
    return ["kmip", "replay", "--progress", "none", "--server", address, *files, "-o", "json"]


def test_a_key_of_another_certificate_is_no_fault_of_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path / "keys") as (_, told):
        code = run(words(told["address"], tmp_path / "keys" / "tls", "server"))
    assert code == 64  # 1 and 2 are verdicts on the server
    said = capsys.readouterr()
    assert "KS-KMIP-004" in said.err and "it is not the key of" in said.err
    assert not said.out


def test_a_certificate_that_tls_does_not_use_is_no_fault_of_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = rsa.generate_private_key(65_537, 1024)  # noqa: S505 - that is what is tested
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    files = tmp_path / "client.key", tmp_path / "client.pem", tmp_path / "ca.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files[0].write_bytes(pem)
    for file in files[1:]:
        file.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    assert run(words("127.0.0.1:1", tmp_path)) == 64
    said = capsys.readouterr()
    assert "KS-KMIP-004" in said.err and "too weak" in said.err
    assert not said.out


@pytest.mark.slow
def test_an_interrupted_soak_has_its_report(tmp_path: Path) -> None:
    with serving(tmp_path / "keys") as (_, told):
        line = words(told["address"], tmp_path / "keys" / "tls")
        rest = ["--phase", "flow", "--cleanup"]
        playing = subprocess.Popen(
            [sys.executable, "-m", "lab.cli.main", *line, "--keys", "1", "--soak", "1h", *rest],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        trail, until = tmp_path / "keys" / "disk", time.monotonic() + 60
        before = sum(file.stat().st_size for file in trail.rglob("*") if file.is_file())
        while time.monotonic() < until:
            now = sum(file.stat().st_size for file in trail.rglob("*") if file.is_file())
            if now > before + 16_384:
                break
            time.sleep(0.1)
        time.sleep(1)  # the key that was begun is made
        playing.send_signal(signal.SIGINT)
        out, err = playing.communicate(timeout=30)
    assert playing.returncode == 130
    report = json.loads(out)
    assert (report["verdict"], report["findings"]) == ("works", [])
    assert report["keys"] >= 1
    assert report["left"] == []  # it was asked to clean up
    assert "interrupted" in err and "Traceback" not in err


@pytest.mark.slow
def test_an_honest_server_works_in_every_phase(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Our own, with another client in another scope, and two trust flows done."""
    folder, flows, other = tmp_path / "keys", tmp_path / "vc", tmp_path / "other"
    trust_flows.ensure_parts(flows, "vc.example")
    trust_flows.ensure_parts(other, "app.example")
    app = other / "certificate"
    trusted = [flows / flow / "certificate.pem" for flow in ("root-ca", "certificate")]
    more = [word for file in trusted for word in ("--trust", str(file))]
    with serving(folder, *more):
        pass  # whom it trusts stays in its table
    more = ["--trust", str(app / "certificate.pem"), "--scope", "apps"]
    with serving(folder, *more) as (_, told):
        line = words(told["address"], folder / "tls")
        line += ["--identity", f"other={app / 'certificate.pem'},{app / 'certificate.key'}"]
        line += ["--identity", f"expired={expired_client(folder / 'tls', tmp_path)}"]
        line += ["--trust-flows", str(flows), "--vcenter", "9.0", "--hosts", "8", "--cleanup"]
        line += ["--html", str(tmp_path / "r.html"), "--junit", str(tmp_path / "r.xml")]
        code = run(line)
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["findings"] == []
    assert (code, report["verdict"]) == (0, "works")
    assert {phase["phase"]: phase["result"] for phase in report["phases"]} == {
        "trust": "passed",
        "flow": "passed",
        "failover": "skipped",
        "isolation": "passed",
        "storm": "passed",
        "cleanup": "passed",
    }
    skipped = [check["check"] for check in report["checks"] if check["why"]]
    assert skipped == ["the trust flow signing-request", "the trust flow upload"]
    assert (report["left"], report["keys"] > 10) == ([], True)
    assert "written: " in said.err
    assert "works" in (tmp_path / "r.html").read_text()
    assert (tmp_path / "r.xml").read_bytes().startswith(b"<testsuites")


def expired_client(tls: Path, folder: Path) -> str:
    """A certificate that the server's authority has issued to its first client, and that has ended:
    its file, and the key's."""
    authority = load_pem_x509(tls / "ca.pem")
    above = load_pem_private_key((tls / "ca.key").read_bytes(), None)
    key = load_pem_private_key((tls / "client.key").read_bytes(), None)
    assert isinstance(above, ec.EllipticCurvePrivateKey)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name, now = load_pem_x509(tls / "client.pem").subject, datetime.now(UTC)
    builder = x509.CertificateBuilder(authority.subject, name, key.public_key(), 7)
    made = builder.not_valid_before(now - timedelta(9)).not_valid_after(now - timedelta(1))
    file = folder / "expired.pem"
    file.write_bytes(made.sign(above, SHA256()).public_bytes(Encoding.PEM))
    return f"{file},{tls / 'client.key'}"


def load_pem_x509(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--keys", "-1"], "--keys -1: 0 to"),
        (["--hosts", "0"], "--hosts 0: 1 to"),
        (["--timeout", "0s"], "--timeout 0s: above 0"),
        (["--expiry-days", "-1"], "--expiry-days -1: 0 or more"),
        (["--outage", "true"], "give --outage and --recovery together, or neither"),
        (["--outage", "'", "--recovery", "true"], "--outage: No closing quotation"),
        (["--identity", "other=a"], "write ROLE=CERT,KEY"),
        (["--junit", "/nowhere/at/all.xml"], "--junit"),
        (["--server", "kms:99999"], "write HOST or HOST:PORT"),
        (["--vcenter", "6.7"], "KS-USE-001"),
        (["--phase", "trust"], "KS-USE-001"),
    ],
)
def test_what_cannot_be_played_is_told_before_anything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert run([*words("127.0.0.1:1", tmp_path), *more]) == 64
    assert said in capsys.readouterr().err
