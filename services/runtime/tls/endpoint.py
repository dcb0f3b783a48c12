"""One end of TLS without any I/O: bytes from the other end in, bytes for it out.

Python's own ``ssl`` lacks two things: certificates are judged at the time of a node's clock, inside
the handshake, so that the other end learns why; and a failed handshake names OpenSSL's reason. This
module therefore uses pyOpenSSL (decision 56). The bytes of a connection go to OpenSSL's own
functions: pyOpenSSL raises an exception when no more bytes are available, which costs as much as a
record.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from OpenSSL import SSL, crypto

from protocol.errors import Disconnected, InvalidArgument, ProductError, TlsFailure
from services.runtime.streams import TlsIdentity

_RECORD: Final = 16_384  # a TLS record has no more plain bytes
_SUITES: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL"
"""Cipher suites of a TLS 1.2 server: with forward secrecy, without CBC. A client accepts what a
server offers that somebody else runs."""
_LATEST: Final = 253_402_300_799  # Unix seconds of the end of the year 9999
_library = Binding().lib
_read, _write, _give = _library.SSL_read, _library.SSL_write, _library.BIO_write
_take = _library.BIO_read
_text, _buffer = Binding().ffi.string, Binding().ffi.buffer
_room = Binding().ffi.new_allocator(should_clear_after_alloc=False)
_inside, _left = _library.BIO_get_mem_data, _library.SSL_pending
_where = _room("char **")  # an output argument that nobody reads


class Credentials:
    """A ``TlsIdentity`` prepared for one side of handshakes. Building it is expensive: keep it."""

    def __init__(self, identity: TlsIdentity, *, server: bool) -> None:
        """``InvalidArgument`` for an invalid certificate or key, or a key that is not the
        chain's."""
        self.identity, self.server = identity, server
        try:
            self._chain = [x509.load_der_x509_certificate(found) for found in identity.chain]
            self._trusted = [
                crypto.X509.from_cryptography(x509.load_der_x509_certificate(found))
                for found in identity.trusted
            ]
            self._key = load_der_private_key(identity.key.reveal(), None)
            self._second = -1
            self._context = self._build_context(0)
        except (ValueError, TypeError, IndexError, SSL.Error, crypto.Error):
            raise InvalidArgument(
                "identity: a chain of certificates, the key of the first one, and certificates "
                "to trust are wanted"
            ) from None

    def endpoint(self, now: float) -> TlsEndpoint:
        """One end of a new connection, which judges certificates at ``now`` (Unix seconds)."""
        second = int(min(max(now, 0.0), _LATEST))
        if second != self._second:
            self._context, self._second = self._build_context(second), second
        return TlsEndpoint(SSL.Connection(self._context, None), server=self.server)

    def _build_context(self, second: int) -> SSL.Context:
        """A context for one second: the time of a certificate store can be set only once."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        if self.server:
            context.set_cipher_list(_SUITES)
        # A resumed session would not judge the certificate again.
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_id(b"keystead")
        context.use_certificate(self._chain[0])
        for certificate in self._chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(self._key)  # type: ignore[arg-type]
        context.check_privatekey()
        store = context.get_cert_store()
        if store is None:
            raise RuntimeError("a context of OpenSSL has no store of certificates")
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        store.set_time(datetime.fromtimestamp(second, UTC))
        for trusted in self._trusted:
            store.add_cert(trusted)
        judge = (
            _accept_any_certificate if self.identity.anyone and not self.server else _record_verdict
        )
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, judge)
        return context


def _accept_any_certificate(*_: object) -> bool:
    """The verify callback of a client that accepts any certificate."""
    return True


def _record_verdict(
    connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, good: int
) -> bool:
    """The verify callback: OpenSSL calls it for each certificate. Keeps the first error."""
    if not good:
        endpoint: TlsEndpoint = connection.get_app_data()
        endpoint.verdict = endpoint.verdict or code
    return bool(good)


class TlsEndpoint:
    """One end. ``plain`` has the bytes that arrived for the service.

    - ``established``: its part of the handshake is done, and the other end has proved its identity
    - ``closed``: the other end has closed
    - ``failure``: why this end cannot be used any more
    - ``verdict``: OpenSSL's code of the error in the other end's certificate; 0: none
    """

    def __init__(self, connection: SSL.Connection, *, server: bool) -> None:
        self.plain = bytearray()
        self.established = self.closed = False
        self.failure: ProductError | None = None
        self.peer = b""
        self.verdict = 0
        self._ssl = connection
        self._raw, self._out = connection._ssl, connection._from_ssl
        self._in = connection._into_ssl
        self._received = False  # whether data of the other end arrived under these keys
        connection.set_app_data(self)
        if server:
            connection.set_accept_state()
        else:
            connection.set_connect_state()

    def start(self) -> None:
        """Begin the handshake as a client; no change at a server."""
        self._do_handshake()

    def receive_data(self, data: bytes) -> None:
        """Process bytes from the other end, in order."""
        if self.failure is None and not self.closed:
            if data and _give(self._in, data, len(data)) != len(data):
                raise MemoryError("OpenSSL has no room for what came")
            if not self.established:
                self._do_handshake()
            if self.established and self.failure is None:
                self._read_plain()

    def send(self, data: bytes) -> None:
        """Encrypt plain bytes for the other end. Only when it is ``established``."""
        raw = self._raw
        try:
            while data:  # one TLS record at a time
                size = min(len(data), _RECORD)
                if (result := _write(raw, data, size)) <= 0:
                    self._ssl._raise_ssl_error(raw, result)
                data = data[result:]
        except SSL.Error as error:
            self.failure = Disconnected(f"the connection broke: {_reason(error)}")
            raise self.failure from None

    def close(self) -> None:
        """Announce that nothing more is sent; no change before the handshake is done."""
        if self.established and self.failure is None:
            try:
                self._ssl.shutdown()
            except SSL.Error:
                return

    def outgoing(self) -> bytes:
        """The bytes to be sent to the other end now; empty when there are none."""
        waiting = _inside(self._out, _where)
        if waiting <= 0:
            return b""
        size = _take(self._out, room := _room("char[]", waiting), waiting)
        return bytes(_buffer(room, size))

    def _do_handshake(self) -> None:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            self.failure = TlsFailure(self._build_failure(error))
            return
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            self.failure = TlsFailure("the other end showed no certificate")
            return
        self.peer = _der_of(certificate)
        self.established = True

    def _build_failure(self, error: SSL.Error) -> str:
        if self.verdict:
            code = _library.X509_verify_cert_error_string(self.verdict)
            return f"the certificate of the other end was refused: {_text(code).decode()}"
        return f"the handshake failed: {_reason(error)}"

    def _read_plain(self) -> None:
        plain, raw = self.plain, self._raw
        try:
            while (size := _read(raw, room := _room("char[]", _RECORD), _RECORD)) > 0:
                plain += _buffer(room, size)
                self._received = True
                if not _left(raw) and _inside(self._in, _where) <= 0:
                    return  # the alert of a failed end is all that it sends
            if _library.SSL_get_error(raw, size) != _library.SSL_ERROR_WANT_READ:
                self._ssl._raise_ssl_error(raw, size)
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            reason = _reason(error)
            late = not self._received and "alert" in reason
            self.failure = (
                TlsFailure(f"the other end refused the handshake: {reason}")
                if late
                else Disconnected(f"the connection broke: {reason}")
            )


def _reason(error: SSL.Error) -> str:
    """OpenSSL's first reason of an error; an end of file has no reason of its own."""
    if isinstance(error, SSL.SysCallError) or not error.args or not error.args[0]:
        return "the bytes ended without a close"
    return str(error.args[0][0][2])


def _der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
