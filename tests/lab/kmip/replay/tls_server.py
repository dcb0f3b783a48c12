"""A key server over real TLS that may be wrong in whom it lets in; it answers as a scripted one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from OpenSSL import SSL, crypto

from protocol.kmip.message import decode_request, encode_response
from protocol.kmip.ttlv import HEAD, message_size
from tests.lab.kmip.tls import Party
from tests.services.keyservers.scripted import ScriptedServer

REQUIRED = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
OPTIONAL = SSL.VERIFY_PEER
NOT_ASKED = SSL.VERIFY_NONE


def nobody(certificate: bytes) -> bool:
    """Who is not trusted is not let in."""
    return False


@dataclass
class Tls:
    """``asks``: whether for a client's certificate; ``admits``: a certificate (DER) that leads to
    none of ``trusted``, or has ended; ``gives``: whether who has this certificate, empty for none,
    is given keys."""

    party: Party
    trusted: tuple[Party, ...]
    asks: int = REQUIRED
    admits: Callable[[bytes], bool] = nobody
    gives: Callable[[bytes], bool] = lambda certificate: True
    versions: tuple[int, int] = (SSL.TLS1_2_VERSION, 0)
    ciphers: bytes = b"ECDHE+AESGCM:ECDHE+CHACHA20"
    scripted: ScriptedServer = field(default_factory=ScriptedServer)

    def context(self) -> SSL.Context:
        made = SSL.Context(SSL.TLS_METHOD)
        made.set_min_proto_version(self.versions[0])
        made.set_max_proto_version(self.versions[1])
        made.set_cipher_list(self.ciphers)
        made.use_certificate(x509.load_der_x509_certificate(self.party.certificate))
        made.use_privatekey(load_der_private_key(self.party.key.reveal(), None))  # type: ignore[arg-type]
        made.set_verify(self.asks, self._judge)
        store = made.get_cert_store()
        assert store is not None
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for one in self.trusted:
            found = x509.load_der_x509_certificate(one.certificate)
            store.add_cert(crypto.X509.from_cryptography(found))
        return made

    def _judge(self, _: object, shown: crypto.X509, code: int, depth: int, good: int) -> bool:
        der = shown.to_cryptography().public_bytes(Encoding.DER)
        return bool(good) or self.admits(der)


@contextmanager
def serving(tls: Tls) -> Iterator[int]:
    """The port at which it serves, on the loopback, until the end of the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    context, ended = tls.context(), threading.Event()

    def accept() -> None:
        while not ended.is_set():
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_one, args=(tls, context, taken), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _one(tls: Tls, context: SSL.Context, taken: socket.socket) -> None:
    taken.settimeout(None)
    stream = SSL.Connection(context, taken)
    stream.set_accept_state()
    seen: list[str] = []
    with suppress(SSL.Error, OSError), taken:
        stream.do_handshake()
        shown = stream.get_peer_certificate(as_cryptography=True)
        given = tls.gives(b"" if shown is None else shown.public_bytes(Encoding.DER))
        while True:
            head = _exactly(stream, HEAD)
            request = decode_request(head + _exactly(stream, message_size(head) - HEAD))
            if not given and "Get" in type(request.batch_item[0].request_payload).__name__:
                stream.shutdown()
                return
            stream.sendall(encode_response(tls.scripted.respond(request, seen)))


def _exactly(stream: SSL.Connection, size: int) -> bytes:
    held = b""
    while len(held) < size:
        held += stream.recv(size - len(held))
    return held
