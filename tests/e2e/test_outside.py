"""A lab of real processes whose vCenter asks a key server outside of it: ``kmip serve``."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.client import Lab
from lab.kmip.credentials import certificates, private_key
from lab.schema import commands as c
from lab.schema.commands.keys import Entry
from lab.schema.errors import KeysteadError
from protocol.crypto.certificates import SERIAL_SIZE, issue_certificate
from tests.lab.kmip.test_serve import serving

PROVIDER = "outside"


@pytest.mark.slow
@pytest.mark.lab
async def test_keys_of_a_server_outside(tmp_path: Path) -> None:
    """As docs/kmip.md says it: add, hand over vCenter's certificate, trust what it shows."""
    keys, shown = tmp_path / "keys", tmp_path / "vcenter.pem"
    with serving(keys) as (_, first):
        address = first["address"]
    async with Lab("lab", hosts=1, vms=0, tpm="none", pace=30, seed=5) as lab:
        added = await lab.do(c.ProviderAdd(PROVIDER, (f"kmip://{address}",)))
        assert (added.servers, added.status) == ((address,), "red")
        [told] = (await lab.do(c.ProviderTrust(PROVIDER))).items
        assert "Connection refused" in told.reason
        shown.write_text((await lab.do(c.ProviderTrust(PROVIDER))).certificate)
        with serving(keys, "--trust", str(shown), "--role", "client", listen=address):
            [told] = (await lab.do(c.ProviderTrust(PROVIDER))).items
            assert (told.client_trust_server, told.server_trust_client) == (False, None)
            [told] = (await lab.do(c.ProviderTrustServers(PROVIDER))).items
            assert (told.client_trust_server, told.server_trust_client) == (True, True)
            await lab.do(c.ProviderDefault(PROVIDER))
            await lab.do(c.VmCreate("vm-new", encrypted=False))
            await lab.do(c.VmEncrypt("vm-new"))
        await lab.do(c.VmCreate("vm-late", encrypted=False))
        with pytest.raises(KeysteadError, match="no server of key provider outside answers"):
            await lab.do(c.VmEncrypt("vm-late"))


def signed_by(folder: Path, request: str) -> str:
    """What the owner of a key server's authority makes of a request: PEM."""
    issuer = x509.load_pem_x509_certificate((folder / "tls" / "ca.pem").read_bytes())
    found = x509.load_pem_x509_csr(request.encode())
    public = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    now = time.time()
    made = issue_certificate(
        "vcenter of the lab",
        public,
        os.urandom(SERIAL_SIZE),
        now - 86_400,
        now + 30 * 86_400,
        issuer=issuer.public_bytes(Encoding.DER),
        issuer_key=private_key(folder / "tls" / "ca.key"),
    )
    return ssl.DER_cert_to_PEM_cert(made)


@pytest.mark.slow
@pytest.mark.lab
async def test_a_server_that_signs_vcenters_certificate_and_wants_a_password(
    tmp_path: Path,
) -> None:
    """STD-01, STD-04: a request is signed, and the entry has a user name and a password."""
    keys, shown, password = tmp_path / "keys", tmp_path / "signed.pem", tmp_path / "pw"
    password.write_text("correct horse\n")
    with serving(keys) as (_, first):
        address = first["address"]
    async with Lab("lab", hosts=1, vms=0, tpm="none", pace=1, seed=5) as lab:
        entry = Entry(timeout=5, user="vc", password_file=str(password))
        await lab.do(c.ProviderAdd(PROVIDER, (f"kmip://{address}",), entry=entry))
        request = (await lab.do(c.ProviderSigningRequest(PROVIDER, new=True))).request
        assert (await lab.do(c.ProviderSigningRequest(PROVIDER))).request == request
        shown.write_text(signed_by(keys, request))
        wants = ("--username", "vc", "--password-file", str(password))
        trusts = ("--trust", str(shown), "--role", "client")
        with serving(keys, *trusts, *wants, listen=address):
            chain = certificates(shown)
            told = await lab.do(c.ProviderUploadCertificate(PROVIDER, chain))
            assert told.certificate == shown.read_text()
            [one] = (await lab.do(c.ProviderTrustServers(PROVIDER))).items
            assert (one.client_trust_server, one.server_trust_client) == (True, True)
            await lab.do(c.ProviderDefault(PROVIDER))
            await lab.do(c.VmCreate("vm-new", encrypted=False))
            await lab.do(c.VmEncrypt("vm-new"))
            password.write_text("another\n")
            other = Entry(user="vc", password_file=str(password))
            await lab.do(c.ProviderSet(PROVIDER, entry=other))
            await lab.do(c.VmCreate("vm-late", encrypted=False))
            with pytest.raises(KeysteadError, match="Authentication Not Successful"):
                await lab.do(c.VmEncrypt("vm-late"))
            await lab.do(c.ProviderSet(PROVIDER, entry=Entry(user="")))
            with pytest.raises(KeysteadError, match="a user name and a password are wanted"):
                await lab.do(c.VmEncrypt("vm-late"))
            client = keys / "tls" / "client.pem"
            upload = c.ProviderUploadCertificate(
                PROVIDER, certificates(client), str(keys / "tls" / "client.key")
            )
            assert (await lab.do(upload)).certificate == client.read_text()
    folders = [path for path in tmp_path.rglob("*") if path.is_file() and path != password]
    assert not any(b"correct horse" in path.read_bytes() for path in folders)


@pytest.mark.sim
async def test_an_entry_is_for_a_server_that_there_is() -> None:
    async with Lab("sim", hosts=1, vms=0, seed=5) as lab:
        with pytest.raises(KeysteadError, match="there is no provider nobody"):
            await lab.do(c.ProviderSet("nobody", entry=Entry(timeout=5)))
        with pytest.raises(KeysteadError, match="kms-provider has no server other"):
            await lab.do(c.ProviderSet("kms-provider", ("other",), Entry(timeout=5)))
        with pytest.raises(KeysteadError, match="proxies are not built"):
            await lab.do(c.ProviderSet("kms-provider", entry=Entry(proxy="proxy:3128")))
        with pytest.raises(KeysteadError, match="without any time-out"):
            await lab.do(c.ProviderSet("kms-provider", entry=Entry(timeout=0)))
        await lab.do(c.ProviderSet("kms-provider", ("kms",), Entry(timeout=5)))
        with pytest.raises(KeysteadError, match="no signing request was made"):
            await lab.do(c.ProviderUploadCertificate("kms-provider", (b"none",)))
    for user, file in (("vc", ""), (None, "/pw"), ("", "/pw"), ("vc", "pw")):
        with pytest.raises(KeysteadError):
            Entry(user=user, password_file=file)
    with pytest.raises(KeysteadError, match="nothing to change"):
        c.ProviderSet("kms-provider")


@pytest.mark.slow
@pytest.mark.sim
async def test_a_server_outside_is_described_as_vcenter_finds_it() -> None:
    """Nobody knows its machine; its entry is told, and never a password."""
    async with Lab("sim", hosts=1, vms=0, seed=5) as lab:
        entry = Entry(timeout=7)
        await lab.do(c.ProviderAdd(PROVIDER, ("kmip://127.0.0.1:5696",), entry=entry))
        [server] = (await lab.do(c.DescribeProvider(PROVIDER))).servers
        assert (server.server, server.machine, server.timeout) == ("127.0.0.1:5696", None, 7)
        assert server.status == "red" and "outside of the simulation" in server.why
