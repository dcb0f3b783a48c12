"""Boxes of key material: for one receiver, one field and one envelope, to the last byte."""

from __future__ import annotations

import hashlib

import msgpack
import msgspec
import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from protocol.codec import (
    VERSION,
    Envelope,
    ReplyEnvelope,
    decode_as,
    decode_envelope,
    encode_envelope,
    encode_message,
)
from protocol.crypto.seal import Keyring, Sealing, without_keys
from protocol.errors import ErrorBody, Malformed
from protocol.messages.base import Message, Reply, Sealed
from protocol.messages.host.crypto import AddKeys
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, NodeName, ProviderId

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
_PRIVATE = {name: X25519PrivateKey.generate() for name in (A, B, C)}
_PUBLIC = {name: private.public_key() for name, private in _PRIVATE.items()}
BOOT = 3  # of every node here

KEYS = tuple(KeyMaterial(bytes([n]) * 32) for n in range(2))
IDS = tuple(CryptoKeyId(KeyId(f"key-{n}"), ProviderId("p")) for n in range(2))
MESSAGE = AddKeys(session="s", number=4, keys=IDS, material=Sealed.of(*KEYS))


def life(name: NodeName, boot: int = BOOT, key_of: NodeName | None = None) -> Sealing:
    """A life of a node, with its own key unless it has stolen one."""
    return Sealing(name, boot, Keyring(_PRIVATE[key_of or name], _PUBLIC), lambda: 0.0)


def around(message: AddKeys) -> Envelope:
    body = encode_message(without_keys(message))
    return Envelope(VERSION, 7, "c/1/2", A, BOOT, 9.5, "AddKeys", body)


def travelled(envelope: Envelope) -> tuple[Envelope, AddKeys]:
    """What the receiver has before it opens a box."""
    came = decode_envelope(encode_envelope(envelope))
    return came, decode_as(AddKeys, came.body)


def test_the_receiver_opens_what_the_sender_sealed() -> None:
    came, message = travelled(life(A).seal_keys(around(MESSAGE), MESSAGE, B))
    with pytest.raises(ValueError, match="still sealed"):
        _ = message.material.keys
    assert life(B).unseal_keys(came, message) == MESSAGE


def test_no_clear_key_is_in_what_travels_and_none_is_encoded() -> None:
    data = encode_envelope(life(A).seal_keys(around(MESSAGE), MESSAGE, B))
    assert not any(key.reveal() in data for key in KEYS)
    with pytest.raises(TypeError, match="clear keys"):
        encode_message(MESSAGE)


def test_a_box_for_another_node_does_not_open() -> None:
    came, message = travelled(life(A).seal_keys(around(MESSAGE), MESSAGE, B))
    for me in (B, C):
        with pytest.raises(Malformed, match=r"AddKeys\.material does not open"):
            life(me, key_of=C).unseal_keys(came, message)
    with pytest.raises(Malformed, match="does not open"):
        life(C, key_of=B).unseal_keys(came, message)


OTHER_VALUES: dict[str, object] = {
    "version": VERSION + 1,
    "message_id": 8,
    "cause": "c/1/3",
    "sender": C,
    "boot": 4,
    "deadline": 10.5,
    "name": "CryptoManagerHostEnable",
    "body": encode_message(without_keys(msgspec.structs.replace(MESSAGE, keys=IDS[::-1]))),
}


@pytest.mark.parametrize("name", [f for f in Envelope.__struct_fields__ if f != "boxes"])
def test_a_box_is_bound_to_every_field_around_it(name: str) -> None:
    """Ids swapped beside a box, an older life's number, a later deadline: it stays shut."""
    came, _ = travelled(life(A).seal_keys(around(MESSAGE), MESSAGE, B))
    changed = msgspec.structs.replace(came, **{name: OTHER_VALUES[name]})
    assert changed != came
    message = decode_as(AddKeys, changed.body)
    with pytest.raises(Malformed, match="does not open"):
        life(B).unseal_keys(changed, message)


REPLY_VALUES: dict[str, object] = {
    "version": VERSION + 1,
    "message_id": 8,
    "sender": C,
    "boot": 4,
    "name": "KeyValues",
    "body": msgspec.Raw(b"\x80"),
    "error": ErrorBody("NotFound", "text"),
}


@pytest.mark.parametrize("name", [f for f in ReplyEnvelope.__struct_fields__ if f != "boxes"])
def test_so_is_the_box_of_a_reply(name: str) -> None:
    boxed = without_keys(MESSAGE)
    envelope = ReplyEnvelope(VERSION, 7, A, BOOT, "AddKeys", encode_message(boxed))
    came = life(A).seal_keys(envelope, MESSAGE, B, BOOT)
    assert life(B).unseal_keys(came, boxed) == MESSAGE
    changed = msgspec.structs.replace(came, **{name: REPLY_VALUES[name]})
    with pytest.raises(Malformed, match="does not open"):
        life(B).unseal_keys(changed, boxed)


class Pair(Reply, frozen=True, kw_only=True):
    """A reply with two fields of keys, one of which may be absent."""

    first: Sealed
    second: Sealed | None = None


del Message._registry["Pair"]  # it is this file's alone


def pair(second: Sealed | None) -> tuple[Pair, ReplyEnvelope]:
    message = Pair(first=Sealed.of(KEYS[0]), second=second)
    body = encode_message(without_keys(message))
    envelope = ReplyEnvelope(VERSION, 1, A, BOOT, "Pair", body)
    return message, life(A).seal_keys(envelope, message, B, BOOT)


def test_two_boxes_of_one_message_cannot_change_places() -> None:
    message, came = pair(Sealed.of(KEYS[1]))
    boxed = decode_as(Pair, came.body)
    assert life(B).unseal_keys(came, boxed) == message
    swapped = msgspec.structs.replace(came, boxes=came.boxes[::-1])
    with pytest.raises(Malformed, match="does not open"):
        life(B).unseal_keys(swapped, boxed)


def test_an_absent_field_has_no_box() -> None:
    message, came = pair(None)
    assert len(came.boxes) == 1
    assert life(B).unseal_keys(came, decode_as(Pair, came.body)) == message


@pytest.mark.parametrize("boxes", [0, 1, 3])
def test_a_box_too_few_or_too_many_is_refused(boxes: int) -> None:
    _, came = pair(Sealed.of(KEYS[1]))
    other = msgspec.structs.replace(came, boxes=(came.boxes * 2)[:boxes])
    with pytest.raises(Malformed, match="do not match"):
        life(B).unseal_keys(other, decode_as(Pair, came.body))


def test_two_fields_cannot_share_a_box() -> None:
    _, came = pair(Sealed.of(KEYS[1]))
    shared = Pair(first=Sealed.in_box(0), second=Sealed.in_box(0))
    with pytest.raises(Malformed, match="do not match"):
        life(B).unseal_keys(came, shared)


@pytest.mark.parametrize("place", [0, 31, 32, 79, 80, 91, 92, -1])
def test_an_altered_box_does_not_open(place: int) -> None:
    came, message = travelled(life(A).seal_keys(around(MESSAGE), MESSAGE, B))
    altered = bytearray(came.boxes[0])
    altered[place] ^= 1
    other = msgspec.structs.replace(came, boxes=(bytes(altered),))
    with pytest.raises(Malformed, match="does not open"):
        life(B).unseal_keys(other, message)


@pytest.mark.parametrize("value", [b"box", "0", -1, None, 1.0, True, [0]])
def test_a_sealed_field_is_the_number_of_a_box_and_nothing_else(value: object) -> None:
    body = msgspec.msgpack.encode({"session": "s", "number": 1, "keys": [], "material": value})
    with pytest.raises(Malformed):
        decode_as(AddKeys, body)


def test_what_a_box_is_bound_to_is_as_written_down() -> None:
    """Another implementation of the wire, by HPKE, RFC 8452 and msgpack alone, opens it."""
    came = life(A).seal_keys(around(MESSAGE), MESSAGE, B)
    body = msgpack.unpackb(encode_message(without_keys(MESSAGE)))
    bare = [VERSION, 7, "c/1/2", A, BOOT, 9.5, "AddKeys", body, []]
    digest = hashlib.sha256(msgpack.packb(bare)).digest()
    [box] = came.boxes
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    info = msgpack.packb(["keystead sealing context", A, BOOT, B, 0])
    key = suite.decrypt(box[:80], _PRIVATE[B], info)
    bound_to = msgpack.packb(["keystead sealed field", B, "material", digest])
    clear = AESGCMSIV(key).decrypt(box[80:92], box[92:], bound_to)
    assert msgpack.unpackb(clear) == [key.reveal() for key in KEYS]
