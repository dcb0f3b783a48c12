"""The clients of KMIP in memory, the console messages about them, and the self-signed certificate
that a lab's key server shows them. Each change of the clients is durable before it takes effect.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol import names
from protocol.crypto import certificates
from protocol.crypto.certificates import common_name, key_digest, validity
from protocol.errors import (
    InvalidArgument,
    InvalidField,
    InvalidState,
    NotAvailable,
    NotFound,
    SaveFailed,
)
from protocol.messages.kms.administration import (
    KmipIdentities,
    KmipIdentity,
    QueryIdentities,
    RenewServerCertificate,
    RevokeIdentity,
    ScopeIdentity,
    TrustIdentity,
)
from protocol.secret import KeyMaterial
from services.kms.access import authorization
from services.kms.access.authorization import Identity, KeyServerCaller, caller_at
from services.kms.commit.unit_of_work import Work
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.sealing.vault import Vault
from services.kms.settings.config import DEFAULT_SCOPE, KmsConfig, KmsRole
from services.kms.settings.knobs import KmsNode
from services.runtime import node_certificates
from services.runtime.node_certificates import OwnCertificate
from services.runtime.ports import Clock, Database, Disk, Rng
from services.runtime.service import Peer, Service, ServiceNode, serves

CERTIFICATE_FILE: Final = "kmip-identity"


class EndWatch:
    """Records, once for each certificate, that an expired one is shown (STD-07).

    It is called at each handshake and has no alarm: without clients nothing is refused.
    """

    def __init__(self, node: ServiceNode, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._certificate = b""
        self._end = 0.0
        self._reported = False

    def shows(self, certificate: bytes) -> None:
        """This certificate (DER) is shown now; ``InvalidArgument`` when it is invalid."""
        if certificate != self._certificate:
            self._end = validity(certificate)[1]
            self._certificate, self._reported = certificate, False
        if not self._reported and self._clock.now() > self._end:
            self._reported = True
            self._node.record(
                "kms.certificate_expired", level="warning", end=self._end, text=EXPIRED
            )


EXPIRED: Final = "the certificate that this key server shows has expired: clients refuse it"


async def load_certificate(
    disk: Disk, rng: Rng, clock: Clock, name: str, days: int
) -> OwnCertificate:
    """The certificate in the file; if there is none, a new one that is valid for ``days``, durable
    on return.

    ``OSError`` when the disk fails, or the file is damaged.
    """
    kept = await node_certificates.load_own_certificate(disk, CERTIFICATE_FILE)
    return kept or await renew_certificate(disk, rng, clock, name, days)


async def renew_certificate(
    disk: Disk, rng: Rng, clock: Clock, name: str, days: int, good_for_s: float | None = None
) -> OwnCertificate:
    """A new key with a new certificate, in place of the earlier ones; durable on return.

    ``InvalidArgument`` for an impossible time.
    """
    own = node_certificates.create_own_certificate(rng, clock, name, days, good_for_s=good_for_s)
    await node_certificates.store_own_certificate(disk, CERTIFICATE_FILE, own)
    return own


NAME_LIMIT: Final = 64
_SHOWN: Final = 16  # digits of a digest in the trail
_KNOWN: Final = 1024  # certificates whose digests are kept


class NotAdmitted(Exception):
    """The certificate is good, but ``caller``, who has it, was revoked, or was never admitted
    (``unknown``); the text says which."""

    def __init__(self, caller: KeyServerCaller, *, unknown: bool = False) -> None:
        why = "not registered" if unknown else "revoked"
        super().__init__(f"{caller.who} is {why} at this key server")
        self.caller, self.unknown = caller, unknown


class IdentityAdmission:
    """The identities of one server; call ``load`` first."""

    def __init__(self, core: KeyServerCore, vault: Vault) -> None:
        self._core, self._vault = core, vault
        self._by_digest: dict[str, Identity] = {}
        self._digests: dict[bytes, str] = {}

    async def load(self, database: Database) -> None:
        """Read the table; ``CryptographicFailure`` when a row was altered."""
        found = await database.query(
            lambda one: tuple(authorization.list_identities(one, self._vault))
        )
        self._by_digest = {identity.digest: identity for identity in found}

    def all(self) -> tuple[Identity, ...]:
        """All identities, in order of their digests."""
        return tuple([self._by_digest[digest] for digest in sorted(self._by_digest)])

    def certificates(self) -> tuple[bytes, ...]:
        """The certificates that TLS trusts. Revoked ones are included, so that their clients get
        the refusal in KMIP."""
        return tuple([identity.certificate for identity in self.all()])

    def caller(self, certificate: bytes) -> KeyServerCaller:
        """The caller with this certificate (DER); ``NotAdmitted`` when it is revoked.

        A certificate that is not in the table, but that TLS accepted, has no role.
        """
        digest = self._digests.get(certificate)
        if digest is None:
            if len(self._digests) >= _KNOWN:
                self._digests.clear()
            digest = self._digests[certificate] = key_digest(certificate).hex()
        identity = self._by_digest.get(digest)
        if identity is None:  # its own common name may be another identity's
            name = common_name(certificate)[:NAME_LIMIT]
            return KeyServerCaller(f"kmip/unknown {digest[:_SHOWN]} {name}", None, "")
        if identity.revoked:
            raise NotAdmitted(KeyServerCaller(f"kmip/{identity.name}", None, identity.scope))
        return KeyServerCaller(f"kmip/{identity.name}", identity.role, identity.scope)

    async def trust(
        self,
        by: KeyServerCaller,
        certificate: bytes,
        role: KmsRole | None,
        scope: str,
        *,
        like: str = "",
    ) -> Identity:
        """Give a certificate that role in that scope; a revoked one is admitted again.

        None or empty: the values that it has here, else those of the identity with the digest
        ``like``, else those of a client in the default scope.
        """
        _check_role(role)
        digest = key_digest(certificate).hex()
        known = self._by_digest.get(digest) or self._by_digest.get(like)
        role = role or (KmsRole.CLIENT if known is None else known.role)
        scope = scope or (DEFAULT_SCOPE if known is None else known.scope)
        _check_scope(scope)
        name = common_name(certificate)[:NAME_LIMIT] or digest[:_SHOWN]
        if any(one.name == name and one.digest != digest for one in self._by_digest.values()):
            name = f"{name} {digest[:_SHOWN]}"  # the digest keeps them apart in the trail
        identity = Identity(
            digest=digest,
            name=name,
            role=role,
            scope=scope,
            certificate=certificate,
        )
        return await self._put(by, CoreOperation.TRUST, identity)

    async def revoke(self, by: KeyServerCaller, digest: str) -> Identity:
        """Refuse it from now on; ``NotFound``."""
        revoked = msgspec.structs.replace(self._require_identity(digest), revoked=True)
        return await self._put(by, CoreOperation.DISTRUST, revoked)

    async def move(
        self, by: KeyServerCaller, digest: str, role: KmsRole | None, scope: str
    ) -> Identity:
        """Change its role, its scope, or both; None or empty leaves a value unchanged.
        ``NotFound``."""
        identity = self._require_identity(digest)
        _check_role(role)
        if scope:
            _check_scope(scope)
        moved = msgspec.structs.replace(
            identity, role=role or identity.role, scope=scope or identity.scope
        )
        return await self._put(by, CoreOperation.MOVE_IDENTITY, moved)

    def _require_identity(self, digest: str) -> Identity:
        identity = self._by_digest.get(digest)
        if identity is None:
            raise NotFound(f"there is no identity {digest[:64]}")
        return identity

    async def _put(
        self, by: KeyServerCaller, operation: CoreOperation, identity: Identity
    ) -> Identity:
        """Store an identity; no change and no row when it is unchanged."""
        known = self._by_digest.get(identity.digest)
        if known is not None and msgspec.structs.replace(identity, changed=known.changed) == known:
            return known
        scoped = msgspec.structs.replace(by, scope=identity.scope)

        def act(work: Work, number: int) -> Identity:
            made = msgspec.structs.replace(identity, changed=number)
            authorization.put_identity(work.connection, work.vault, made)
            return made

        made = await self._core.administer(scoped, operation, identity.digest, act)
        self._by_digest[identity.digest] = made
        return made


def _check_scope(scope: str) -> None:
    """A scope appears in console output and in the trail, so its characters are checked."""
    if fault := names.SCOPE.fault(scope):
        raise InvalidField(fault)


def _check_role(role: KmsRole | None) -> None:
    if role is KmsRole.PEER:
        raise InvalidField("the other server of a pair does not come through this endpoint")


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
            self.own = await renew_certificate(
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
