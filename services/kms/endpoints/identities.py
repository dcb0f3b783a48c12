"""Console messages about the clients of KMIP and the certificate that they see."""

from __future__ import annotations

from protocol.crypto import certificates
from protocol.errors import (
    InvalidArgument,
    InvalidState,
    NotAvailable,
    SaveFailed,
)
from protocol.messages.kms import (
    KmipIdentities,
    KmipIdentity,
    QueryIdentities,
    RenewServerCertificate,
    RevokeIdentity,
    ScopeIdentity,
    TrustIdentity,
)
from protocol.secret import KeyMaterial
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.access.identities import Identity
from services.kms.endpoints import server_certificate
from services.kms.endpoints.admission import IdentityAdmission
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.settings.config import KmsConfig, KmsRole
from services.kms.settings.knobs import KmsNode
from services.runtime.own_certificate import OwnCertificate
from services.runtime.service import Peer, Service, serves


def _identities(message: object) -> str:
    return "identities"


class IdentityEndpoint(Service):
    """Handlers for identities. ``admission`` None: the server has no KMIP endpoint."""

    node: KmsNode
    config: KmsConfig
    core: KeyServerCore
    admission: IdentityAdmission | None = None
    own: OwnCertificate | None = None

    def require_own_certificate(self) -> tuple[tuple[bytes, ...], KeyMaterial]:
        """The certificate that clients see now; ``InvalidState`` without a KMIP endpoint."""
        if self.own is None:
            raise InvalidState(f"{self.node.name} has no certificate")
        return (self.own.certificate,), self.own.key

    @serves(TrustIdentity, turn=_identities)
    async def trust_identity(self, message: TrustIdentity, peer: Peer) -> KmipIdentities:
        """See the message."""
        admission, caller = await self._at_console(peer, CoreOperation.TRUST)
        role = _role(message.role) if message.role else None
        certificate, scope = message.certificate, message.scope
        found = await admission.trust(caller, certificate, role, scope, like=message.like)
        self.node.record(
            "kms.identity_trusted", who=found.name, digest=found.digest, role=found.role.value
        )
        return self._all(admission)

    @serves(RevokeIdentity, turn=_identities)
    async def revoke_identity(self, message: RevokeIdentity, peer: Peer) -> KmipIdentities:
        """See the message."""
        admission, caller = await self._at_console(peer, CoreOperation.DISTRUST)
        found = await admission.revoke(caller, message.digest)
        self.node.record(
            "kms.identity_revoked", level="warning", who=found.name, digest=found.digest
        )
        return self._all(admission)

    @serves(ScopeIdentity, turn=_identities)
    async def scope_identity(self, message: ScopeIdentity, peer: Peer) -> KmipIdentities:
        """See the message."""
        admission, caller = await self._at_console(peer, CoreOperation.MOVE_IDENTITY)
        role = _role(message.role) if message.role else None
        found = await admission.move(caller, message.digest, role, message.scope)
        self.node.record(
            "kms.identity_moved",
            level="warning",
            who=found.name,
            digest=found.digest,
            role=found.role.value,
            scope=found.scope,
        )
        return self._all(admission)

    @serves(RenewServerCertificate, turn=lambda _: "certificate")
    async def renew_server_certificate(
        self, message: RenewServerCertificate, peer: Peer
    ) -> KmipIdentities:
        """See the message; open connections continue."""
        admission, _ = await self._at_console(peer, CoreOperation.TRUST)
        days, good_for_s = self.node.knobs.kmip_certificate_days, message.good_for_s
        try:
            self.own = await server_certificate.renew(
                self.disk, self.rng, self.clock, self.node.name, days, good_for_s
            )
        except OSError as error:
            raise SaveFailed(f"the certificate: {error.strerror or error}") from error
        self.node.record("kms.certificate_renewed", level="warning")
        return self._all(admission)

    @serves(QueryIdentities)
    async def query_identities(self, message: QueryIdentities, peer: Peer) -> KmipIdentities:
        """See the message."""
        admission, _ = await self._at_console(peer, CoreOperation.TRUST)
        return self._all(admission)

    async def _at_console(
        self, peer: Peer, operation: CoreOperation
    ) -> tuple[IdentityAdmission, KeyServerCaller]:
        """The caller; a refusal is recorded in the trail as one of ``operation``."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, operation)
        if self.admission is None:
            raise NotAvailable(f"{self.node.name} has no KMIP endpoint")
        return self.admission, caller

    def _all(self, admission: IdentityAdmission) -> KmipIdentities:
        (certificate, *_), _ = self.require_own_certificate()
        return KmipIdentities(
            certificate=certificate, clients=tuple(map(_describe_identity, admission.all()))
        )


def _role(name: str) -> KmsRole:
    try:
        return KmsRole(name)
    except ValueError:
        roles = ", ".join(sorted(one.value for one in KmsRole if one is not KmsRole.PEER))
        raise InvalidArgument(f"role: one of {roles}") from None


def _describe_identity(identity: Identity) -> KmipIdentity:
    return KmipIdentity(
        digest=identity.digest,
        name=identity.name,
        role=identity.role.value,
        scope=identity.scope,
        revoked=identity.revoked,
        certificate=identity.certificate,
        end=certificates.validity(identity.certificate)[1],
    )
