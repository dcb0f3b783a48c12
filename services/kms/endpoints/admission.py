"""The clients of KMIP in memory. Each change of them is durable before it takes effect."""

from __future__ import annotations

from typing import Final

import msgspec

from protocol import names
from protocol.crypto.certificates import common_name, key_digest
from protocol.errors import InvalidField, NotFound
from services.kms.access import identities
from services.kms.access.authorization import KeyServerCaller
from services.kms.access.identities import Identity
from services.kms.commit.unit_of_work import Work
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.sealing.vault import Vault
from services.kms.settings.config import DEFAULT_SCOPE, KmsRole
from services.runtime.ports import Database

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
            lambda one: tuple(identities.list_identities(one, self._vault))
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
            identities.put(work.connection, work.vault, made)
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
