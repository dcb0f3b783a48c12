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
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lab.cli.main import run
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


def test_an_interrupted_soak_has_its_report(tmp_path: Path) -> None:
    with serving(tmp_path / "keys") as (_, told):
        line = words(told["address"], tmp_path / "keys" / "tls")
        playing = subprocess.Popen(
            [sys.executable, "-m", "lab.cli.main", *line, "--keys", "1", "--soak", "1h"],
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
    assert "interrupted" in err and "Traceback" not in err
