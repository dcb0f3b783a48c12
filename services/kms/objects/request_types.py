"""Requests to a key server and its responses, for every endpoint; named as in KMIP 1.4.

A request of a batch that names no object means KMIP's ID Placeholder: the object that the last
Create or Register of the batch has made, or that its last Locate has found. Get and Get Attributes
name many objects here; a TTLV batch item names one. Dates are Unix seconds of the server's clock.
Each request is executed in ``services.kms.operations``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Generic, TypeVar

import msgspec

from protocol.attributes import RAW, Attribute, CryptographicParametersValue, ObjectDigest
from protocol.errors import ProductError
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, RevocationReason

R = TypeVar("R", bound="Response", covariant=True)


class CoreOperation(StrEnum):
    """KMIP's operations by KMIP's names (KMIP 1.4 section 9.1.3.2.27); those from Serve on are
    keystead's own."""

    DISCOVER_VERSIONS = "Discover Versions"
    QUERY = "Query"
    CREATE = "Create"
    REGISTER = "Register"
    GET = "Get"
    GET_ATTRIBUTES = "Get Attributes"
    GET_ATTRIBUTE_LIST = "Get Attribute List"
    ADD_ATTRIBUTE = "Add Attribute"
    MODIFY_ATTRIBUTE = "Modify Attribute"
    DELETE_ATTRIBUTE = "Delete Attribute"
    ACTIVATE = "Activate"
    REVOKE = "Revoke"
    DESTROY = "Destroy"
    LOCATE = "Locate"
    ENCRYPT = "Encrypt"
    DECRYPT = "Decrypt"
    RE_KEY = "Re-key"
    CHECK = "Check"
    OBTAIN_LEASE = "Obtain Lease"
    GET_USAGE_ALLOCATION = "Get Usage Allocation"
    SERVE = "Serve"
    QUERY_AUDIT = "Query Audit"
    REPLICATE = "Replicate"
    ACCEPT_ROLLBACK = "Accept Rollback"
    RESTORE = "Restore"
    TRUST = "Trust"
    DISTRUST = "Distrust"
    ADMIT = "Admit"
    MOVE_IDENTITY = "Move Identity"
    REJECT = "Reject"
    END_REJECTION = "End Rejection"
    CUT_TRAIL = "Cut Trail"
    UNREAD = "Unread"
    ROTATE_KEK = "Rotate KEK"
    RETIRE_KEK = "Retire KEK"
    CHANGE_ROOT = "Change Root"
    DATE_REACHED = "Date Reached"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The response payload of one operation."""


class CoreRequest(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """The request payload of one operation; ``R`` is the response to it."""

    operation: ClassVar[CoreOperation]

    @property
    def names_an_object(self) -> bool:
        """Whether it names a single object, so that the object's scope counts."""
        return False

    @property
    def needs_placeholder(self) -> bool:
        """Whether it means the object that an earlier request of the batch has made or found."""
        return False


class ObjectRequest(CoreRequest[R], Generic[R], frozen=True, kw_only=True):
    """A request about one managed object; ``unique_identifier`` None is the ID Placeholder."""

    unique_identifier: KeyId | None = None

    @property
    def names_an_object(self) -> bool:
        """See ``CoreRequest``."""
        return self.unique_identifier is not None

    @property
    def needs_placeholder(self) -> bool:
        """See ``CoreRequest``."""
        return self.unique_identifier is None


# ---- Create, Register (KMIP 1.4 sections 4.1, 4.3) ---------------------------------------------


class Created(Response, frozen=True, kw_only=True):
    """The object, and its state: the present one when the request was a repeat."""

    unique_identifier: KeyId
    state: KmipState


class NewKey(CoreRequest[Created], frozen=True, kw_only=True):
    """A symmetric key of ``length`` bits, with these ``attributes`` (their indices are ignored).

    ``operation_id`` is not part of KMIP: a second request with it, in the same scope, makes
    nothing. Empty: each request makes a key.
    """

    operation_id: str = ""
    algorithm: str = "AES"
    length: int = 256
    usage_mask: int = 12  # Encrypt + Decrypt
    attributes: tuple[Attribute, ...] = ()


class Create(NewKey, frozen=True, kw_only=True):
    """Create a key, drawing its bytes here."""

    operation: ClassVar[CoreOperation] = CoreOperation.CREATE


class Register(NewKey, frozen=True, kw_only=True):
    """Register these bytes as a key (KMIP 1.4 section 4.3).

    ``digest``: of the registered format, when that differs from the bytes.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.REGISTER
    material: KeyMaterial
    digest: ObjectDigest | None = None


# ---- Get and Get Attributes (KMIP 1.4 sections 4.11, 4.12) -------------------------------------


class KeyWrapping(msgspec.Struct, frozen=True, kw_only=True):
    """How keys are to be wrapped: under the key ``key_id``, with these attributes (of ``names``)
    beside the material. ``parameters`` None: those of that key. ``alone``: the bytes alone, not a
    key block. ``format`` None: the registered format of each."""

    key_id: KeyId
    parameters: CryptographicParametersValue | None = None
    names: tuple[str, ...] = ()
    alone: bool = False
    format: str | None = None


class GotKey(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One object of ``Got``.

    ``state`` None: there is none that the caller sees. ``material`` None: there is none, or it is
    destroyed. ``format``: the registered format, or raw. The endpoint must wrap the material with
    these ``attributes`` under ``wrapping_key`` before it sends the key.
    """

    unique_identifier: KeyId
    state: KmipState | None = None
    material: KeyMaterial | None = None
    algorithm: str = ""
    length: int = 0
    format: str = RAW
    wrapping_key: KeyMaterial | None = None
    attributes: tuple[Attribute, ...] = ()


class Got(Response, frozen=True, kw_only=True):
    """An entry for each requested object, in that order."""

    keys: tuple[GotKey, ...]


class Get(CoreRequest[Got], frozen=True, kw_only=True):
    """Material of keys, in every state that has some; None is the ID Placeholder.

    ``required``: a key without material is Item Not Found, as in KMIP.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.GET
    unique_identifiers: tuple[KeyId, ...] | None = None
    required: bool = False
    wrapping: KeyWrapping | None = None

    @property
    def needs_placeholder(self) -> bool:
        """See ``CoreRequest``."""
        return self.unique_identifiers is None


class ObjectAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of one symmetric key (KMIP 1.4 section 3).

    ``attributes``: each that was requested by name, including those that are also fields here.
    """

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
    attributes: tuple[Attribute, ...] = ()


class ObjectAttributeList(Response, frozen=True, kw_only=True):
    """Attributes of the objects that the caller sees; others are left out."""

    objects: tuple[ObjectAttributes, ...]


class GetObjectAttributes(CoreRequest[ObjectAttributeList], frozen=True, kw_only=True):
    """Attributes of each object; None is the ID Placeholder.

    ``names``: the attributes wanted in ``ObjectAttributes.attributes``; empty for all, None for
    none. Unknown names, and names that the object does not have, are left out. ``required``: a
    missing object is Item Not Found, as in KMIP.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.GET_ATTRIBUTES
    unique_identifiers: tuple[KeyId, ...] | None = None
    names: tuple[str, ...] | None = None
    required: bool = False

    @property
    def needs_placeholder(self) -> bool:
        """See ``CoreRequest``."""
        return self.unique_identifiers is None


# ---- Activate, Revoke, Destroy (KMIP 1.4 sections 4.19 to 4.21) --------------------------------


class StateChanged(Response, frozen=True, kw_only=True):
    """The object is in this state, durably; it may have been before."""

    unique_identifier: KeyId
    state: KmipState


class Transitioning(ObjectRequest[StateChanged], frozen=True, kw_only=True):
    """A change of state. ``repeat`` is not part of KMIP: the request may have been sent before, so
    a state that is reached already is no error."""

    repeat: bool = False


class ActivateObject(Transitioning, frozen=True, kw_only=True):
    """Pre-Active to Active."""

    operation: ClassVar[CoreOperation] = CoreOperation.ACTIVATE


class RevokeObject(Transitioning, frozen=True, kw_only=True):
    """To Compromised for a compromise, else from Active to Deactivated.

    ``message`` and ``occurred``, the time of the compromise, are stored as attributes.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.REVOKE
    reason: RevocationReason = RevocationReason.UNSPECIFIED
    message: str = ""
    occurred: float | None = None


class DestroyObject(Transitioning, frozen=True, kw_only=True):
    """Wipe the material and keep the tombstone; not from Active."""

    operation: ClassVar[CoreOperation] = CoreOperation.DESTROY


# ---- Locate, Query, Discover Versions (KMIP 1.4 sections 4.9, 4.25, 4.26), and our own ---------


class LocatedObjects(Response, frozen=True, kw_only=True):
    """Objects in the requested order; ``total`` is how many match in all."""

    unique_identifiers: tuple[KeyId, ...]
    total: int


class LocateObjects(CoreRequest[LocatedObjects], frozen=True, kw_only=True):
    """Objects with all these ``attributes`` (see ``search``), created after the object ``after``
    (empty: from the first), without the first ``offset_items`` of them, in order of creation, or
    the newest first. ``maximum_items`` is 1 to 10,000. ``destroyed``: destroyed objects too.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.LOCATE
    attributes: tuple[Attribute, ...] = ()
    destroyed: bool = True
    after: KeyId = KeyId("")
    offset_items: int = 0
    maximum_items: int = 1000
    newest_first: bool = False


class Versions(Response, frozen=True, kw_only=True):
    """Protocol versions, the newest first."""

    versions: tuple[str, ...]


class DiscoverServerVersions(CoreRequest[Versions], frozen=True, kw_only=True):
    """The versions of KMIP that are implemented here; does not use the store."""

    operation: ClassVar[CoreOperation] = CoreOperation.DISCOVER_VERSIONS


class Queried(Response, frozen=True, kw_only=True):
    """The caller may query the server's capabilities, which the endpoint knows."""


class Query(CoreRequest[Queried], frozen=True, kw_only=True):
    """The server's capabilities; does not use the store."""

    operation: ClassVar[CoreOperation] = CoreOperation.QUERY


class UnreadRequest(CoreRequest[Response], frozen=True, kw_only=True):
    """An item of a batch that its endpoint could not convert: it is refused with ``error`` when its
    turn comes, as any other would be."""

    operation: ClassVar[CoreOperation] = CoreOperation.UNREAD
    error: ProductError


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the trail: who did what to which key, and the result; chained by ``digest``.

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


class QueryAuditTrail(CoreRequest[AuditRecords], frozen=True, kw_only=True):
    """Rows with a number above ``after``; ``maximum_items`` is 1 to 1,000."""

    operation: ClassVar[CoreOperation] = CoreOperation.QUERY_AUDIT
    after: int = 0
    maximum_items: int = 1000


# ---- Attributes of one object (KMIP 1.4 sections 4.13 to 4.16) -----------------------------------


class ObjectAttributeNames(Response, frozen=True, kw_only=True):
    """The names of the object's attributes, each once."""

    unique_identifier: KeyId
    names: tuple[str, ...]


class ListObjectAttributes(ObjectRequest[ObjectAttributeNames], frozen=True, kw_only=True):
    """Which attributes there are (KMIP 1.4 section 4.13)."""

    operation: ClassVar[CoreOperation] = CoreOperation.GET_ATTRIBUTE_LIST


class ObjectAttributeChanged(Response, frozen=True, kw_only=True):
    """The attribute after the change; a deleted one as it was before."""

    unique_identifier: KeyId
    attribute: Attribute


class AddObjectAttribute(ObjectRequest[ObjectAttributeChanged], frozen=True, kw_only=True):
    """A new instance (KMIP 1.4 section 4.14). The server chooses its index; ``indexed``: the client
    sent one nevertheless. ``repeat`` is not part of KMIP: the request may have been sent before, so
    a value that exists already is no error."""

    operation: ClassVar[CoreOperation] = CoreOperation.ADD_ATTRIBUTE
    attribute: Attribute
    indexed: bool = False
    repeat: bool = False


class ModifyObjectAttribute(ObjectRequest[ObjectAttributeChanged], frozen=True, kw_only=True):
    """Another value in an existing instance (KMIP 1.4 section 4.15)."""

    operation: ClassVar[CoreOperation] = CoreOperation.MODIFY_ATTRIBUTE
    attribute: Attribute


class DeleteObjectAttribute(ObjectRequest[ObjectAttributeChanged], frozen=True, kw_only=True):
    """Delete one instance (KMIP 1.4 section 4.16)."""

    operation: ClassVar[CoreOperation] = CoreOperation.DELETE_ATTRIBUTE
    name: str
    index: int = 0


# ---- Encrypt and Decrypt (KMIP 1.4 sections 4.29, 4.30) ------------------------------------------
# Data travels as ``KeyMaterial``, because it may be a key: no log and no exception shows it.


class EncryptedData(Response, frozen=True, kw_only=True):
    """Ciphertext and tag, empty in a mode without one; ``iv`` if the server has drawn it."""

    unique_identifier: KeyId
    data: bytes
    iv: bytes | None
    tag: bytes


class EncryptData(ObjectRequest[EncryptedData], frozen=True, kw_only=True):
    """Encrypt in a mode of AES (KMIP 1.4 section 4.29).

    ``parameters`` None: those that are an attribute of the key. ``iv`` None is valid with Random
    IV, when the core draws it (``drawn``), and in a mode without an IV.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.ENCRYPT
    parameters: CryptographicParametersValue | None = None
    data: KeyMaterial
    iv: bytes | None = None
    additional_data: bytes = b""
    drawn: bytes = b""


class DecryptedData(Response, frozen=True, kw_only=True):
    """The decrypted data."""

    unique_identifier: KeyId
    data: KeyMaterial


class DecryptData(ObjectRequest[DecryptedData], frozen=True, kw_only=True):
    """Decrypt (KMIP 1.4 section 4.30); an empty ``iv`` or ``tag`` means none."""

    operation: ClassVar[CoreOperation] = CoreOperation.DECRYPT
    parameters: CryptographicParametersValue | None = None
    data: bytes
    iv: bytes
    additional_data: bytes = b""
    tag: bytes


# ---- Leases, usage limits, and Re-key (KMIP 1.4 sections 4.4, 4.12, 4.17, 4.18) ------------------


class Lent(Response, frozen=True, kw_only=True):
    """For how many seconds the key is leased from now on, and when it last changed."""

    unique_identifier: KeyId
    lease_time: int
    last_change_date: float


class ObtainLease(ObjectRequest[Lent], frozen=True, kw_only=True):
    """Renew the lease of the key (KMIP 1.4 section 4.17)."""

    operation: ClassVar[CoreOperation] = CoreOperation.OBTAIN_LEASE


class Checked(Response, frozen=True, kw_only=True):
    """The key that may be used so; otherwise the values that do not allow it, with the allowed
    ones."""

    unique_identifier: KeyId | None = None
    usage_limits_count: int | None = None
    usage_mask: int | None = None
    lease_time: int | None = None


class CheckUsage(ObjectRequest[Checked], frozen=True, kw_only=True):
    """Check whether the key may be used so (KMIP 1.4 section 4.10); None is not checked. If it may
    not, later items of the batch have no ID Placeholder, so a Get returns nothing."""

    operation: ClassVar[CoreOperation] = CoreOperation.CHECK
    usage_limits_count: int | None = None
    usage_mask: int | None = None
    lease_time: int | None = None


class Allocated(Response, frozen=True, kw_only=True):
    """This much of the key's Usage Limits is allocated to the caller."""

    unique_identifier: KeyId


class GetUsageAllocation(ObjectRequest[Allocated], frozen=True, kw_only=True):
    """Allocate ``count`` of the key's Usage Limits, in their unit (KMIP 1.4 section 4.18)."""

    operation: ClassVar[CoreOperation] = CoreOperation.GET_USAGE_ALLOCATION
    count: int


class ReplacedKey(Response, frozen=True, kw_only=True):
    """The new key."""

    unique_identifier: KeyId


class ReKey(ObjectRequest[ReplacedKey], frozen=True, kw_only=True):
    """Create the key that replaces this one (KMIP 1.4 section 4.4; see ``operations.rekey``).

    ``offset``: seconds from now to its Activation Date; None: its dates are those of the old key.
    ``attributes`` of the new key that differ from the old one's. The core sets ``new_id``, its id,
    and ``drawn``, random bytes for it.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.RE_KEY
    offset: int | None = None
    attributes: tuple[Attribute, ...] = ()
    new_id: KeyId = KeyId("")
    drawn: KeyMaterial | None = None
