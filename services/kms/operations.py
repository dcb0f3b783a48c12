"""What a key server is asked and what it answers, through whichever door; named as in KMIP 1.4.

A request of a batch that names no object means KMIP's ID Placeholder: the object that the last
Create of the batch has made. Get and Get Attributes name many objects here; a TTLV batch item
names one. Dates are Unix seconds of the server's clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Generic, TypeVar

import msgspec

from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, RevocationReason

R = TypeVar("R", bound="Response", covariant=True)


class Operation(StrEnum):
    """KMIP's operations by KMIP's names (KMIP 1.4 section 9.1.3.2.27); the last four are ours."""

    DISCOVER_VERSIONS = "Discover Versions"
    CREATE = "Create"
    GET = "Get"
    GET_ATTRIBUTES = "Get Attributes"
    ACTIVATE = "Activate"
    REVOKE = "Revoke"
    DESTROY = "Destroy"
    LOCATE = "Locate"
    QUERY_AUDIT = "Query Audit"
    REPLICATE = "Replicate"
    ACCEPT_ROLLBACK = "Accept Rollback"
    RESTORE = "Restore"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The response payload of one operation."""


class Request(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """The request payload of one operation; ``R`` is the response to it."""

    operation: ClassVar[Operation]

    @property
    def names_an_object(self) -> bool:
        """Whether it is about one object that it names, so that the object's scope counts."""
        return False

    @property
    def needs_placeholder(self) -> bool:
        """Whether it means the object that a Create before it in the batch has made."""
        return False


class ObjectRequest(Request[R], Generic[R], frozen=True, kw_only=True):
    """A request about one managed object; ``unique_identifier`` None is the ID Placeholder."""

    unique_identifier: KeyId | None = None

    @property
    def names_an_object(self) -> bool:
        """See ``Request``."""
        return self.unique_identifier is not None

    @property
    def needs_placeholder(self) -> bool:
        """See ``Request``."""
        return self.unique_identifier is None


# ---- Create (KMIP 1.4 section 4.1) -------------------------------------------------------------


class Created(Response, frozen=True, kw_only=True):
    """The object, and its state: that of now when the request was a repeat."""

    unique_identifier: KeyId
    state: KmipState


class Create(Request[Created], frozen=True, kw_only=True):
    """Make a symmetric key of ``length`` bits.

    ``operation_id`` is ours: a second Create with it, in the same scope, makes nothing.
    """

    operation: ClassVar[Operation] = Operation.CREATE
    operation_id: str
    algorithm: str = "AES"
    length: int = 256
    usage_mask: int = 12  # Encrypt + Decrypt


# ---- Get and Get Attributes (KMIP 1.4 sections 4.11, 4.12) -------------------------------------


class GotKey(msgspec.Struct, frozen=True, kw_only=True):
    """One object of ``Got``.

    ``state`` None: there is none that the caller sees. ``material`` None: there is none, or it is
    destroyed. A TTLV door tells both as Item Not Found.
    """

    unique_identifier: KeyId
    state: KmipState | None = None
    material: KeyMaterial | None = None


class Got(Response, frozen=True, kw_only=True):
    """An entry for each object asked for, in that order."""

    keys: tuple[GotKey, ...]


class Get(Request[Got], frozen=True, kw_only=True):
    """Material of keys, in every state that still has some; None is the ID Placeholder."""

    operation: ClassVar[Operation] = Operation.GET
    unique_identifiers: tuple[KeyId, ...] | None = None

    @property
    def needs_placeholder(self) -> bool:
        """See ``Request``."""
        return self.unique_identifiers is None


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of one symmetric key (KMIP 1.4 section 3)."""

    unique_identifier: KeyId
    state: KmipState
    algorithm: str
    length: int
    usage_mask: int
    initial_date: float
    activation_date: float | None
    deactivation_date: float | None
    compromise_date: float | None
    destroy_date: float | None
    last_change_date: float


class AttributeList(Response, frozen=True, kw_only=True):
    """Attributes of the objects that the caller sees; others are left out."""

    objects: tuple[Attributes, ...]


class GetAttributes(Request[AttributeList], frozen=True, kw_only=True):
    """All attributes of each object."""

    operation: ClassVar[Operation] = Operation.GET_ATTRIBUTES
    unique_identifiers: tuple[KeyId, ...]


# ---- Activate, Revoke, Destroy (KMIP 1.4 sections 4.19 to 4.21) --------------------------------


class StateChanged(Response, frozen=True, kw_only=True):
    """The object is in this state, durably; it may have been before."""

    unique_identifier: KeyId
    state: KmipState


class Activate(ObjectRequest[StateChanged], frozen=True, kw_only=True):
    """Pre-Active to Active."""

    operation: ClassVar[Operation] = Operation.ACTIVATE


class Revoke(ObjectRequest[StateChanged], frozen=True, kw_only=True):
    """To Compromised for a compromise, else from Active to Deactivated."""

    operation: ClassVar[Operation] = Operation.REVOKE
    reason: RevocationReason = RevocationReason.UNSPECIFIED


class Destroy(ObjectRequest[StateChanged], frozen=True, kw_only=True):
    """Wipe the material and keep the tombstone; not from Active."""

    operation: ClassVar[Operation] = Operation.DESTROY


# ---- Locate, Discover Versions (KMIP 1.4 sections 4.9, 4.26), and our own ----------------------


class Located(Response, frozen=True, kw_only=True):
    """Objects in order of creation; ``total`` is how many match in all."""

    unique_identifiers: tuple[KeyId, ...]
    total: int


class Locate(Request[Located], frozen=True, kw_only=True):
    """Objects in ``state`` (None: any) created after the object ``after`` (empty: from the first).

    ``maximum_items`` is 1 to 1,000.
    """

    operation: ClassVar[Operation] = Operation.LOCATE
    state: KmipState | None = None
    after: KeyId = KeyId("")
    maximum_items: int = 1000


class Versions(Response, frozen=True, kw_only=True):
    """Protocol versions, the newest first."""

    versions: tuple[str, ...]


class DiscoverVersions(Request[Versions], frozen=True, kw_only=True):
    """Which versions of KMIP are spoken here; does not touch the store."""

    operation: ClassVar[Operation] = Operation.DISCOVER_VERSIONS


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the trail: who did what to which key and how it ended; chained by ``digest``.

    ``times``: how many refusals of this kind the row stands for.
    """

    sequence: int
    at: float
    who: str
    operation: str
    key_id: str
    result: str
    times: int
    digest: str


class AuditRecords(Response, frozen=True, kw_only=True):
    """Rows in order of their numbers."""

    records: tuple[AuditRecord, ...]


class QueryAudit(Request[AuditRecords], frozen=True, kw_only=True):
    """Rows with a number above ``after``; ``maximum_items`` is 1 to 1,000."""

    operation: ClassVar[Operation] = Operation.QUERY_AUDIT
    after: int = 0
    maximum_items: int = 1000
