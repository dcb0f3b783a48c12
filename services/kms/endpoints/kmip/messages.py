"""One message of KMIP: its header, its items to the core, and the answer.

A message that is refused as a whole is answered with one item without an operation (KMIP 1.4
section 11.1). An item that the core cannot execute, or that is not built, fails in its turn, so
that it does not spoil its batch. Items are executed in order, whatever the Batch Order Option is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from protocol import attributes as core
from protocol.errors import (
    ProductError,
)
from protocol.kmip.dialect import Login
from protocol.kmip.enums import KmipError, Operation, ResultReason
from protocol.kmip.message import (
    RequestHeader,
    RequestItem,
    RequestMessage,
    ResponseHeader,
    ResponseItem,
    ResponseMessage,
    UsernameAndPassword,
    decode_request,
    encode_response,
)
from protocol.kmip.objects import ProtocolVersion
from protocol.kmip.payloads import AddAttributeRequest
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import HEAD, SIZE_LIMIT, TtlvItem, Type, encode, parse
from protocol.terms import KeyId, KmipState
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit.audit_trail import CHANGING
from services.kms.endpoints.kmip.forms import LARGEST, Forms, GetForm
from services.kms.endpoints.kmip.items import (
    NEWEST,
    RefusedMessage,
    check_message,
    failure_item,
    outcome,
    reason_of,
    request_of,
)
from services.kms.endpoints.kmip.operations import SPOKEN, version_of
from services.kms.endpoints.kmip_clients import NotAdmitted
from services.kms.objects import request_checks, request_types
from services.kms.objects.request_types import CoreOperation as Asking
from services.kms.objects.request_types import CoreRequest, Create, Created, Get, Got, GotKey
from services.kms.operations import core as immediate
from services.kms.operations.batches import Continuation, Item
from services.kms.operations.core import KeyServerCore, storage_refusal
from services.kms.operations.execution import VERSIONS
from services.runtime.ports import Clock
from services.runtime.streams import DeferredAnswer

HandOn = Callable[[KeyServerCaller, Sequence[CoreRequest[Any]], bytes], Awaitable[bytes | None]]
HEADER_LIMIT: Final = 4096
"""Bytes of a header that are searched for the version of an invalid message."""
_GET: Final = encode(TtlvItem(Tag.OPERATION, Type.ENUMERATION, Operation.GET))
"""A part of each message that asks for a key."""
_CREATE: Final = encode(TtlvItem(Tag.OPERATION, Type.ENUMERATION, Operation.CREATE))
_ITEM: Final = (Tag.BATCH_ITEM << 8 | Type.STRUCTURE).to_bytes(4)
_ATTRIBUTE: Final = (Tag.ATTRIBUTE << 8 | Type.STRUCTURE).to_bytes(4)
_FACTS: Final = 3
"""Attributes of every Create: algorithm, length, usage mask."""


def may_be_plain_create(data: bytes) -> bool:
    """Whether an undecoded message looks like a Create of one key without attributes."""
    return (
        len(data) <= LARGEST
        and _CREATE in data
        and data.count(_ATTRIBUTE) <= _FACTS
        and data.count(_ITEM) == 1
    )


class Messages:
    """Answers messages by asking ``core``; ``clock`` stamps the answers.

    ``login``: the user name and password that clients must show besides their certificates; None:
    none is required. ``hand_on``: forwards a message with changes to the server that takes changes
    instead of this one. ``limit``: largest answer in bytes, whatever a client accepts.
    """

    def __init__(
        self,
        core: KeyServerCore,
        clock: Clock,
        login: Login | None = None,
        *,
        hand_on: HandOn | None = None,
        limit: int = SIZE_LIMIT,
    ) -> None:
        self._core, self._clock, self._login = core, clock, login
        self._hand_on, self._limit = hand_on, limit
        self._forms = Forms()

    async def answer(self, caller: KeyServerCaller, data: bytes) -> bytes:
        """The answer to a message of ``caller``, whatever its bytes are."""
        try:
            message = decode_request(data)
        except KmipError as error:
            return self.encode_refusal(RefusedMessage(error.reason, str(error), _version_in(data)))
        try:
            option = check_message(message)
            why = "" if self._login is None else credential_refusal(message, self._login)
            if why:
                await self._record_attempt(caller)
                version = message.request_header.protocol_version
                raise RefusedMessage(ResultReason.AUTHENTICATION_NOT_SUCCESSFUL, why, version)
        except RefusedMessage as refusal:
            return self.encode_refusal(refusal)
        minor = _minor(message.request_header)
        requests = [request_of(item, minor) for item in message.batch_item]
        if size := self._oversize(message, requests, data):
            text = _too_large(size, self._most(message.request_header))
            reason = ResultReason.RESPONSE_TOO_LARGE
            items = [failure_item(item, reason, text) for item in message.batch_item]
            return self._encode_answer(message.request_header, items)
        try:
            handed = await self._hand_on_changes(caller, requests, data)
            if handed is not None:
                return handed
            items = await self._items(caller, message, requests, option)
        except ProductError as error:
            reason = reason_of(error, minor)
            items = [failure_item(item, reason, str(error)) for item in message.batch_item]
        return self._encode_answer(message.request_header, items)

    def at_once(self, caller: KeyServerCaller, data: bytes) -> bytes | DeferredAnswer | None:
        """As ``answer``, for a Get that needs no wait, or a Create, whose answer follows. None:
        nothing happened, and ``answer`` must be called."""
        if may_be_plain_create(data):
            return self._create_at_once(caller, data)
        if self._core.readings is None or len(data) > LARGEST or _GET not in data:
            return None
        known = self._forms.find(data)
        found = known or self._plain(data)
        if found is None:
            return None
        form, key_id = found
        key = immediate.get_at_once(self._core, caller, KeyId(key_id))
        if key is None:
            return None
        # Only learnt for a caller that gets a key: others must not displace known forms.
        if known is None:
            self._forms.learn(data, form)
        answer = form.answer(key, int(self._clock.now()))
        if answer is None:
            message = form.message
            answer = self._encode_answer(message.request_header, _get_items(message, key))
        return answer

    def _single(self, data: bytes) -> tuple[RequestMessage, CoreRequest[Any]] | None:
        """A message of one item, and the core's request; None: there are others, or it is refused
        whatever the item is."""
        try:
            message = decode_request(data)
            check_message(message)
        except (KmipError, RefusedMessage):
            return None
        [item, *others] = message.batch_item
        if others or (self._login and credential_refusal(message, self._login)):
            return None
        return message, request_of(item, _minor(message.request_header))

    def _plain(self, data: bytes) -> tuple[GetForm, str] | None:
        """The form of a Get of one key in clear, and the key; None: it is another message, or
        refused whatever the key is."""
        found = self._single(data)
        if found is None:
            return None
        message, request = found
        if not isinstance(request, Get) or request.wrapping or not request.unique_identifiers:
            return None
        header = message.request_header

        def write(key: GotKey, stamp: int) -> bytes:
            items = _get_items(message, key)
            return encode_response(self._message(header.protocol_version, items, stamp))

        return GetForm(message, write, self._most(header)), request.unique_identifiers[0]

    def _create_at_once(self, caller: KeyServerCaller, data: bytes) -> DeferredAnswer | None:
        """The part of ``at_once`` that makes a key."""
        found = self._plain_create(data)
        if found is None:
            return None
        message, request = found
        later = DeferredAnswer()

        def over(key_id: KeyId, error: BaseException | None) -> None:
            answer: bytes | BaseException
            try:
                answer = self._answer_create(message, key_id, error)
            except Exception as defect:  # connections of others must continue
                answer = defect
            later.set(answer)

        return later if immediate.making(self._core, caller, request, over) else None

    def _answer_create(
        self, message: RequestMessage, key_id: KeyId, error: BaseException | None
    ) -> bytes | BaseException:
        """Answer when the key is durable, or when it is unknown whether it is."""
        [item], header = message.batch_item, message.request_header
        if error is None:
            made = Item(Created(unique_identifier=key_id, state=KmipState.PRE_ACTIVE))
            return self._encode_answer(header, [outcome(item, made, _minor(header))])
        if isinstance(error, OSError):
            error = storage_refusal(error)
        if not isinstance(error, ProductError):
            return error
        return self._encode_answer(
            header, [failure_item(item, reason_of(error, _minor(header)), str(error))]
        )

    def _plain_create(self, data: bytes) -> tuple[RequestMessage, Create] | None:
        """The Create of one key without attributes in this message; None for another message, or
        one that is refused whoever sends it."""
        found = self._single(data)
        if found is None:
            return None
        message, request = found
        if not isinstance(request, Create) or request.attributes or request_checks.flaw(request):
            return None
        return None if self._oversize(message, (request,), data) else (message, request)

    async def answer_not_admitted(self, refusal: NotAdmitted) -> bytes:
        """The answer to a client that is not admitted; the attempt is recorded in the trail."""
        await self._record_attempt(refusal.caller)
        reason = ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
        if refusal.unknown:
            reason = ResultReason.PERMISSION_DENIED
        return self.encode_refusal(RefusedMessage(reason, str(refusal)))

    async def _record_attempt(self, caller: KeyServerCaller) -> None:
        """Record in the trail that a client was turned away, if the trail can be written."""
        with suppress(ProductError):
            await self._core.admit(caller, Asking.ADMIT)

    async def _hand_on_changes(
        self, caller: KeyServerCaller, requests: Sequence[CoreRequest[Any]], data: bytes
    ) -> bytes | None:
        """The answer of the server that takes changes; None when this server answers."""
        if self._hand_on is None or CHANGING.isdisjoint(one.operation for one in requests):
            return None
        return await self._hand_on(caller, requests, data)

    def encode_refusal(self, refusal: RefusedMessage) -> bytes:
        """The answer to a message that is refused as a whole."""
        item = failure_item(None, refusal.reason, str(refusal))
        return encode_response(self._message(refusal.version, [item]))

    async def _items(
        self,
        caller: KeyServerCaller,
        message: RequestMessage,
        requests: Sequence[CoreRequest[Any]],
        option: Continuation,
    ) -> list[ResponseItem]:
        done = await self._core.process(caller, requests, option)
        items, minor = message.batch_item, _minor(message.request_header)
        return [outcome(item, out, minor) for item, out in zip(items, done, strict=False)]

    def _message(
        self, version: ProtocolVersion, items: Sequence[ResponseItem], stamp: int | None = None
    ) -> ResponseMessage:
        now = int(self._clock.now()) if stamp is None else stamp
        header = ResponseHeader(protocol_version=version, time_stamp=now, batch_count=len(items))
        return ResponseMessage(response_header=header, batch_item=tuple(items))

    def _encode_answer(self, header: RequestHeader, items: list[ResponseItem]) -> bytes:
        version, data, most = header.protocol_version, b"", self._most(header)
        with suppress(KmipError):
            data = encode_response(self._message(version, items))
        return data if 0 < len(data) <= most else self._encode_reduced(version, items, most)

    def _oversize(
        self, message: RequestMessage, requests: Sequence[CoreRequest[Any]], data: bytes
    ) -> int:
        """The size in bytes of an answer that would be too large to changes; else 0."""
        most = self._most(message.request_header)
        if len(data) + ANSWER_MORE * len(requests) <= most:
            return 0
        size = least(message, requests, lambda items: _size(*items))
        return size if size > most else 0

    def _most(self, header: RequestHeader) -> int:
        """The largest size of an answer in bytes."""
        return min(header.maximum_response_size or self._limit, self._limit)

    def _encode_reduced(
        self, version: ProtocolVersion, items: list[ResponseItem], most: int
    ) -> bytes:
        """Replace the largest answers by refusals until the message fits. Answers to changes stay:
        the client must learn what was done."""
        none = _size()
        sizes = [_size(item) - none for item in items]
        size = none + sum(sizes)
        text = _too_large(size, most)
        left = list(items)
        for place in sorted(range(len(items)), key=lambda place: -sizes[place]):
            gives_way = items[place].operation not in CHANGES
            if size > most and gives_way and items[place].response_payload is not None:
                left[place] = failure_item(items[place], ResultReason.RESPONSE_TOO_LARGE, text)
                size += _size(left[place]) - none - sizes[place]
        if size > SIZE_LIMIT:
            return self.encode_refusal(
                RefusedMessage(ResultReason.RESPONSE_TOO_LARGE, text, version)
            )
        return encode_response(self._message(version, left))


def _version_in(data: bytes) -> ProtocolVersion:
    """The version in an invalid message, if it can be found.

    Only its header is searched: a megabyte of garbage may follow.
    """
    header = data[HEAD : HEAD + HEADER_LIMIT]
    try:
        whole = header[: HEAD + int.from_bytes(header[4:8])]
        major, minor = [one.value for one in parse(whole).items()[0].items()]
    except (KmipError, IndexError, ValueError):
        return NEWEST
    found = f"{major}.{minor}"
    return version_of(found) if found in VERSIONS else NEWEST


def _minor(header: RequestHeader) -> int:
    return header.protocol_version.protocol_version_minor


def _size(*items: ResponseItem) -> int:
    """Bytes of a message with these items; above the limit when it cannot be encoded."""
    header = ResponseHeader(protocol_version=NEWEST, time_stamp=0, batch_count=len(items))
    try:
        return len(encode_response(ResponseMessage(response_header=header, batch_item=items)))
    except KmipError:
        return SIZE_LIMIT + 1


def _too_large(size: int, most: int) -> str:
    amount = f"{size} bytes" if size <= SIZE_LIMIT else "more than a message holds"
    return f"the answer has {amount}; at most {most} are taken"


def _get_items(message: RequestMessage, key: GotKey) -> list[ResponseItem]:
    """The answer to a Get of one key."""
    [item] = message.batch_item
    minor = _minor(message.request_header)
    return [outcome(item, Item(Got(keys=(key,))), minor)]


# ---- the credential in a header ------------------------------------------------------------------
# It is judged when the server requires one:
#
# | operation | without a credential | with a wrong one |
# |---|---|---|
# | Discover Versions, Query, Get Attributes, Get Attribute List | done | refused |
# | Add Attribute of a name that begins with ``x-`` | done | refused |
# | any other | refused | refused |
#
# vCenter sends the first rows without its user name even where it has one: it asks for versions and
# tags keys. Other attributes change what a key is good for, such as its dates. Certificate and role
# are judged in any case.

_BARE: Final = frozenset(
    {
        Operation.DISCOVER_VERSIONS,
        Operation.QUERY,
        Operation.GET_ATTRIBUTES,
        Operation.GET_ATTRIBUTE_LIST,
    }
)
_TAG: Final = "x-"
"""The prefix of names that clients invent (KMIP 1.4 section 3.39)."""


def credential_refusal(message: RequestMessage, wanted: Login) -> str:
    """Why the message is refused; empty when it is not."""
    authentication = message.request_header.authentication
    shown = () if authentication is None else authentication.credential
    if not shown:
        bare = all(item.operation in _BARE or _tags(item) for item in message.batch_item)
        return "" if bare else "a user name and a password are wanted"
    for credential in shown:
        value = credential.credential_value
        if isinstance(value, UsernameAndPassword) and _is(value, wanted):
            return ""
    return "the user name or the password is another one"


def _tags(item: RequestItem) -> bool:
    payload = item.request_payload
    return isinstance(payload, AddAttributeRequest) and payload.attribute.attribute_name.startswith(
        _TAG
    )


def _is(value: UsernameAndPassword, wanted: Login) -> bool:
    return value.username == wanted.username and value.password == wanted.password


# ---- the least size of an answer -----------------------------------------------------------------
# It is known before a message is executed. A change is never made and then reported as failed
# because its answer is larger than the client accepts (Maximum Response Size): such a message is
# refused before. Answers to questions are replaced by a refusal, which changes nothing.

CHANGES: Final = frozenset(
    code for code in SPOKEN if Operation(code).name in {one.name for one in CHANGING}
)
"""Operations of KMIP that change stored objects."""
LONGEST_ID: Final = "f" * 36
"""As long as the Unique Identifiers that are drawn here (``services.kms.objects.identifiers``)."""
ANSWER_MORE: Final = 320
"""How many bytes the answer to an item is larger than the item, at most."""
_TEXT: Final = "the answer has 1000000 bytes; at most 1000000 are taken"


class _Done(NamedTuple):
    """The parts of an answer to a change that determine its size."""

    unique_identifier: str
    attribute: core.Attribute | None


def least(
    message: RequestMessage,
    requests: Sequence[CoreRequest[Any]],
    size_of: Callable[[Sequence[ResponseItem]], int],
) -> int:
    """The size in bytes of the answer in which all changes succeed, and everything else is replaced
    by a refusal; 0 for a message without changes. A new attribute is counted with an index, a
    deleted one without its value."""
    if all(request.operation not in CHANGING for request in requests):
        return 0
    minor = message.request_header.protocol_version.protocol_version_minor
    expected = []
    for item, request in zip(message.batch_item, requests, strict=True):
        if request.operation in CHANGING:
            expected.append(outcome(item, Item(_build_done(request)), minor))  # type: ignore[arg-type]
        else:
            expected.append(failure_item(item, ResultReason.RESPONSE_TOO_LARGE, _TEXT))
    return size_of(expected)


def _build_done(request: CoreRequest[Any]) -> _Done:
    attribute: core.Attribute | None = getattr(request, "attribute", None)
    if attribute is not None:
        attribute = msgspec.structs.replace(attribute, index=attribute.index or 1)
    elif isinstance(request, request_types.DeleteObjectAttribute):
        attribute = core.Attribute(name=request.name, value="", index=request.index)
    return _Done(getattr(request, "unique_identifier", None) or LONGEST_ID, attribute)
