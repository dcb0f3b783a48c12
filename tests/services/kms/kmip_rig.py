"""A key server's second door as its clients see it: structs of KMIP to bytes, and back."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from protocol.kmip.algorithms import CryptographicAlgorithm
from protocol.kmip.enums import ObjectType, ResultReason, ResultStatus
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    RequestHeader,
    RequestItem,
    RequestMessage,
    ResponseItem,
    ResponseMessage,
    decode_response,
    encode_request,
)
from protocol.kmip.objects import Attribute, ProtocolVersion, TemplateAttribute
from protocol.kmip.payloads import PAYLOADS, CreateRequest, CreateResponse
from services.kms.access.authorization import KeyServerCaller
from services.kms.endpoints.kmip.messages import Messages
from tests.services.kms.core_rig import OWNER
from tests.services.kms.ports import Server

F = TypeVar("F", bound=Fields)
OPERATIONS = {cls: operation for operation, pair in PAYLOADS.items() for cls in pair}


def version(minor: int) -> ProtocolVersion:
    return ProtocolVersion(protocol_version_major=1, protocol_version_minor=minor)


def template(*others: Attribute, bits: int = 256, mask: int = 12) -> TemplateAttribute:
    facts = {
        "Cryptographic Algorithm": CryptographicAlgorithm.AES,
        "Cryptographic Length": bits,
        "Cryptographic Usage Mask": mask,
    }
    given = [Attribute(attribute_name=name, attribute_value=facts[name]) for name in facts]
    return TemplateAttribute(attribute=(*given, *others))


def new_key(*others: Attribute) -> CreateRequest:
    return CreateRequest(object_type=ObjectType.SYMMETRIC_KEY, template_attribute=template(*others))


def message(*payloads: Fields | RequestItem, minor: int = 4, **header: Any) -> RequestMessage:
    """A request with these items; those of several have ids."""
    items = [
        payload
        if isinstance(payload, RequestItem)
        else RequestItem(
            operation=OPERATIONS[type(payload)],
            unique_batch_item_id=bytes([number]) if len(payloads) > 1 else None,
            request_payload=payload,
        )
        for number, payload in enumerate(payloads, 1)
    ]
    fields: dict[str, Any] = {
        "protocol_version": version(minor),
        "batch_count": len(items),
    } | header
    return RequestMessage(request_header=RequestHeader(**fields), batch_item=tuple(items))


class Client:
    """Asks a server as ``caller``, in version 1.``minor``."""

    def __init__(self, server: Server, caller: KeyServerCaller = OWNER, minor: int = 4) -> None:
        self._messages = Messages(server.service.core, cast(Any, server.clock))
        self.caller, self.minor = caller, minor

    async def bytes(self, data: bytes) -> ResponseMessage:
        return decode_response(await self._messages.answer(self.caller, data))

    async def send(self, request: RequestMessage) -> ResponseMessage:
        return await self.bytes(encode_request(request))

    async def items(self, *payloads: Fields | RequestItem, **header: Any) -> list[ResponseItem]:
        request = message(*payloads, **{"minor": self.minor} | header)
        return list((await self.send(request)).batch_item)

    async def ask(self, payload: Fields, answer: type[F]) -> F:
        """The payload of a success."""
        [item] = await self.items(payload)
        assert item.result_status is ResultStatus.SUCCESS, item.result_message
        assert isinstance(item.response_payload, answer)
        return item.response_payload

    async def refused(self, payload: Fields | RequestItem, **header: Any) -> ResultReason | int:
        """The reason of a failure."""
        [item] = await self.items(payload, **header)
        return reason(item)

    async def made(self, *others: Attribute) -> str:
        return (await self.ask(new_key(*others), CreateResponse)).unique_identifier


def reason(item: ResponseItem) -> ResultReason | int:
    assert item.result_status is ResultStatus.OPERATION_FAILED
    assert item.result_reason is not None
    assert item.result_message
    assert item.response_payload is None
    return item.result_reason
