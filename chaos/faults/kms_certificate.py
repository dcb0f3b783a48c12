"""``kms.certificate``: what vCenter and KMIP servers show each other is not taken any more.

Of ``server``: servers show another certificate, or one whose end comes. Of ``client``: so does
vCenter, or the servers refuse it (STD-03), or vCenter loses the private key of its certificate.
Nothing undoes it: what was is gone. The cure is an administrator's, who has each end take what the
other shows (STD-04).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import model_validator

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, names
from chaos.fields import name_validator
from chaos.lab import Directory, LabUnderTest
from chaos.observe.look import all_providers
from chaos.oracle.effects import FaultEffect, Takes
from protocol import names as rules
from protocol.crypto.certificates import key_digest, validity
from protocol.errors import ProductError
from protocol.messages.kms.administration import (
    QueryIdentities,
    RenewServerCertificate,
    RevokeIdentity,
    TrustIdentity,
)
from protocol.messages.vcenter.providers import (
    GenerateSelfSignedClientCert,
    KmipServer,
    LoseClientKey,
    RetrieveClientCert,
    RetrieveKmipServerCert,
    ServerCert,
    UploadKmipServerCert,
)
from protocol.terms import NodeName, ProviderId, Role

GOOD_FOR_S: Final = 2.0
"""For how long a certificate that expires is good; the end is waited for."""
PAST_S: Final = 2.0
"""So long after its end no clock of the lab that is right takes it for good any more: a certificate
has its times in whole seconds."""


class CertificateSide(StrEnum):
    """Whose certificate: the key servers', or that of vCenter, their client."""

    SERVER = "server"
    CLIENT = "client"


class Becomes(StrEnum):
    """What becomes of it."""

    REPLACED = "replaced"
    EXPIRED = "expired"
    REVOKED = "revoked"
    KEY_LOST = "key-lost"


_ENDS: Final = (Becomes.EXPIRED, Becomes.KEY_LOST)
"""Of what is left nothing can be shown: another one is made."""


class CertificateParams(Params):
    """Whose certificate (``of``), and what it ``becomes``; a server's is never
    revoked, and has its key.

    Which ``provider`` of which ``vcenter``: what is left out is the lab's default, and its first.
    ``on``: those of its servers; all of them when it is left out.
    """

    of: CertificateSide
    becomes: Becomes
    on: str | list[str] | dict[str, str | int] | None = None
    provider: Annotated[str, name_validator(rules.PROVIDER)] | None = None
    vcenter: Annotated[str, name_validator(rules.NODE)] | None = None

    @model_validator(mode="after")
    def _check_fields(self) -> CertificateParams:
        if self.of is CertificateSide.SERVER and self.becomes is Becomes.KEY_LOST:
            raise ValueError("a server without its key does not start: replaced or expired")
        if self.of is CertificateSide.SERVER and self.becomes is Becomes.REVOKED:
            raise ValueError("vCenter revokes no certificate of a server: replaced or expired")
        if (
            self.of is CertificateSide.CLIENT
            and self.becomes is not Becomes.REVOKED
            and self.on is not None
        ):
            raise ValueError("vCenter shows all servers the same certificate: leave `on` out")
        return self


class KmsCertificate(Fault, frozen=True, kw_only=True):
    """A certificate between vCenter and KMIP servers is replaced, expires, is revoked, or has lost
    its key."""

    kind: ClassVar[str] = "kms.certificate"
    example: ClassVar[str] = "of: server, becomes: replaced"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.CERTIFICATE,))
    drawn: ClassVar[Drawn] = Drawn.KMIP
    params: ClassVar[type[Params]] = CertificateParams
    reversible: ClassVar[bool] = False
    side: CertificateSide
    becomes: Becomes
    provider: ProviderId
    vcenter: NodeName
    servers: tuple[NodeName, ...]

    @classmethod
    def of(cls, id: str, params: CertificateParams, targets: Targets) -> Fault:
        provider, vcenter = targets.provider(params.provider, params.vcenter)
        serving = {entry.node for entry in targets.directory.nodes if provider in entry.providers}
        asked = targets.of_role(Role.KMS)
        if params.on is not None:
            asked = targets.nodes(params.on, Role.KMS)
        servers = tuple(node for node in asked if node in serving)
        if not servers:
            raise ChaosError("KS-CHAOS-010", f"none of these is a key server of {provider}")
        return cls(
            id=id,
            side=params.of,
            becomes=params.becomes,
            provider=provider,
            vcenter=vcenter,
            servers=servers,
        )

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        """Of the lab's default provider, where all of its servers are asked by KMIP: the
        certificate of vCenter or of servers, one of them or all."""
        default = directory.default_provider
        serving = [entry for entry in directory.nodes if default in entry.providers]
        if not serving or not all(entry.by_kmip for entry in serving):
            return None
        drawn_ones = (Becomes.REPLACED, Becomes.EXPIRED, Becomes.REVOKED)  # SC-07 plays the other
        ways = [(side, becomes) for side in CertificateSide for becomes in drawn_ones]
        ways.remove((CertificateSide.SERVER, Becomes.REVOKED))
        side, becomes = ways[draws.below(len(ways))]
        drawn = {"of": side.value, "becomes": becomes.value}
        some, which = draws.unit() < 0.5, serving[draws.below(len(serving))].node
        of_one = side is CertificateSide.SERVER or becomes is Becomes.REVOKED
        return {**drawn, "on": [str(which)]} if some and of_one else drawn

    def file_fields(self) -> dict[str, Any]:
        on = {} if self._is_one else {"on": [str(server) for server in self.servers]}
        about = {"provider": str(self.provider), "vcenter": str(self.vcenter)}
        return {"of": self.side.value, "becomes": self.becomes.value, **on, **about}

    @property
    def _is_one(self) -> bool:
        """Whether it is about the one certificate that vCenter shows all servers."""
        return self.side is CertificateSide.CLIENT and self.becomes is not Becomes.REVOKED

    def touches(self) -> tuple[NodeName, ...]:
        return (self.vcenter,) if self._is_one else self.servers

    def summary(self) -> str:
        whose = names(self.servers) if self.side is CertificateSide.SERVER else str(self.vcenter)
        return f"certificate of {whose} for {self.provider} {self.becomes.value}"

    def holds(self) -> tuple[str, ...]:
        return (f"certificates of {self.provider}",)

    # ---- what happens ------------------------------------------------------------------------

    async def survey(self, lab: LabUnderTest) -> Notes:
        """``client`` and ``shown`` (by server): SHA-256 of what each showed before; ``digest``: of
        vCenter's public key. All of them are asked by KMIP, and take each other."""
        known = {one.node: one for one in await self._fetch_servers(lab)}
        shown: dict[str, str] = {}
        for server in self.servers:
            if server not in known or not known[server].address.startswith("kmip:"):
                text = f"{self.vcenter} does not ask {server} for {self.provider} by KMIP"
                raise ChaosError("KS-CHAOS-106", text)
            found = await self._fetch_server_cert(lab, known[server])
            if not (found.client_trust_server and found.server_trust_client):
                text = f"{self.vcenter} and {server} do not trust each other now"
                raise ChaosError("KS-CHAOS-106", text)
            shown[str(server)] = found.certificate.fingerprint
        client = await self._client(lab)
        return {
            "client": hashlib.sha256(client).hexdigest(),
            "digest": key_digest(client).hex(),
            "shown": shown,
        }

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        good_for_s = GOOD_FOR_S if self.becomes is Becomes.EXPIRED else None
        if self.becomes is Becomes.REVOKED:
            for server in self.servers:
                await lab.ask(server, RevokeIdentity(digest=notes["digest"]))
            return
        if self.becomes is Becomes.KEY_LOST:
            await lab.ask(self.vcenter, LoseClientKey(provider=self.provider))
            return
        if self.side is CertificateSide.CLIENT:
            message = GenerateSelfSignedClientCert(provider=self.provider, good_for_s=good_for_s)
            await lab.ask(self.vcenter, message)
        else:
            for server in self.servers:
                await lab.ask(server, RenewServerCertificate(good_for_s=good_for_s))
        if good_for_s is not None:
            await self._accept(lab, notes)
            await lab.sleep(good_for_s + PAST_S)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """By the word of who shows it, the certificate is another one, or has no key; one that
        expires has a validity whose end is past. By the word of each server, vCenter is revoked."""
        if self.becomes is Becomes.REVOKED:
            for server in self.servers:
                if notes["digest"] in await _fetch_accepted_clients(lab, server):
                    return f"{server} does not refuse {self.vcenter}"
            return ""
        if self.becomes is Becomes.KEY_LOST:
            lost = await self._key_lost(lab)
            return "" if lost else f"{self.vcenter} has the key of its certificate"
        if self.side is CertificateSide.CLIENT:
            return self._is_other(self.vcenter, await self._client(lab), notes["client"])
        for server in self.servers:
            shown = (await lab.ask(server, QueryIdentities())).certificate
            seen = self._is_other(server, shown, notes["shown"][str(server)])
            if seen:
                return seen
        return ""

    def _is_other(self, node: NodeName, certificate: bytes, before: str) -> str:
        if hashlib.sha256(certificate).hexdigest() == before:
            return f"{node} shows the certificate that it showed before"
        start, end = validity(certificate)
        if self.becomes is Becomes.EXPIRED and end - start > GOOD_FOR_S + 1:
            return f"the certificate that {node} shows is good for {end - start:g} s"
        return ""

    # ---- the cure ----------------------------------------------------------------------------

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """By vCenter's word on a server's certificate, and a server's on vCenter's."""
        if self.side is CertificateSide.SERVER:
            for one in await self._fetch_affected_servers(lab):
                if not (await self._fetch_server_cert(lab, one)).client_trust_server:
                    return f"{self.vcenter} does not trust {one.node}"
            return ""
        client = await self._client(lab)
        if await self._key_lost(lab):
            return f"{self.vcenter} has no key of the certificate that it shows"
        start, end = validity(client)
        if self.becomes is Becomes.EXPIRED and end - start <= GOOD_FOR_S + 1:
            return f"the certificate that {self.vcenter} shows has expired"
        for server in self.servers:
            if key_digest(client).hex() not in await _fetch_accepted_clients(lab, server):
                return f"{server} does not trust {self.vcenter}"
        return ""

    def cure_text(self) -> str:
        ended = self.becomes in _ENDS
        if self.side is CertificateSide.SERVER:
            renew = [f"keystead kms renew-certificate {server}" for server in self.servers]
            accept = [f"keystead provider trust-servers {self.provider}"]
        else:
            renew = [f"keystead provider renew-certificate {self.provider}"]
            accept = [f"keystead kms trust {s} --provider {self.provider}" for s in self.servers]
        return "; ".join([*(renew if ended else ()), *accept])

    async def cure(self, lab: LabUnderTest, notes: Notes) -> None:
        """Another certificate for one that is of no use any more; then each end takes what is
        shown."""
        try:
            if self.becomes in _ENDS:
                if self.side is CertificateSide.CLIENT:
                    message = GenerateSelfSignedClientCert(provider=self.provider)
                    await lab.ask(self.vcenter, message)
                else:
                    for server in self.servers:
                        await lab.ask(server, RenewServerCertificate())
            await self._accept(lab, notes)
        except ProductError as error:
            raise ChaosError("KS-CHAOS-107", f"{type(error).__name__}: {error}") from error

    async def _accept(self, lab: LabUnderTest, notes: Notes) -> None:
        """The other end takes what is shown now, vCenter in the role and scope that it had."""
        if self.side is CertificateSide.CLIENT:
            client = await self._client(lab)
            for server in self.servers:
                await lab.ask(server, TrustIdentity(certificate=client, like=notes["digest"]))
            return
        for one in await self._fetch_affected_servers(lab):
            shown = (await lab.ask(one.node, QueryIdentities())).certificate
            upload = UploadKmipServerCert(provider=self.provider, certificate=shown)
            await lab.ask(self.vcenter, upload)

    # ---- looking -----------------------------------------------------------------------------

    async def _fetch_servers(self, lab: LabUnderTest) -> tuple[KmipServer, ...]:
        providers = await all_providers(lab, self.vcenter)
        listed = next((one for one in providers if one.provider == self.provider), None)
        if listed is None:
            raise ChaosError("KS-CHAOS-106", f"{self.vcenter} has no provider {self.provider}")
        return listed.servers

    async def _fetch_affected_servers(self, lab: LabUnderTest) -> list[KmipServer]:
        return [one for one in await self._fetch_servers(lab) if one.node in self.servers]

    async def _fetch_server_cert(self, lab: LabUnderTest, server: KmipServer) -> ServerCert:
        asked = RetrieveKmipServerCert(provider=self.provider, server=server.name)
        return await lab.ask(self.vcenter, asked)

    async def _client(self, lab: LabUnderTest) -> bytes:
        """What vCenter shows the servers (DER)."""
        found = await lab.ask(self.vcenter, RetrieveClientCert(provider=self.provider))
        if found.certificate is None:
            raise ChaosError("KS-CHAOS-106", f"{self.vcenter} shows nothing for {self.provider}")
        return found.certificate.certificate

    async def _key_lost(self, lab: LabUnderTest) -> bool:
        return (await lab.ask(self.vcenter, RetrieveClientCert(provider=self.provider))).key_lost


async def _fetch_accepted_clients(lab: LabUnderTest, server: NodeName) -> set[str]:
    """Digests of the clients that the server does not refuse."""
    return {
        one.digest for one in (await lab.ask(server, QueryIdentities())).clients if not one.revoked
    }
