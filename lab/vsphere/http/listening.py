"""The listener: TLS on loopback, closed while vCenter is off, with its certificate authority."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.schema import commands as c
from lab.schema.answers import RuledLink
from lab.schema.errors import KeysteadError
from lab.vsphere.http.protocol import HEAD_LIMIT, ClientLink, SingleWriteProtocol
from lab.vsphere.http.web import application
from lab.vsphere.service import ApiServer

AUTHORITY, CERTIFICATE = "ca.pem", "server.pem"
_DAYS = 825
CONNECTION_LIMIT = 1000
IDLE_S = 75
"""Seconds after which a connection without a whole head of a request is closed."""
LOOK_EVERY_S = 0.25
"""Real seconds between two looks at whether vCenter is on."""


def make_certificates(folder: Path, names: tuple[str, ...]) -> None:
    """Make a certificate authority and a server's certificate in ``folder``, unless they are there.

    The authority signs this one certificate and its key is thrown away. ``OSError`` when the folder
    cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / AUTHORITY).exists() and (folder / CERTIFICATE).exists():
        return
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keystead lab CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    ca_identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())

    def builder(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=_DAYS))
        )

    def usage(*, signs: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not signs, key_cert_sign=signs, crl_sign=signs,
            content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip

    authority = (
        builder(issuer, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs=True), critical=True)
        .add_extension(ca_identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    certificate = (
        builder(subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(n) for n in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(folder / CERTIFICATE, certificate.public_bytes(pem) + private)
    _write(folder / AUTHORITY, authority.public_bytes(pem))


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _write(path: Path, data: bytes) -> None:
    """Write a file for its owner only, whole or not at all."""
    beside = path.with_suffix(f".{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
    beside.replace(path)


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet; ``OSError`` when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # asyncio sends at once then
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


class ApiListener:
    """Serves an ``ApiServer`` at an address for as long as its vCenter is on.

    While vCenter is off the port is closed and its sessions are gone. A lab that does not answer
    closes it too. ``link``: what clients reach it by.
    """

    def __init__(self, server: ApiServer, folder: Path, host: str, port: int) -> None:
        self._server, self._folder = server, folder
        self.host, self.port = host, port
        self._web: uvicorn.Server | None = None
        self._bound: socket.socket | None = None
        self._looking = asyncio.Lock()
        self.link = ClientLink(server.executor.sleep)
        server.when_off = self.close
        server.looks.append(self.look)

    def _configuration(self) -> uvicorn.Config:
        return uvicorn.Config(
            application(self._server),
            http=functools.partial(SingleWriteProtocol, link=self.link),
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            log_level="error",  # a client's malformed request is no news for the operator
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # a client does not choose the address of its session
            limit_concurrency=CONNECTION_LIMIT,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=HEAD_LIMIT,
            ssl_certfile=str(self._folder / CERTIFICATE),
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        )

    @property
    def is_open(self) -> bool:
        """Whether it listens now."""
        return self._web is not None

    async def open(self) -> None:
        """Listen; ``OSError`` when the address cannot be had."""
        await self._server.find_version()
        self._bound = bind(self.host, self.port)
        self._bound.listen(CONNECTION_LIMIT)
        self.port = self._bound.getsockname()[1]
        config = self._configuration()
        config.load()
        web = uvicorn.Server(config)
        web.lifespan = config.lifespan_class(config)
        web.servers = []
        self._web = web
        await self._accept()

    async def _accept(self) -> None:
        """Accept connections, or let them wait at the port while the link is cut."""
        if self._web is None or self._bound is None:
            return
        if self.link.accepts:
            await self._web.startup(sockets=[self._bound.dup()])
            return
        for one in self._web.servers:
            one.close()
        self._web.servers = []

    async def follow_link(self, rows: Iterable[RuledLink], server: str) -> None:
        """Have the faults that the lab has on the links of clients now; this is ``server``."""
        accepted = self.link.accepts
        self.link.follow(rows, server)
        if self.link.accepts != accepted:
            await self._accept()

    async def close(self) -> None:
        """Close the port and every connection; sessions are gone."""
        web, self._web = self._web, None
        bound, self._bound = self._bound, None
        self._server.sessions.end_all()
        if bound is not None:
            bound.close()
        if web is not None:
            for one in list(web.servers):
                one.close()
            for connection in list(web.server_state.connections):
                transport = getattr(connection, "transport", None)
                if transport is not None:
                    transport.abort()
            web.force_exit = True
            await web.shutdown()

    async def follow(self) -> None:
        """Open and close with vCenter, until this is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Open or close, as vCenter is on or off now."""
        async with self._looking:
            is_on = await self._server.is_on()
            if is_on and self._web is None:
                with contextlib.suppress(OSError):  # taken meanwhile: the next look tries again
                    await self.open()
            elif not is_on and self._web is not None:
                await self.close()
            with contextlib.suppress(KeysteadError):  # a lab that does not answer closes the port
                node = await self._server.watch.find_vcenter()
                rows = (await self._server.executor.look(c.GetLinks())).items
                if node is not None:
                    await self.follow_link(rows, node.node)


@contextlib.asynccontextmanager
async def listening(
    server: ApiServer, folder: Path, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[ApiListener]:
    """A listener for the length of a block, which follows its vCenter."""
    make_certificates(folder, ("localhost", "127.0.0.1", "::1", server.vcenter_name))
    listener = ApiListener(server, folder, host, port)
    await listener.open()
    following = asyncio.get_running_loop().create_task(listener.follow())
    try:
        yield listener
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await listener.close()
        await server.close()
