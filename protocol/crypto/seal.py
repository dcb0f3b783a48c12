"""Sealing key material to the node that shall have it (HPKE, RFC 9180 base mode).

Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. The context string binds a box to
(sender, receiver, message id, message name): a box replayed in another message does not open.
Who the sender is, is the broker's identity check; HPKE base mode adds no signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocol.errors import Malformed
from protocol.messages.base import Message, Sealed, sealed_fields
from protocol.secret import KeyMaterial
from protocol.terms import NodeName

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_LIST = msgspec.msgpack.Decoder(tuple[bytes, ...])

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Keyring:
    """A node's own X25519 key, and the public key of every node that it may seal to.

    ``recipients`` is a live view: it grows as nodes join the lab.
    """

    private: X25519PrivateKey
    recipients: Mapping[NodeName, X25519PublicKey]


def context(sender: str, receiver: str, message_id: int, name: str) -> bytes:
    """The ``info`` of one message (RFC 9180 section 5.1): a box opens under the same one only."""
    return f"keystead/1|{sender}|{receiver}|{message_id}|{name}".encode()


def seal_message(message: M, ring: Keyring, to: NodeName, info: bytes) -> M:
    """``message`` with its key fields boxed to ``to``; the same object when it has none.

    ``info`` is the message's ``context``; each field adds its name to it, so that two boxes of one
    message cannot change places. ``KeyError`` when ``to`` has no known key.
    """
    changes: dict[str, Sealed] = {}
    for field in sealed_fields(type(message)):
        value = getattr(message, field)
        if value is None:
            continue
        clear = msgspec.msgpack.encode(tuple(key.reveal() for key in value.keys))
        box = _SUITE.encrypt(clear, ring.recipients[to], info + b"|" + field.encode())
        changes[field] = Sealed(None, box)
    return msgspec.structs.replace(message, **changes) if changes else message


def open_message(message: M, ring: Keyring, info: bytes) -> M:
    """``message`` with its boxes opened.

    ``Malformed`` when a box was sealed to another node, for another ``info``, or was altered.
    """
    changes: dict[str, Sealed] = {}
    for field in sealed_fields(type(message)):
        value = getattr(message, field)
        if value is None:
            continue
        try:
            clear = _SUITE.decrypt(value.box, ring.private, info + b"|" + field.encode())
            keys = tuple(KeyMaterial(raw) for raw in _LIST.decode(clear))
        except (InvalidTag, ValueError, msgspec.DecodeError):
            raise Malformed(f"{type(message).__name__}.{field} does not open") from None
        changes[field] = Sealed(keys, None)
    return msgspec.structs.replace(message, **changes) if changes else message
