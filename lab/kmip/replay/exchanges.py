"""What single exchanges show of a server, beyond whether they went well. Pure.

vCenter's client takes an answer that it can make something of. What the standard does not allow in
it, and what is wrong with a key that looks like one, is found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import FindingKind
from protocol.kmip import dialect
from protocol.kmip.algorithms import CryptographicAlgorithm
from protocol.kmip.enums import ResultStatus
from protocol.kmip.message import RequestItem, RequestMessage, ResponseItem, ResponseMessage
from protocol.kmip.objects import KeyBlock, KeyValue, SymmetricKey
from protocol.kmip.payloads import CreateResponse, DiscoverVersionsResponse, GetResponse
from protocol.kmip.structures import ProtocolVersion
from protocol.secret import KeyMaterial

_BITS: Final = 8


class SeenFinding(NamedTuple):
    """A kind of finding, and what was seen."""

    kind: FindingKind
    text: str


class Inspector:
    """Looks at exchanges with the servers of one provider; it remembers keys by their digests."""

    def __init__(self) -> None:
        self._made: set[str] = set()
        self._values: dict[bytes, str] = {}  # digest -> the identifier that it was seen under first
        self._digests: dict[str, bytes] = {}  # identifier -> the digest that it had first

    def inspect(self, asked: RequestMessage, answer: ResponseMessage) -> Iterator[SeenFinding]:
        """What is found in an answer that can be read, whether it is a refusal or not."""
        yield from _version(answer)
        for item, back in zip(asked.batch_item, answer.batch_item, strict=False):
            yield from _batch_id(item, back)
            if back.result_status == ResultStatus.SUCCESS:
                yield from self._payload(back)

    def _payload(self, item: ResponseItem) -> Iterator[SeenFinding]:
        match item.response_payload:
            case DiscoverVersionsResponse(protocol_version=offered):
                if dialect.VERSION not in offered:
                    said = ", ".join(map(_format_version, offered)) or "no version"
                    yield SeenFinding(kinds.VERSION_NOT_OFFERED, f"it offers {said}")
            case CreateResponse(unique_identifier=uid):
                if uid in self._made:
                    yield SeenFinding(kinds.ID_REPEATED, f"{uid} was given to an earlier key")
                self._made.add(uid)
            case GetResponse(unique_identifier=uid, object=SymmetricKey(key_block=block)):
                yield from _claims(block)
                yield from self._value(uid, block)

    def _value(self, uid: str, block: KeyBlock) -> Iterator[SeenFinding]:
        material = _material(block)
        if material is None:
            return
        if len(set(material.reveal())) == 1:
            yield SeenFinding(kinds.KEY_CONSTANT, f"every byte of key {uid} is the same")
            return
        digest = sha256(material.reveal()).digest()
        first = self._values.setdefault(digest, uid)
        if first != uid:
            yield SeenFinding(kinds.KEY_REPEATED, f"keys {first} and {uid} have the same value")
        elif self._digests.setdefault(uid, digest) != digest:
            yield SeenFinding(kinds.KEY_CHANGED, f"key {uid} has another value than before")


def _version(answer: ResponseMessage) -> Iterator[SeenFinding]:
    """Who did not understand a message does not know of which version it was."""
    version = answer.response_header.protocol_version
    understood = any(item.operation is not None for item in answer.batch_item)
    if understood and version != dialect.VERSION:
        yield SeenFinding(
            kinds.VERSION_CHANGED, f"it answers under KMIP {_format_version(version)}"
        )


def _batch_id(asked: RequestItem, item: ResponseItem) -> Iterator[SeenFinding]:
    """An item without an operation refuses the whole message, of which nothing was understood."""
    if asked.unique_batch_item_id and not item.unique_batch_item_id and item.operation is not None:
        yield SeenFinding(kinds.BATCH_ID_MISSING, "the answer has no Unique Batch Item ID")


def _claims(block: KeyBlock) -> Iterator[SeenFinding]:
    """What the Key Block says of its value; it may leave both out."""
    algorithm, length = block.cryptographic_algorithm, block.cryptographic_length
    if algorithm not in (None, CryptographicAlgorithm.AES):
        named = getattr(algorithm, "label", algorithm)
        yield SeenFinding(kinds.KEY_ALGORITHM, f"the Cryptographic Algorithm is {named}")
    material = _material(block)
    if material is None or length is None:
        return
    bits = len(material.reveal()) * _BITS
    if length != bits:
        text = f"the Cryptographic Length is {length}, and the value has {bits} bits"
        yield SeenFinding(kinds.KEY_LENGTH, text)


def _material(block: KeyBlock) -> KeyMaterial | None:
    """The value in clear; None for a wrapped one, a transparent one, and none."""
    value = block.key_value.key_material if isinstance(block.key_value, KeyValue) else None
    return value if isinstance(value, KeyMaterial) else None


def _format_version(version: ProtocolVersion) -> str:
    return f"{version.protocol_version_major}.{version.protocol_version_minor}"
