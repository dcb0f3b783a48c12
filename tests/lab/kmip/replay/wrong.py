"""Key servers that are wrong in one thing each, and right in all others."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.errors import Refused
from protocol.kmip.algorithms import CryptographicAlgorithm
from protocol.kmip.enums import ResultReason, ResultStatus, State
from protocol.kmip.message import RequestItem, RequestMessage, ResponseItem, ResponseMessage
from protocol.kmip.objects import ProtocolVersion, SymmetricKey
from protocol.kmip.payloads import (
    ActivateRequest,
    CreateRequest,
    CreateResponse,
    GetAttributesResponse,
    GetRequest,
    GetResponse,
)
from protocol.secret import KeyMaterial
from tests.services.keyservers.scripted import ScriptedServer, ScriptedStream

replace = msgspec.structs.replace


def version(minor: int) -> ProtocolVersion:
    return ProtocolVersion(protocol_version_major=1, protocol_version_minor=minor)


def refused(item: ResponseItem, reason: ResultReason, message: str = "") -> ResponseItem:
    return replace(
        item,
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=reason,
        result_message=message or None,
        response_payload=None,
    )


class Newer(ScriptedServer):
    """Answers under the newest version that it knows."""

    def respond(self, message: RequestMessage, seen: list[str]) -> ResponseMessage:
        answer = super().respond(message, seen)
        header = replace(answer.response_header, protocol_version=version(4))
        return replace(answer, response_header=header)


class Numberless(ScriptedServer):
    """Leaves out the ids of items."""

    def answer(self, item: RequestItem) -> ResponseItem:
        return replace(super().answer(item), unique_batch_item_id=None)


class Stopping(ScriptedServer):
    """Stops a batch at what it refuses, as KMIP has it unless something else is asked for."""

    def respond(self, message: RequestMessage, seen: list[str]) -> ResponseMessage:
        answer = super().respond(message, seen)
        kept = list[ResponseItem]()
        for item in answer.batch_item:
            kept.append(item)
            if item.result_status != ResultStatus.SUCCESS:
                break
        header = replace(answer.response_header, batch_count=len(kept))
        return replace(answer, response_header=header, batch_item=tuple(kept))


class Blocks(ScriptedServer):
    """``wrong`` gives the Key Block of each Get, from the right one."""

    def wrong(self, uid: str, block: Any) -> Any:
        raise NotImplementedError

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        got = answer.response_payload
        if not isinstance(got, GetResponse) or not isinstance(got.object, SymmetricKey):
            return answer
        block = self.wrong(got.unique_identifier, got.object.key_block)
        return replace(answer, response_payload=replace(got, object=SymmetricKey(key_block=block)))


def with_value(block: Any, value: bytes) -> Any:
    return replace(block, key_value=replace(block.key_value, key_material=KeyMaterial(value)))


class AllZero(Blocks):
    """One key of zeroes for all ids."""

    def wrong(self, uid: str, block: Any) -> Any:
        return with_value(block, bytes(32))


class OneForAll(Blocks):
    """One good key for all ids."""

    def wrong(self, uid: str, block: Any) -> Any:
        return with_value(block, bytes(range(32)))


class Changing(Blocks):
    """Another value at each Get."""

    def wrong(self, uid: str, block: Any) -> Any:
        return with_value(block, len(self.connections).to_bytes(32))


class Shorter(Blocks):
    """A value of 256 bits that is called one of 128."""

    def wrong(self, uid: str, block: Any) -> Any:
        return replace(block, cryptographic_length=128)


class Older(Blocks):
    """A key of another algorithm than was asked for."""

    def wrong(self, uid: str, block: Any) -> Any:
        return replace(block, cryptographic_algorithm=CryptographicAlgorithm.DES3)


class Counter(ScriptedServer):
    """Its ids begin again."""

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        if isinstance(item.request_payload, CreateRequest):
            self.keys["1"] = self.keys.pop(f"key-{len(self.keys)}")
            payload = answer.response_payload
            assert isinstance(payload, CreateResponse)
            return replace(answer, response_payload=replace(payload, unique_identifier="1"))
        return answer


class Forgetful(ScriptedServer):
    """Takes tags, and does not keep them."""

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        self.tags.clear()
        return answer


class Inactive(ScriptedServer):
    """Activates nothing, and says that it has."""

    def answer(self, item: RequestItem) -> ResponseItem:
        if isinstance(item.request_payload, CreateRequest):
            made = super().answer(item)
            self.keys[f"key-{len(self.keys)}"] = State.DEACTIVATED
            return made
        return super().answer(item)


class Sick(ScriptedServer):
    """``refuses`` is in force for those messages of which ``when`` says so; it is given what has
    come before on the same connection, too."""

    def when(self, message: RequestMessage, seen: list[str]) -> bool:
        raise NotImplementedError

    def respond(self, message: RequestMessage, seen: list[str]) -> ResponseMessage:
        kept = self.refuses
        if not self.when(message, seen):
            self.refuses = {}
        try:
            return super().respond(message, seen)
        finally:
            self.refuses = kept


class NoHealth(Sick):
    """Once it is added, it answers no second Discover Versions on one connection."""

    def when(self, message: RequestMessage, seen: list[str]) -> bool:
        looks = [
            messages for messages in self.connections if messages.count("DiscoverVersions") > 1
        ]
        return len(looks) >= 2 and seen == ["DiscoverVersions"]


class GetsOnce(ScriptedServer):
    """Gives the key of a VM out once; later it is out of order."""

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        asked = item.request_payload
        if isinstance(asked, GetRequest) and (asked.unique_identifier, "x-Name") in self.tags:
            return refused(answer, ResultReason.CRYPTOGRAPHIC_FAILURE, "HSM is offline")
        return answer


class NoStatus(Sick):
    """Says the State of a VM's key to who has just got it, and to nobody else."""

    def when(self, message: RequestMessage, seen: list[str]) -> bool:
        uid = getattr(message.batch_item[0].request_payload, "unique_identifier", "")
        return (uid, "x-Name") in self.tags and "Get" not in seen


class Vague(ScriptedServer):
    """Has one reason for everything."""

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        if answer.result_reason == ResultReason.ITEM_NOT_FOUND:
            return refused(answer, ResultReason.GENERAL_FAILURE)
        return answer


class NoActivate(ScriptedServer):
    """Lets this client activate nothing."""

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        if isinstance(item.request_payload, ActivateRequest):
            self.keys[item.request_payload.unique_identifier or ""] = State.PRE_ACTIVE
            return refused(answer, ResultReason.PERMISSION_DENIED, "activate")
        return answer


class Stale(ScriptedServer):
    """Says that every key is Pre-Active."""

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        payload = answer.response_payload
        if isinstance(payload, GetAttributesResponse) and payload.attribute:
            state = replace(payload.attribute[0], attribute_value=State.PRE_ACTIVE)
            return replace(answer, response_payload=replace(payload, attribute=(state,)))
        return answer


class Crowded(ScriptedServer):
    """Has room for a few connections."""

    async def connect(self, *_: object, within_s: float = 0) -> ScriptedStream:
        if self.open > 4:
            raise Refused("too many connections")
        return await super().connect()


class Late(ScriptedServer):
    """Gets the keys of ``first`` when it was asked so often for what it has not; what it makes
    itself is there at once."""

    def __init__(self, first: ScriptedServer, late: int) -> None:
        super().__init__(prefix="late", tags=first.tags)
        self.first, self.late, self.missed = first, late, 0

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        uid = getattr(item.request_payload, "unique_identifier", None)
        if answer.result_reason == ResultReason.ITEM_NOT_FOUND and uid in self.first.keys:
            self.missed += 1
            if self.missed % self.late == 0:
                self.keys.update(self.first.keys)
        for uid in self.keys:
            self.first.keys.setdefault(uid, self.keys[uid])
        return answer


class OfWrappingKeys(ScriptedServer):
    """Wrong at the wrapping keys of a vCenter 9.0 that has encrypted one VM: the fifth key that is
    made, and the sixth. ``times``: how often it was asked for the fifth, or to make it."""

    first, second = "key-5", "key-6"
    times = 0

    def is_get(self, item: RequestItem) -> bool:
        """Whether it is asked for the first wrapping key."""
        asked = item.request_payload
        got = isinstance(asked, GetRequest) and asked.unique_identifier == self.first
        self.times += got
        return got


class MakesNoWrappingKey(OfWrappingKeys):
    """Refuses to make the first wrapping key, and nothing else."""

    def answer(self, item: RequestItem) -> ResponseItem:
        if isinstance(item.request_payload, CreateRequest) and len(self.keys) == 4:
            self.times += 1
            if self.times == 1:
                return refused(super().answer(item), ResultReason.PERMISSION_DENIED, "quota")
        return super().answer(item)


class GivesWrappingKeyOnce(OfWrappingKeys):
    """Gives the first wrapping key out once."""

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        if self.is_get(item) and self.times > 1:
            return refused(answer, ResultReason.CRYPTOGRAPHIC_FAILURE, "HSM is offline")
        return answer


class RetiresWrappingKeys(OfWrappingKeys):
    """Deactivates a wrapping key when another one is made."""

    def answer(self, item: RequestItem) -> ResponseItem:
        answer = super().answer(item)
        if isinstance(item.request_payload, CreateRequest) and self.second in self.keys:
            self.keys[self.first] = State.DEACTIVATED
        return answer


class ChangesWrappingKey(OfWrappingKeys, Blocks):
    """Gives the first wrapping key another value once a VM's key is under it."""

    def wrong(self, uid: str, block: Any) -> Any:
        late = uid == self.first and self.times > 2
        return with_value(block, bytes(range(32))) if late else block

    def answer(self, item: RequestItem) -> ResponseItem:
        self.is_get(item)
        return super().answer(item)
