"""What a key server serves, named as in KMIP 1.4; many keys share one message.

``CreateKey`` may ask for Create, Activate and Get in one, as a KMIP batch with the ID placeholder
would. Attributes of keys, keys that are brought, and data under a key that stays at its server are
here too.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.attributes import Attribute, CryptographicParametersValue, Value
from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.terms import KeyId, KmipState, NodeName, RevocationReason


class OnBehalf(msgspec.Struct, frozen=True, kw_only=True):
    """Whose request one key server hands on to another: of ``node``, or made ``at_console`` of it.

    Believed of a server that replicates with the receiver, and of nobody else.
    """

    node: NodeName
    at_console: bool = False


class KeyAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """KMIP attributes of one symmetric key; dates in Unix seconds of the server's clock."""

    key_id: KeyId
    state: KmipState
    algorithm: str = "AES"
    length: int = 256
    usage_mask: int = 12  # Encrypt + Decrypt
    initial_date: float = 0.0
    activation_date: float | None = None
    deactivation_date: float | None = None
    compromise_date: float | None = None
    destroy_date: float | None = None
    last_change_date: float = 0.0


class DiscoverVersions(Request["ServerVersions"], frozen=True, kw_only=True):
    """The health probe of vCenter (STD-09); answers without touching the store."""


class ServerVersions(Reply, frozen=True, kw_only=True):
    """Versions of KMIP that the server speaks, the newest first."""

    versions: tuple[str, ...]


class CreateKey(Request["KeyCreated"], frozen=True, kw_only=True):
    """Make an AES-256 key; ``InvalidField`` for anything else."""

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    algorithm: str = "AES"
    length: int = 256
    usage_mask: int = 12
    activate: bool = False
    get: bool = False
    on_behalf: OnBehalf | msgspec.UnsetType = msgspec.UNSET


class KeyCreated(Reply, frozen=True, kw_only=True):
    """``material`` holds one key when ``get`` was asked, else None."""

    key_id: KeyId
    state: KmipState
    material: Sealed | None = None


KEY_VALUE_BYTES: Final = 94
"""What the answer to ``GetKeys`` has for each key beyond its id, in bytes: ask in ``pages``."""

KEY_ATTRIBUTES_BYTES: Final = 288
"""What the answer to ``GetAttributes`` has for each key beyond its id, in bytes."""


class GetKeys(Request["KeyValues"], frozen=True, kw_only=True):
    """Material of keys. Get works in every state that still has material.

    ``ResponseTooLarge`` unless the ids are a page of ``pages(..., extra=KEY_VALUE_BYTES)``.
    """

    key_ids: tuple[KeyId, ...]


class KeyValue(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of ``GetKeys``; ``index`` points into the sealed field, None = no material."""

    key_id: KeyId
    state: KmipState | None
    index: int | None = None


class KeyValues(Reply, frozen=True, kw_only=True):
    """One entry per id asked, in that order; ``state`` None = Item Not Found."""

    values: tuple[KeyValue, ...]
    material: Sealed


class GetAttributes(Request["AttributeList"], frozen=True, kw_only=True):
    """Attributes of keys; ids that do not exist (in this scope) are left out.

    ``ResponseTooLarge`` unless the ids are a page of ``pages(..., extra=KEY_ATTRIBUTES_BYTES)``.
    """

    key_ids: tuple[KeyId, ...]


class AttributeList(Reply, frozen=True, kw_only=True):
    """Attributes of the keys that exist, in the order asked."""

    keys: tuple[KeyAttributes, ...]


class Activate(Request["KeyState"], frozen=True, kw_only=True):
    """Pre-Active -> Active; on an Active key no change, else ``WrongKeyLifecycleState``."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    key_id: KeyId
    on_behalf: OnBehalf | msgspec.UnsetType = msgspec.UNSET


class Revoke(Request["KeyState"], frozen=True, kw_only=True):
    """Key or CA compromise -> Compromised; any other reason -> Deactivated, from Active only."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    key_id: KeyId
    reason: RevocationReason = RevocationReason.UNSPECIFIED
    on_behalf: OnBehalf | msgspec.UnsetType = msgspec.UNSET


class Destroy(Request["KeyState"], frozen=True, kw_only=True):
    """Wipe the material, keep the tombstone; not from Active (revoke it first)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    key_id: KeyId
    on_behalf: OnBehalf | msgspec.UnsetType = msgspec.UNSET


class KeyState(Reply, frozen=True, kw_only=True):
    """The key is in this state, durably; it may have been before."""

    key_id: KeyId
    state: KmipState


class Locate(Request["Located"], frozen=True, kw_only=True):
    """Ids in order of creation, after ``after`` (an id, or empty), at most ``limit``.

    Of keys with all these ``attributes``: a value of each, every bit of a usage mask, and a date
    that is asked for twice is a range.
    """

    state: KmipState | None = None
    attributes: tuple[Attribute, ...] = ()
    after: KeyId = KeyId("")
    limit: int = 1000


class Located(Reply, frozen=True, kw_only=True):
    """A page of ids; ``total`` is how many match in all.

    A page ends where a message does: ask again with ``after`` until it is empty.
    """

    key_ids: tuple[KeyId, ...]
    total: int


class QueryAudit(Request["AuditRows"], frozen=True, kw_only=True):
    """Audit rows with a sequence above ``after``; an operator's question."""

    after: int = 0
    limit: int = 1000


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: who did what to which key, how it ended; chained by ``digest``.

    ``times``: how many refusals of this kind it stands for; above 1 it names no key.
    """

    sequence: int
    at: float
    who: str
    operation: str
    key_id: str
    result: str
    times: int = 1
    digest: str


class AuditRows(Reply, frozen=True, kw_only=True):
    """A page of rows, in order.

    A page ends where a message does: ask again with ``after`` until it is empty.
    """

    rows: tuple[AuditRow, ...]


class RegisterKey(Request[KeyCreated], frozen=True, kw_only=True):
    """Keep the one key in ``material``, with these attributes."""

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    material: Sealed
    algorithm: str = "AES"
    length: int = 256
    usage_mask: int = 12
    attributes: tuple[Attribute, ...] = ()
    on_behalf: OnBehalf | msgspec.UnsetType = msgspec.UNSET


class GetKeyAttributes(Request["KeyAttributeValues"], frozen=True, kw_only=True):
    """Attributes of one key by their ``names``, all of them for none. ``ItemNotFound``."""

    key_id: KeyId
    names: tuple[str, ...] = ()


class KeyAttributeValues(Reply, frozen=True, kw_only=True):
    """Those that the key has; a name that it has not, or nobody knows, is left out."""

    key_id: KeyId
    attributes: tuple[Attribute, ...]


class GetAttributeList(Request["AttributeNames"], frozen=True, kw_only=True):
    """Which attributes a key has. ``ItemNotFound``."""

    key_id: KeyId


class AttributeNames(Reply, frozen=True, kw_only=True):
    """Each name once."""

    key_id: KeyId
    names: tuple[str, ...]


class AddAttribute(Request["AttributeChanged"], frozen=True, kw_only=True):
    """A value that the key has from now on; of an attribute that has one instance and has another
    value, ``IllegalOperation``. The index is the server's."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    key_id: KeyId
    name: str
    value: Value
    on_behalf: OnBehalf | msgspec.UnsetType = msgspec.UNSET


class ModifyAttribute(Request["AttributeChanged"], frozen=True, kw_only=True):
    """Another value in an instance that the key has."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    key_id: KeyId
    attribute: Attribute
    on_behalf: OnBehalf | msgspec.UnsetType = msgspec.UNSET


class DeleteAttribute(Request["AttributeDeleted"], frozen=True, kw_only=True):
    """Have a key without this instance."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    key_id: KeyId
    name: str
    index: int = 0
    on_behalf: OnBehalf | msgspec.UnsetType = msgspec.UNSET


class AttributeChanged(Reply, frozen=True, kw_only=True):
    """The attribute as it is now."""

    key_id: KeyId
    attribute: Attribute


class AttributeDeleted(Reply, frozen=True, kw_only=True):
    """It is not there; ``attribute`` is what was, None when it was not there before."""

    key_id: KeyId
    attribute: Attribute | None = None


class Encrypt(Request["Encrypted"], frozen=True, kw_only=True):
    """Encrypt what is in ``data``, one piece, under a key that stays at the server (AES-GCM).

    ``parameters`` None: those of the key. ``iv`` None is right with Random IV only.
    """

    key_id: KeyId
    data: Sealed
    parameters: CryptographicParametersValue | None = None
    iv: bytes | None = None
    additional_data: bytes = b""


class Encrypted(Reply, frozen=True, kw_only=True):
    """Ciphertext and tag; ``iv`` when the server has drawn it."""

    data: bytes
    tag: bytes
    iv: bytes | None = None


class Decrypt(Request["Decrypted"], frozen=True, kw_only=True):
    """The way back. ``CryptographicFailure`` when tag, data and key do not belong together."""

    key_id: KeyId
    data: bytes
    iv: bytes
    tag: bytes
    parameters: CryptographicParametersValue | None = None
    additional_data: bytes = b""


class Decrypted(Reply, frozen=True, kw_only=True):
    """The clear data, one piece."""

    data: Sealed
