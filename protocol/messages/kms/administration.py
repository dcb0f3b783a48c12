"""Messages of an administrator at a key server's own console: what seals its keys (root and KEKs),
the clients that may use KMIP (STD-04), and requests that the server rejects.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import KeyId, ResultReason, RootKind


class QueryCustody(Request["KeyCustody"], frozen=True, kw_only=True):
    """What seals the server's keys now; an operator's question."""


class KeyCustody(Reply, frozen=True, kw_only=True):
    """``root`` seals the key ring since ``since``; ``kek`` is the number of the current KEK, which
    was made at ``made_at``. Times are Unix seconds of the server's clock.

    ``keks``: how many the ring has, more than one while a rotation goes on; ``waiting`` keys are
    under another one than the current.
    """

    root: RootKind
    since: float
    kek: int
    made_at: float
    keks: int = 1
    waiting: int = 0


class RotateKek(Request["KeyCustody"], frozen=True, kw_only=True):
    """Have a KEK above number ``after`` be the current one; it is durable when this is answered,
    and keys come under it from then on, the old ones one after another.

    ``InvalidState`` when too many earlier rotations have keys to re-wrap.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    after: int


class OpenRootTransfer(Request["RootTransferOpened"], frozen=True, kw_only=True):
    """A key to which a passphrase is sealed, for one ``ChangeRoot`` of this life."""


class RootTransferOpened(Reply, frozen=True, kw_only=True):
    """``public_key``: 32 bytes of X25519, see ``protocol.crypto.transfer``."""

    public_key: bytes


class ChangeRoot(Request["KeyCustody"], frozen=True, kw_only=True):
    """Have the key ring sealed by another root; rows are not touched. At the console only.

    ``passphrase``: sealed to the key of the last ``OpenRootTransfer``, for the purpose
    ``passphrase``; empty for another kind of root. ``InvalidState`` when the root cannot be made,
    or is that one.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    root: RootKind
    passphrase: bytes = b""


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


REJECTABLE: Final = (
    "Discover Versions",
    "Query",
    "Create",
    "Register",
    "Get",
    "Get Attributes",
    "Get Attribute List",
    "Add Attribute",
    "Modify Attribute",
    "Delete Attribute",
    "Activate",
    "Revoke",
    "Destroy",
    "Locate",
    "Encrypt",
    "Decrypt",
    "Re-key",
    "Check",
    "Obtain Lease",
    "Get Usage Allocation",
)
"""Operations that a server can be told to reject: all that it serves clients."""

OF_MATERIAL: Final = ("Create", "Register", "Re-key", "Get", "Encrypt", "Decrypt")
"""Those of them that need the material of a key, and so whatever wraps it."""

REJECTION_REASONS: Final = (
    ResultReason.GENERAL_FAILURE,
    ResultReason.AUTHENTICATION_NOT_SUCCESSFUL,
    ResultReason.PERMISSION_DENIED,
    ResultReason.ITEM_NOT_FOUND,
    ResultReason.CRYPTOGRAPHIC_FAILURE,
    ResultReason.OPERATION_NOT_SUPPORTED,
)
"""Reasons that it can be told to reject with."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """One rejection, by its ``name``.

    Of ``operations`` (KMIP's names), of ``keys`` when there are some, that share of what is asked
    (``probability``, 1: all) is answered with ``reason``, a Result Reason by KMIP's name.
    ``times``: how many items it has struck in this life of the server.
    """

    name: str
    reason: str
    operations: tuple[str, ...]
    keys: tuple[KeyId, ...] = ()
    probability: float = 1.0
    times: int = 0


class RejectRequests(Request["Rejections"], frozen=True, kw_only=True):
    """Reject from now on, over starts of the server, until it is ended; fields as in ``Rejected``.

    One of the same name takes the place of the earlier one. The console and the servers that
    replicate with this one are not judged. ``InvalidArgument``: no such reason or operation, no
    probability, too many.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    name: str
    reason: str
    operations: tuple[str, ...]
    keys: tuple[KeyId, ...] = ()
    probability: float = 1.0


class EndRejection(Request["Rejections"], frozen=True, kw_only=True):
    """Reject it no more; no change when there is none of that name."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    name: str


class QueryRejections(Request["Rejections"], frozen=True, kw_only=True):
    """What is rejected."""


class Rejections(Reply, frozen=True, kw_only=True):
    """In order of their names."""

    items: tuple[Rejected, ...] = ()
