"""The backup of a native provider: a PKCS#12 file that other tools open."""

from __future__ import annotations

import base64
import dataclasses
import re
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from protocol.crypto import provider_backup
from protocol.crypto.der import elements, iterations
from protocol.crypto.provider_backup import BackupContent, read_backup, write_backup
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.errors import CryptographicFailure, InvalidArgument
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId

_PBMAC1 = bytes.fromhex("2a864886f70d01050e")
BACKUP = BackupContent(
    provider=ProviderId("nkp ä"),
    key_id=str(uuid.UUID(int=0x0123456789ABCDEF0123456789ABCDEF)),
    kdk=KeyMaterial(bytes(range(32))),
    tpm_required=True,
    exported_at=1_700_000_000.0,
)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rounds, where what they cost is not what a test is about."""
    monkeypatch.setattr(provider_backup, "_ROUNDS", 1)


@pytest.mark.slow
def test_a_password_is_hashed_as_often_as_it_must_be_today() -> None:
    """For the certificate, the key and the MAC: whoever guesses takes the cheapest of them. The MAC
    that libraries make by themselves has 2,048 rounds."""
    data = write_backup(BACKUP, "secret")
    assert list(iterations(elements(data))) == [600_000] * 3
    assert _PBMAC1 in data
    assert read_backup(data, "secret") == BACKUP
    changed = data.replace(b"\x02\x03\x09\x27\xc0", b"\x02\x03\x09\x27\xc1")  # the counts
    with pytest.raises(InvalidArgument):
        read_backup(changed, "secret")


def test_a_backup_of_an_earlier_version_is_read() -> None:
    key, certificate, _ = pkcs12.load_key_and_certificates(write_backup(BACKUP, ""), None)
    assert isinstance(key, Ed25519PrivateKey)
    earlier = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(20_000)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(b"secret")
    )
    data = pkcs12.serialize_key_and_certificates(b"nkp", key, certificate, None, earlier)
    assert _PBMAC1 not in data and read_backup(data, "secret") == BACKUP


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("password", ["", "secret", "pä ss"])
def test_what_is_written_is_read(password: str) -> None:
    assert read_backup(write_backup(BACKUP, password), password) == BACKUP


@pytest.mark.parametrize("size", [1, 64, 65, 128])
def test_names_of_every_length_are_written(size: int) -> None:
    """A common name ends at 64 characters (RFC 5280), a provider's name at 128."""
    backup = dataclasses.replace(BACKUP, provider=ProviderId("n" * size))
    assert read_backup(write_backup(backup, ""), "") == backup


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(("written", "read"), [("secret", ""), ("secret", "Secret"), ("", "x")])
def test_a_wrong_password_is_told(written: str, read: str) -> None:
    with pytest.raises(InvalidArgument, match="password"):
        read_backup(write_backup(BACKUP, written), read)


@pytest.mark.usefixtures("cheap")
def test_an_encrypted_part_asks_for_no_rounds_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would not be counted; an encrypted key asks for them without an encrypted part."""
    data, cipher = write_backup(BACKUP, "secret"), BestAvailableEncryption(b"secret")
    inner = Ed25519PrivateKey.generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, cipher)
    assert list(iterations(elements(inner)))
    monkeypatch.setattr(provider_backup, "_decrypt_part", lambda *_: inner)
    with pytest.raises(InvalidArgument):
        read_backup(data, "secret")


@pytest.mark.parametrize("data", [b"", b"x" * 600])
def test_no_backup_is_told(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="not a backup"):
        read_backup(data, "")


def test_the_pkcs12_of_somebody_else_is_no_backup() -> None:
    theirs = generate_private_key(65537, 2048)
    data = pkcs12.serialize_key_and_certificates(b"web", theirs, None, None, NoEncryption())
    with pytest.raises(InvalidArgument, match="not a backup of a native"):
        read_backup(data, "")


def test_another_key_under_its_certificate_is_noticed() -> None:
    _, certificate, _ = pkcs12.load_key_and_certificates(write_backup(BACKUP, ""), None)
    assert isinstance(certificate, x509.Certificate)
    other = Ed25519PrivateKey.generate()
    with pytest.raises(ValueError, match="match"):
        pkcs12.serialize_key_and_certificates(b"n", other, certificate, None, NoEncryption())


@pytest.mark.usefixtures("cheap")
def test_openssl_shows_what_it_is_of(tmp_path: Path) -> None:
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("there is no openssl here")
    file = tmp_path / "nkp.p12"
    file.write_bytes(write_backup(BACKUP, "secret"))
    shown = subprocess.run(
        [tool, "pkcs12", "-in", str(file), "-passin", "pass:secret", "-nokeys"],
        capture_output=True,
        check=True,
    ).stdout.decode(errors="replace")
    assert "subject" in shown and "BEGIN CERTIFICATE" in shown


@pytest.mark.usefixtures("cheap")
def test_openssl_knows_its_mac(tmp_path: Path) -> None:
    tool = shutil.which("openssl")
    told = tool and subprocess.run([tool, "version"], capture_output=True, text=True).stdout
    found = re.match(r"OpenSSL (\d+)\.(\d+)", told or "")
    if found is None or (int(found[1]), int(found[2])) < (3, 4):
        pytest.skip("there is no openssl here that knows PBMAC1")
    assert tool is not None
    file = tmp_path / "nkp.p12"
    file.write_bytes(write_backup(BACKUP, "secret"))
    for password, code in (("secret", 0), ("Secret", 1)):
        command = [
            tool,
            "pkcs12",
            "-in",
            str(file),
            "-passin",
            f"pass:{password}",
            "-noout",
            "-info",
        ]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == code, ran.stderr
        assert "MAC: PBMAC1 using PBKDF2" in ran.stderr


@pytest.mark.usefixtures("cheap")
def test_the_kdk_is_in_clear_only_without_a_password() -> None:
    assert BACKUP.kdk.reveal() in write_backup(BACKUP, "")
    assert BACKUP.kdk.reveal() not in write_backup(BACKUP, "secret")


def test_a_secret_opens_for_its_receiver_and_purpose_alone() -> None:
    mine, other, secret = OneTimeKey(), OneTimeKey(), KeyMaterial(b"secret")
    box = seal_secret(mine.public, secret, "backup")
    assert mine.open_box(box, "backup") == secret
    for wrong in ((other, box, "backup"), (mine, box, "password"), (mine, box[:-1], "backup")):
        with pytest.raises(CryptographicFailure):
            wrong[0].open_box(wrong[1], wrong[2])
    with pytest.raises(InvalidArgument):
        seal_secret(b"short", secret, "backup")


_SM2 = (  # openssl pkcs12 -export of an SM2 key with its certificate, password x
    "MIIEDAIBAzCCA8IGCSqGSIb3DQEHAaCCA7MEggOvMIIDqzCCAloGCSqGSIb3DQEHBqCCAkswggJHAgEAMIICQAYJ"
    "KoZIhvcNAQcBMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBBwK1MtpSnSqZ2scLwwy2B4AgIIADAMBggq"
    "hkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQUwV8X4JOW1jgpkh6r4fazICCAdCF7pgOAavMD+f3b3MB3ZLKHL9iYfDf"
    "bcMo4DnrUAMsuHTFtOylPbvVntMB69HokNpzYy2e2cy96RqfauCptiMJvzybyd1nd/zLtXLZCz1MFyACNETub+iX"
    "hxYSpDqL3beHRMGZ63mEGW65sjREVsaP4xbVkAlbX3P8dRojusWCwNcU4Cf1IZRZmVDTkde4VkKv7QOGFJ5u55NA"
    "RNWEZbszGDebg2fjYMIuBG6geBZVPEs0vedbR7UCkKOqrPNMN8SqsQKzkTaRbRyhIYbgUXW8sBIfUGSllaRnoTm7"
    "YgujX3FISaQ2CgGa7EVW8pXxFfGodyh0d7d+s+WwUkqLXFKGYgoCU12KOcj6lWkg65IDOd2//RNYcUAQmgcgjmXN"
    "bekVHR4JIG29ZrTbHn/ft+xVO8x3Gv01ExqIqhwctJoAGsbgeqajZFx0pZrMLvZSUqCae4zxAmZ6qMgogbltBWoT"
    "xnc9DkBl/IbIGZdJB+BUB4w61Ox89my1IknPbsycRERuy4ECFKuzSTt9kEQ6SjgSC9ua3/ITwF9XG3dBzv1PlCHf"
    "0deEg/mfAkLexVVazGrnrp9thiJM8HB1XhOTVxSWMHTDGDr2yNSMJa7xHxvHsTCCAUkGCSqGSIb3DQEHAaCCAToE"
    "ggE2MIIBMjCCAS4GCyqGSIb3DQEMCgECoIH3MIH0MF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBCKz4yt"
    "hwjXwuOZmIuVTrdwAgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQIjPvpvmN8kpIHDTE9lLDuQSBkFOm"
    "z+nVq2URRRF/wMyLwb8UWWxiVVv30SfUa5u1Nzs7kdBGEM2l1j8TNZGEA3+SE6w1g35rmxilyzF+FsviUXuqil5Z"
    "0ObV71ZPucJuIKWKKQNCuYx2ScvtNYec9zjqP1dg3O9GL+/R5apGd838J7IHyvs2BXj8QsO/qe0jgLRK3+oqVahP"
    "Na9Z02PWILRsfTElMCMGCSqGSIb3DQEJFTEWBBRQeTCtujebuYQ/19QSX6WGmNgJDzBBMDEwDQYJYIZIAWUDBAIB"
    "BQAEINPc4QSLIh7TeFmd/vYwfPTGTv3Q+EzdmvkBB794l7XnBAgjUyAgvzlT8QICCAA="
)


def test_a_key_of_a_curve_that_nobody_here_knows_is_told() -> None:
    with pytest.raises(InvalidArgument, match="not a backup of"):
        read_backup(base64.b64decode(_SM2), "x")
