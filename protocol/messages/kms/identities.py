"""Who may come through a key server's KMIP endpoint, said at its own console (STD-04)."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request


class KmipIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A client, by its key: ``digest`` is the SHA-256 of its public key, in hex.

    ``certificate`` (DER) is the latest one that was given for it; ``end``: until when that is good
    (Unix seconds). Who is ``revoked`` is answered with a refusal.
    """

    digest: str
    name: str
    role: str
    scope: str
    revoked: bool
    certificate: bytes
    end: float


class TrustIdentity(Request["KmipIdentities"], frozen=True, kw_only=True):
    """Take clients with the key of this certificate (DER) from now on, in a role and a scope.

    What is empty stays as this server has it of that client, else of the one with the digest
    ``like``, which may be refused by now; of nobody who is known: a client in scope ``default``.
    ``InvalidArgument`` for what is no certificate, no role or no scope; ``NotAvailable`` when the
    server has no KMIP endpoint.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    certificate: bytes
    role: str = ""
    scope: str = ""
    like: str = ""


class RevokeIdentity(Request["KmipIdentities"], frozen=True, kw_only=True):
    """Refuse that client from now on. ``NotFound``: there is none with that digest."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    digest: str


class ScopeIdentity(Request["KmipIdentities"], frozen=True, kw_only=True):
    """Have that client share the keys of another scope, in another role; what is empty stays.

    In force from its next message on, also over a connection that is open. Keys stay where they
    are, for they belong to scopes. Who is revoked stays so. ``NotFound``: there is none with that
    digest; ``InvalidArgument`` for what is no role.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    digest: str
    scope: str = ""
    role: str = ""


class RenewServerCertificate(Request["KmipIdentities"], frozen=True, kw_only=True):
    """Show another certificate, on another key, from now on: clients refuse the server until they
    trust it (SC-06). It is good for ``good_for_s`` seconds; None: for as long as they usually
    are."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    good_for_s: float | None = None


class QueryIdentities(Request["KmipIdentities"], frozen=True, kw_only=True):
    """Who may come, and what the server shows."""


class KmipIdentities(Reply, frozen=True, kw_only=True):
    """``certificate`` (DER) is what the server shows; ``clients`` in order of their digests."""

    certificate: bytes
    clients: tuple[KmipIdentity, ...] = ()
