"""Attributes of keys, keys that are brought, and data under a key that stays at its server."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.attributes import Attribute, CryptographicParametersValue, Value
from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.kms.keys import KeyCreated, OnBehalf
from protocol.terms import KeyId


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
