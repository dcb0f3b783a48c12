"""What messages weigh on the wire, with ids of 300 characters in them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.codec import VERSION, Envelope, encode_envelope, encode_message
from protocol.crypto.seal import Keyring, Sealing, without_keys
from protocol.messages.base import Message
from protocol.terms import KeyId, NodeName

LONG = 300
"""Characters of the longest id."""

_PEER = NodeName("n" * 48)
_PRIVATE = X25519PrivateKey.generate()
_RING = Keyring(_PRIVATE, {_PEER: _PRIVATE.public_key()})
_SEALING = Sealing(_PEER, 2**32, _RING, lambda: 0.0)


def long_ids(count: int) -> tuple[KeyId, ...]:
    """Ids of keys, all different, all as long as an id may be."""
    return tuple(KeyId(f"{number:0{LONG}d}") for number in range(count))


def on_the_wire(message: Message) -> int:
    """Size of ``message``, sealed, between nodes with long names; ``Malformed`` if it is too much.

    Its envelope has a deadline and a cause, as a request has; the one of a reply is smaller.
    """
    name, cause = type(message).__name__, f"{_PEER}/{2**32}/{2**63}"
    body = encode_message(without_keys(message))
    envelope = Envelope(VERSION, 2**63, cause, _PEER, 2**32, 1.5, name, body)
    return len(encode_envelope(_SEALING.seal_keys(envelope, message, _PEER)))
