"""Which suites a server takes: with forward secrecy, and authenticated as they are encrypted."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from OpenSSL import SSL

from protocol.errors import TlsFailure
from services.runtime.tls.endpoint import Credentials
from tests.conformance.connected import Card

CLIENT, SERVER = Card("a", 0.0, 4e9), Card("b", 0.0, 4e9)
NOW: Final = 1.7e9


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("card") / "card.pem"
    private = load_der_private_key(CLIENT.key.reveal(), None)
    pem = x509.load_der_x509_certificate(CLIENT.certificate).public_bytes(Encoding.PEM)
    file.write_bytes(pem + private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def agreed(card: Path, suites: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> str:
    """The suite that such a client and our server agree on; ``TlsFailure`` as the server has it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(suites)
    context.load_verify_locations(cadata=SERVER.certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_cert_chain(card)
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(came, goes)
    server = Credentials(SERVER.trusting(CLIENT), server=True).endpoint(NOW)
    for _ in range(5):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        server.receive_data(goes.read())
        if server.failure is not None:
            raise server.failure
        came.write(server.outgoing())
    assert server.established
    found = client.cipher()
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ],
)
def test_authenticated_suites_of_tls_1_2_are_taken(card: Path, suite: str) -> None:
    assert agreed(card, suite) == suite


@pytest.mark.parametrize(
    "suites",
    [
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-CCM8:@SECLEVEL=0",
        "kRSA:@SECLEVEL=0",
    ],
)
def test_others_of_tls_1_2_are_refused(card: Path, suites: str) -> None:
    with pytest.raises(TlsFailure, match="no shared cipher"):
        agreed(card, suites)


def test_of_all_that_a_client_offers_an_authenticated_one_is_chosen(card: Path) -> None:
    assert "GCM" in agreed(card, "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
    assert agreed(card, "DEFAULT", ssl.TLSVersion.TLSv1_3).startswith("TLS_")


def test_a_client_still_reaches_a_server_that_has_no_others() -> None:
    """vCenter is a client of servers that people have, such as PyKMIP with a certificate of RSA."""
    client = Credentials(CLIENT.trusting(SERVER), server=False).endpoint(NOW)
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(b"ECDHE-ECDSA-AES256-SHA384")
    context.use_certificate(x509.load_der_x509_certificate(SERVER.certificate))
    context.use_privatekey(load_der_private_key(SERVER.key.reveal(), None))  # type: ignore[arg-type]
    server = SSL.Connection(context, None)
    server.set_accept_state()
    client.start()
    for _ in range(5):
        if data := client.outgoing():
            server.bio_write(data)
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        try:
            client.receive_data(server.bio_read(1 << 16))
        except SSL.WantReadError:
            pass
    assert client.established and server.get_cipher_name() == "ECDHE-ECDSA-AES256-SHA384"
