"""The phase *trust*: the server is added to a provider, its certificate is judged, and others than
vCenter get nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import FindingKind, PlayPhase
from lab.kmip.replay.journal import FailedStep, ReplayJournal, SeenFinding, failures
from lab.kmip.replay.servers import Attempt, Client, ReplayedServer, TlsOffer
from lab.kmip.replay.trust_flows import FlowPart
from lab.schema.answers.kmip import ReplayCertificate
from protocol.crypto.certificates import load, validity
from protocol.errors import InvalidArgument, ProductError
from protocol.kmip.dialect import OperationFailed
from protocol.printable import one_line

DAY_S: Final = 86_400.0


def facts(certificate: bytes) -> ReplayCertificate:
    """What this certificate (DER) says; ``InvalidArgument`` when it is none."""
    found = load(certificate)
    start, end = validity(certificate)
    dns, addresses = _alternatives(found)
    return ReplayCertificate(
        subject=one_line(found.subject.rfc4514_string()),
        issuer=one_line(found.issuer.rfc4514_string()),
        names=tuple(one_line(name) for name in (*dns, *map(str, addresses))),
        start=start,
        end=end,
        key=_key(found),
        sha256=sha256(certificate).hexdigest(),
    )


def server_certificate(
    certificate: bytes, host: str, now: float, warning_s: float
) -> Iterator[SeenFinding]:
    """What is to be said of a server's certificate to a client that asked for ``host``."""
    if not names_host(certificate, host):
        found = facts(certificate)
        names = ", ".join(found.names) or f"no name; its subject is {found.subject or 'empty'}"
        yield SeenFinding(
            kinds.CERTIFICATE_NAME, f"asked for {host}, and the certificate has {names}"
        )
    yield from _ending(kinds.CERTIFICATE_EXPIRING, certificate, now, warning_s)


def client_certificate(certificate: bytes, now: float, warning_s: float) -> Iterator[SeenFinding]:
    """What is to be said of the client's own certificate."""
    yield from _ending(kinds.CLIENT_CERTIFICATE_EXPIRING, certificate, now, warning_s)


def _ending(
    kind: FindingKind, certificate: bytes, now: float, warning_s: float
) -> Iterator[SeenFinding]:
    """Nothing of one that has ended: the handshake tells of that."""
    _, end = validity(certificate)
    if 0 <= end - now < warning_s:
        day = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M UTC")
        yield SeenFinding(kind, f"it ends in {(end - now) / DAY_S:.1f} days, at {day}")


def names_host(certificate: bytes, host: str) -> bool:
    """Whether a Subject Alternative Name is that host: a name, of which the first label may be
    ``*`` in the certificate, or an address (RFC 9525). A common name names no host."""
    dns, addresses = _alternatives(load(certificate))
    try:
        return ip_address(host.partition("%")[0]) in addresses
    except ValueError:
        wanted = _labels(host)
        return any(_matches(_labels(name), wanted) for name in dns)


def _matches(pattern: list[str], wanted: list[str]) -> bool:
    if pattern[0] == "*" and len(pattern) > 2:
        return len(pattern) == len(wanted) and pattern[1:] == wanted[1:]
    return pattern == wanted


def _labels(name: str) -> list[str]:
    try:
        name = name.encode("idna").decode()
    except UnicodeError:
        pass  # it has a label that no name of a host has, such as "*"
    return name.lower().rstrip(".").split(".")


def _alternatives(
    certificate: x509.Certificate,
) -> tuple[list[str], list[IPv4Address | IPv6Address]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return [], []
    dns = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return dns, [one for one in addresses if isinstance(one, IPv4Address | IPv6Address)]


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "of an unknown kind"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


SHAKE: Final = "TLS handshake"
_SOUND: Final = ("GCM", "CCM", "CHACHA20")
_NO_KEY: Final = "no key could be made that it might have been given"
_NO_EXPIRED: Final = (
    "there is no expired certificate that the server would trust otherwise: "
    "give one with --identity expired=CERT,KEY"
)


class CertificateTrust:
    """``now`` and ``warning_s``: Unix seconds, and before its end for how many a certificate ends
    soon."""

    def __init__(
        self, journal: ReplayJournal, client: Client, now: float, warning_s: float
    ) -> None:
        self._journal, self._client = journal, client
        self._now, self._warning_s = now, warning_s
        self._refused: dict[str, str] = {}  # by which alert a server refused vCenter

    async def play(
        self, servers: Sequence[ReplayedServer], flows: Sequence[FlowPart] = ()
    ) -> list[ReplayedServer]:
        """The servers against which the other phases can be played."""
        with self._journal.phase(PlayPhase.TRUST):
            for server in servers:
                await self._look(server)
            usable = await self._add_servers(servers)
            for server in usable:
                await self._others(server)
                for flow in flows:
                    await self._rehearse(server, flow)
        return usable

    # ---- TLS ----------------------------------------------------------------------------------

    async def _look(self, server: ReplayedServer) -> None:
        """Version, cipher and certificate; one that cannot be had is told when it is added."""
        journal, name = self._journal, server.name
        seen = await server.proxy.attempt(self._client.shown)
        if seen.alert:
            self._refused[name] = seen.refused
        if not seen.version:
            return
        told = journal.servers[name]
        told.tls, told.cipher = seen.version, seen.cipher
        journal.check(kinds.CIPHER, name)
        if not _is_sound(seen):
            journal.find(kinds.WEAK_CIPHER, name, SHAKE, f"it chooses {seen.cipher}")
        else:
            weak = await server.proxy.attempt(self._client.shown, offer=TlsOffer.WEAK)
            if weak.version:
                journal.find(kinds.WEAK_CIPHER, name, SHAKE, f"it accepts {weak.cipher}")
        try:
            told.certificate = facts(seen.certificate)
        except InvalidArgument:
            return
        journal.check(kinds.SERVER_CERTIFICATE, name)
        judged = server_certificate(seen.certificate, server.host, self._now, self._warning_s)
        for found in judged:
            journal.find(found.kind, name, SHAKE, found.text)
        journal.check(kinds.CLIENT_CERTIFICATE, name)
        for found in client_certificate(self._client.certificate, self._now, self._warning_s):
            journal.find(found.kind, name, SHAKE, found.text)
        journal.check(kinds.OLD, name)
        old = await server.proxy.attempt(self._client.shown, offer=TlsOffer.OLD)
        if old.version:
            journal.find(kinds.OLD_TLS, name, SHAKE, f"it accepts {old.version}")

    # ---- adding -------------------------------------------------------------------------------

    async def _add_servers(self, servers: Sequence[ReplayedServer]) -> list[ReplayedServer]:
        """Those that were added. Whether a silent one is an error is known after the last."""
        journal = self._journal
        silent: dict[str, FailedStep] = {}
        usable = []
        for server in servers:
            journal.check(kinds.ADDED, server.name)
            with failures() as failed:
                try:
                    await server.vcenter.add_server()
                except (ProductError, OperationFailed):
                    pass
                else:
                    usable.append(server)
                    journal.check(kinds.OFFERED, server.name)
                    continue
            broken = [one for one in failed if kinds.is_broken(one.error)]
            if broken:
                silent[server.name] = self._with_alert(server.name, broken[0])
                journal.servers[server.name].down = silent[server.name].error
            else:
                journal.fail(kinds.SERVER_NOT_ADDED, server.name, failed)
        for name, one in silent.items():
            kind = kinds.SERVER_DOWN if usable else kinds.kind_of_failure(one.error)
            journal.fail(kind, name, [one])
        return usable

    def _with_alert(self, name: str, failed: FailedStep) -> FailedStep:
        """Why it failed, by the alert of the server where that came another time only."""
        alert = self._refused.get(name)
        if alert is None or failed.error.startswith("TlsFailure"):
            return failed
        return failed._replace(error=f"TlsFailure: the other end refused the handshake: {alert}")

    # ---- who should get nothing ---------------------------------------------------------------

    async def _others(self, server: ReplayedServer) -> None:
        journal, name = self._journal, server.name
        uid = await self._key(server)
        if uid is None:
            for check in (kinds.NOBODY, kinds.UNKNOWN, kinds.EXPIRED):
                journal.check(check, name, skipped=_NO_KEY)
            return
        journal.check(kinds.NOBODY, name)
        nobody = await server.proxy.attempt(None, uid)
        if nobody.served:
            journal.find(kinds.NO_CLIENT_CERTIFICATE, name, "Get", "the value of a key")
            return  # whoever shows something gets no less
        if nobody.heard:
            seen = f"an answer to Discover Versions; Get: {nobody.why or nobody.refused}"
            journal.find(kinds.CLIENT_CERTIFICATE_OPTIONAL, name, SHAKE, seen)
        journal.check(kinds.UNKNOWN, name)
        unknown = await server.proxy.attempt(self._client.unknown, uid)
        if unknown.served:
            journal.find(kinds.UNKNOWN_CLIENT_SERVED, name, "Get", "the value of a key")
            return
        if self._client.expired is None:
            journal.check(kinds.EXPIRED, name, skipped=_NO_EXPIRED)
            return
        journal.check(kinds.EXPIRED, name)
        expired = await server.proxy.attempt(self._client.expired, uid)
        if expired.served:
            journal.find(kinds.EXPIRED_CLIENT_SERVED, name, "Get", "the value of a key")

    async def _key(self, server: ReplayedServer) -> str | None:
        """An active key that others might be given; None when there is none."""
        with failures() as failed:
            try:
                uid = await server.vcenter.create()
            except (ProductError, OperationFailed):
                self._journal.fail(kinds.CREATE_FAILED, server.name, failed)
                return None
        self._journal.record_key(uid, server.name, "trust")
        with failures() as failed:
            try:
                await server.vcenter.use(uid)
            except (ProductError, OperationFailed):
                self._journal.fail(kinds.USE_FAILED, server.name, failed)
        return uid

    # ---- trust flows --------------------------------------------------------------------------

    async def _rehearse(self, server: ReplayedServer, part: FlowPart) -> None:
        """Add the server with the identity of that flow, and make and get a key with it."""
        journal, name, flow = self._journal, server.name, part.flow
        check = kinds.TRUST_FLOW._replace(title=f"the trust flow {flow}")
        if not part.ready:
            journal.check(check, name, skipped=part.then)
            return
        journal.check(check, name)
        talk = server.talk(flow)
        with failures() as failed:
            try:
                await talk.add_server()
                key = journal.record_key(await talk.create(), name, f"trust flow {flow}", by=flow)
                await talk.use(key.uid)
            except (ProductError, OperationFailed):
                journal.fail(kinds.TRUST_FLOW_REFUSED._replace(check=check), name, failed[:1])


def _is_sound(seen: Attempt) -> bool:
    if seen.version == "TLSv1.3":
        return True
    return "DHE" in seen.cipher and any(word in seen.cipher for word in _SOUND)
