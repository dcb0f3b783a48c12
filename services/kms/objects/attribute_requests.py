"""Requests about the attributes of one object, and their answers; see ``operations``."""

from __future__ import annotations

from typing import ClassVar

from protocol.attributes import Attribute
from protocol.terms import KeyId
from services.kms.objects.request_types import CoreOperation, ObjectRequest, Response


class ObjectAttributeNames(Response, frozen=True, kw_only=True):
    """The name of each attribute that the object has, once."""

    unique_identifier: KeyId
    names: tuple[str, ...]


class ListObjectAttributes(ObjectRequest[ObjectAttributeNames], frozen=True, kw_only=True):
    """Which attributes there are (KMIP 1.4 section 4.13)."""

    operation: ClassVar[CoreOperation] = CoreOperation.GET_ATTRIBUTE_LIST


class ObjectAttributeChanged(Response, frozen=True, kw_only=True):
    """The attribute as it is now; of one that was deleted, as it was."""

    unique_identifier: KeyId
    attribute: Attribute


class AddObjectAttribute(ObjectRequest[ObjectAttributeChanged], frozen=True, kw_only=True):
    """A new instance (KMIP 1.4 section 4.14). Its index is the server's: ``indexed`` says that the
    client gave one all the same. ``repeat`` is ours: it may have been asked before, so a value
    that is there already is no refusal."""

    operation: ClassVar[CoreOperation] = CoreOperation.ADD_ATTRIBUTE
    attribute: Attribute
    indexed: bool = False
    repeat: bool = False


class ModifyObjectAttribute(ObjectRequest[ObjectAttributeChanged], frozen=True, kw_only=True):
    """Another value in an instance that is there (KMIP 1.4 section 4.15)."""

    operation: ClassVar[CoreOperation] = CoreOperation.MODIFY_ATTRIBUTE
    attribute: Attribute


class DeleteObjectAttribute(ObjectRequest[ObjectAttributeChanged], frozen=True, kw_only=True):
    """One instance fewer (KMIP 1.4 section 4.16)."""

    operation: ClassVar[CoreOperation] = CoreOperation.DELETE_ATTRIBUTE
    name: str
    index: int = 0
