"""A key server behind a stream: it answers vCenter's messages, and refuses what it is told to.

It decodes and encodes real bytes; what it says of a key is a table. What was asked is kept, message
by message and by connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec

from protocol.errors import Disconnected, Refused
from protocol.kmip import dialect
from protocol.kmip import payloads as p
from protocol.kmip.algorithms import CryptographicAlgorithm, KeyFormatType
from protocol.kmip.enums import ObjectType, ResultReason, ResultStatus, State
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    RequestItem,
    RequestMessage,
    ResponseHeader,
    ResponseItem,
    ResponseMessage,
    decode_request,
    encode_response,
)
from protocol.kmip.objects import Attribute, KeyBlock, KeyValue, ProtocolVersion, SymmetricKey
from protocol.secret import KeyMaterial


@dataclass
class ScriptedServer:
    """``refuses``: what it says no to, by the name of the payload, and why.

    ``mistaken``: it answers about another key; ``lives``: connections of an earlier one are over;
    ``offers``: versions that it lists; ``prefix`` of its ids. A subclass is wrong in another way.
    """

    keys: dict[str, State] = field(default_factory=dict)
    tags: dict[tuple[str, str], object] = field(default_factory=dict)
    refuses: dict[str, ResultReason] = field(default_factory=dict)
    key_size: int = 32
    garbage: bool = False
    silent: bool = False
    mistaken: bool = False
    lives: int = 1
    offers: tuple[ProtocolVersion, ...] = (dialect.VERSION,)
    prefix: str = "key"
    down: bool = False
    connections: list[list[str]] = field(default_factory=list)
    open: int = 0

    async def connect(self, *_: object, within_s: float = 0) -> ScriptedStream:
        """A connection, its handshake done."""
        await asyncio.sleep(0)
        if self.down:
            raise Refused("nobody listens")
        self.connections.append([])
        self.open += 1
        return ScriptedStream(self, self.connections[-1])

    def respond(self, message: RequestMessage, seen: list[str]) -> ResponseMessage:
        """What it says to a message; ``seen`` is what has come on the same connection."""
        for item in message.batch_item:
            asked = item.request_payload
            name = type(asked).__name__.removesuffix("Request")
            if isinstance(asked, p.GetAttributesRequest):
                name += f"({','.join(asked.attribute_name)})"
            seen.append(name)
        answers = tuple(self.answer(item) for item in message.batch_item)
        header = ResponseHeader(
            protocol_version=dialect.VERSION, time_stamp=0, batch_count=len(answers)
        )
        return ResponseMessage(response_header=header, batch_item=answers)

    def answer(self, item: RequestItem) -> ResponseItem:
        """What it says to one item."""
        asked = item.request_payload
        name = type(asked).__name__.removesuffix("Request")
        if isinstance(asked, p.GetAttributesRequest) and asked.attribute_name == ("State",):
            name = "State"
        reason, payload = self.refuses.get(name), None
        uid = getattr(asked, "unique_identifier", None)
        if uid is not None and uid not in self.keys:
            reason = reason or ResultReason.ITEM_NOT_FOUND
        if reason is None:
            payload = self._done(asked)
            if self.mistaken and getattr(payload, "unique_identifier", None):
                payload = msgspec.structs.replace(payload, unique_identifier="another")
        return ResponseItem(
            operation=item.operation,
            unique_batch_item_id=item.unique_batch_item_id,
            result_status=ResultStatus.SUCCESS if payload else ResultStatus.OPERATION_FAILED,
            result_reason=reason,
            response_payload=payload,
        )

    def _done(self, asked: object) -> Fields:
        match asked:
            case p.DiscoverVersionsRequest():
                return p.DiscoverVersionsResponse(protocol_version=self.offers)
            case p.CreateRequest():
                uid = f"{self.prefix}-{len(self.keys) + 1}"
                self.keys[uid] = State.PRE_ACTIVE
                return p.CreateResponse(object_type=ObjectType.SYMMETRIC_KEY, unique_identifier=uid)
            case p.GetRequest(unique_identifier=str(uid)):
                return p.GetResponse(
                    object_type=ObjectType.SYMMETRIC_KEY,
                    unique_identifier=uid,
                    object=held(uid, self.key_size),
                )
            case p.GetAttributesRequest(unique_identifier=str(uid), attribute_name=(name,)):
                value = self.keys[uid] if name == "State" else self.tags.get((uid, name))
                found = (
                    ()
                    if value is None
                    else (Attribute(attribute_name=name, attribute_value=value),)
                )
                return p.GetAttributesResponse(unique_identifier=uid, attribute=found)
            case p.AddAttributeRequest(unique_identifier=str(uid), attribute=attribute):
                self.tags[uid, attribute.attribute_name] = attribute.attribute_value
                return p.AddAttributeResponse(unique_identifier=uid, attribute=attribute)
            case p.ActivateRequest(unique_identifier=str(uid)):
                self.keys[uid] = State.ACTIVE
                return p.ActivateResponse(unique_identifier=uid)
            case p.LocateRequest(attribute=(wanted,)):
                name, value = wanted.attribute_name, wanted.attribute_value
                with_it = (uid for uid in self.keys if self.tags.get((uid, name)) == value)
                return p.LocateResponse(unique_identifier=tuple(with_it))
            case p.RevokeRequest(unique_identifier=str(uid)):
                self.keys[uid] = State.DEACTIVATED
                return p.RevokeResponse(unique_identifier=uid)
            case p.DestroyRequest(unique_identifier=str(uid)):
                del self.keys[uid]
                return p.DestroyResponse(unique_identifier=uid)
        return p.QueryResponse(vendor_identification="scripted")


def value_of(uid: str) -> KeyMaterial:
    """The value that the key of this id has here."""
    return KeyMaterial(hashlib.sha256(uid.encode()).digest())


def held(uid: str, size: int) -> SymmetricKey:
    """So many bytes of that key as Get has them."""
    block = KeyBlock(
        key_format_type=KeyFormatType.RAW,
        key_value=KeyValue(key_material=KeyMaterial(value_of(uid).reveal()[:size])),
        cryptographic_algorithm=CryptographicAlgorithm.AES,
        cryptographic_length=256,
    )
    return SymmetricKey(key_block=block)


class ScriptedStream:
    """The client's end of a connection."""

    peer = b"the server"
    room = 1 << 16

    def __init__(self, server: ScriptedServer, seen: list[str]) -> None:
        self._server, self._seen, self._waiting, self._closed = server, seen, b"", False
        self._life = server.lives

    async def write(self, data: bytes) -> None:
        if self._closed:
            raise Disconnected("it was closed")
        if self._life != self._server.lives:
            return
        message = decode_request(data)
        self._waiting = encode_response(self._server.respond(message, self._seen))
        if self._server.garbage:
            self._waiting = b"HTTP/1.1 400 Bad Request\r\n\r\n"

    async def read(self, most: int, at_once: object = None) -> bytes:
        if self._server.silent:
            raise TimeoutError  # as the limit does that a clock sets
        await asyncio.sleep(0)
        piece, self._waiting = self._waiting[: min(most, 7)], self._waiting[min(most, 7) :]
        return piece

    def close(self) -> None:
        if not self._closed:
            self._server.open -= 1
        self._closed = True


class QuickClock:
    """A clock whose limits come when something hangs, and not because a machine is busy: silence
    is the server's part."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(60):
            yield
