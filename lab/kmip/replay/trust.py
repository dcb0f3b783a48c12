"""The phase *trust*: the server is added to a provider, and others than vCenter get nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.kmip.replay import kinds
from lab.kmip.replay.certificates import client_certificate, facts, server_certificate
from lab.kmip.replay.findings import PlayPhase
from lab.kmip.replay.handshake import Attempt, TlsOffer
from lab.kmip.replay.journal import FailedStep, ReplayJournal, failures
from lab.kmip.replay.servers import Client, ReplayedServer
from lab.kmip.replay.trust_flows import FlowPart
from protocol.errors import InvalidArgument, ProductError
from protocol.kmip.dialect import OperationFailed

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
