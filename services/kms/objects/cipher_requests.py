"""Requests to encrypt and decrypt under a key that stays here; see ``operations``.

Data travels as ``KeyMaterial``, for it may be a key: it is in no log and in no exception.
"""

from __future__ import annotations

from typing import ClassVar

from protocol.attributes import CryptographicParameters
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.objects.request_types import CoreOperation, ObjectRequest, Response


class EncryptedData(Response, frozen=True, kw_only=True):
    """Ciphertext and tag, empty in a mode that has none; ``iv`` when the server has drawn it."""

    unique_identifier: KeyId
    data: bytes
    iv: bytes | None
    tag: bytes


class EncryptData(ObjectRequest[EncryptedData], frozen=True, kw_only=True):
    """In a mode of AES (KMIP 1.4 section 4.29).

    ``parameters`` None: those that are an attribute of the key. ``iv`` None is right with Random
    IV, when it is ``drawn`` by the core, and in a mode that has none.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.ENCRYPT
    parameters: CryptographicParameters | None = None
    data: KeyMaterial
    iv: bytes | None = None
    additional_data: bytes = b""
    drawn: bytes = b""


class DecryptedData(Response, frozen=True, kw_only=True):
    """The clear data."""

    unique_identifier: KeyId
    data: KeyMaterial


class DecryptData(ObjectRequest[DecryptedData], frozen=True, kw_only=True):
    """The way back (KMIP 1.4 section 4.30); an ``iv`` or a ``tag`` that is empty is none."""

    operation: ClassVar[CoreOperation] = CoreOperation.DECRYPT
    parameters: CryptographicParameters | None = None
    data: bytes
    iv: bytes
    additional_data: bytes = b""
    tag: bytes
