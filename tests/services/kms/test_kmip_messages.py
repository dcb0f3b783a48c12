"""Messages of KMIP: headers, batches, what is refused as a whole and what in its turn."""

from __future__ import annotations

from importlib import metadata

import pytest

from protocol import terms
from protocol.errors import REGISTRY
from protocol.kmip import payloads as p
from protocol.kmip.algorithms import RNGAlgorithm
from protocol.kmip.enums import (
    BatchErrorContinuationOption,
    ObjectType,
    Operation,
    QueryFunction,
    ResultReason,
    ResultStatus,
    State,
)
from protocol.kmip.fields import Unread
from protocol.kmip.message import (
    Authentication,
    Credential,
    MessageExtension,
    RequestItem,
    ResponseMessage,
    encode_request,
    encode_response,
)
from protocol.kmip.objects import Attribute, Name, ProtocolVersion, RNGParameters
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type
from services.kms.access.authorization import KeyServerCaller
from services.kms.endpoints.kmip import messages
from services.kms.endpoints.kmip.items import NEWEST, REASONS
from services.kms.endpoints.kmip.messages import _version_in
from services.kms.endpoints.kmip.operations import SPOKEN
from services.kms.objects.request_checks import ITEMS_LIMIT
from tests.services.kms.core_rig import OWNER, STRANGER
from tests.services.kms.kmip_rig import Client, message, new_key, reason, version
from tests.services.kms.ports import Server

NAME = Attribute(attribute_name="Name", attribute_value=Name(name_value="k", name_type=1))
NOBODY = KeyServerCaller("nobody", None, "")


def unread(tag: Tag) -> Unread:
    """An empty structure, as the codec has one that it cannot read."""
    return Unread(TtlvItem(tag, Type.STRUCTURE, ()), ResultReason.INVALID_MESSAGE, "")


def test_no_error_lacks_a_reason() -> None:
    assert set(REASONS) == set(terms.ResultReason)
    for error in REGISTRY.values():
        assert REASONS[error.reason] in ResultReason
    for mine, theirs in REASONS.items():
        if mine is not terms.ResultReason.WRONG_KEY_LIFECYCLE_STATE:
            assert mine.name == theirs.name.replace("OUTOF", "OUT_OF")


def test_the_table_has_every_payload_that_the_codec_reads() -> None:
    assert set(SPOKEN) == set(p.PAYLOADS)


@pytest.mark.parametrize("minor", range(5))
async def test_the_answer_is_of_the_version_of_its_request(server: Server, minor: int) -> None:
    server.clock.wall = 1_700_000_000.75
    answer = await Client(server).send(message(new_key(), minor=minor))
    assert answer.response_header.protocol_version == version(minor)
    assert answer.response_header.time_stamp == 1_700_000_000
    assert answer.batch_item[0].result_status is ResultStatus.SUCCESS


@pytest.mark.parametrize(("major", "minor"), [(1, 5), (2, 0), (0, 9), (3, 0)])
async def test_a_version_that_is_not_spoken_is_answered_with_one_that_is(
    server: Server, major: int, minor: int
) -> None:
    strange = ProtocolVersion(protocol_version_major=major, protocol_version_minor=minor)
    answer = await Client(server).send(message(p.GetRequest(), protocol_version=strange))
    assert answer.response_header.protocol_version == version(4)
    [item] = answer.batch_item
    assert item.operation is None
    assert reason(item) is ResultReason.INVALID_MESSAGE
    assert "1.4, 1.3" in str(item.result_message)


async def test_what_is_no_message_is_answered_without_an_operation(server: Server) -> None:
    data = encode_request(message(new_key()))
    for broken in (b"", data[:-8], data + data, b"GET / HTTP/1.1\r\n\r\n", bytes(64)):
        [item] = (await Client(server).bytes(broken)).batch_item
        assert item.operation is None
        assert reason(item) is ResultReason.INVALID_MESSAGE


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ({"asynchronous_indicator": True}, ResultReason.FEATURE_NOT_SUPPORTED),
        ({"batch_error_continuation_option": 9}, ResultReason.INVALID_FIELD),
        ({"batch_error_continuation_option": 0x80000001}, ResultReason.INVALID_MESSAGE),
    ],
)
async def test_headers_that_are_refused(
    server: Server, header: dict[str, object], wanted: ResultReason
) -> None:
    answer = await Client(server).send(message(new_key(), minor=2, **header))
    assert answer.response_header.protocol_version == version(2)
    [item] = answer.batch_item
    assert item.operation is None
    assert reason(item) is wanted
    found = await Client(server).ask(p.LocateRequest(), p.LocateResponse)
    assert found.located_items == 0


async def test_a_destroyed_key_gives_its_name_free_and_is_found_only_as_destroyed(
    server: Server,
) -> None:
    client = Client(server)
    first = await client.made(NAME)
    await client.ask(p.DestroyRequest(unique_identifier=first), p.DestroyResponse)

    async def located(*wanted: Attribute) -> tuple[str, ...]:
        return (
            await client.ask(p.LocateRequest(attribute=wanted), p.LocateResponse)
        ).unique_identifier

    assert await located() == await located(NAME) == ()
    second = await client.made(NAME)
    assert await located() == await located(NAME) == (second,)
    destroyed = Attribute(attribute_name="State", attribute_value=State.DESTROYED)
    assert await located(destroyed) == await located(NAME, destroyed) == (first,)
    since = [Attribute(attribute_name="Destroy Date", attribute_value=date) for date in (0, 2**40)]
    assert await located(*since) == (first,)
    identifier = Attribute(attribute_name="Unique Identifier", attribute_value=first)
    assert await located(identifier) == (first,)
    active = Attribute(attribute_name="State", attribute_value=State.PRE_ACTIVE)
    assert await located(active) == (second,)


async def test_a_name_is_free_within_the_message_that_destroys_its_key(server: Server) -> None:
    client = Client(server)
    first = await client.made(NAME)
    destroyed, made, found = await client.items(
        p.DestroyRequest(unique_identifier=first), new_key(NAME), p.LocateRequest(attribute=(NAME,))
    )
    assert destroyed.result_status is made.result_status is ResultStatus.SUCCESS
    assert isinstance(made.response_payload, p.CreateResponse)
    assert isinstance(found.response_payload, p.LocateResponse)
    assert found.response_payload.unique_identifier == (made.response_payload.unique_identifier,)


async def test_a_message_without_items_is_refused(server: Server) -> None:
    [item] = await Client(server).items()
    assert reason(item) is ResultReason.INVALID_MESSAGE


@pytest.mark.parametrize("ids", [(b"1", b"1"), (b"1", None), (None, None)])
async def test_items_of_a_batch_have_ids_of_their_own(
    server: Server, ids: tuple[bytes | None, ...]
) -> None:
    items = [
        RequestItem(operation=Operation.CREATE, unique_batch_item_id=one, request_payload=new_key())
        for one in ids
    ]
    [item] = await Client(server).items(*items)
    assert reason(item) is ResultReason.INVALID_MESSAGE
    assert (await Client(server).ask(p.LocateRequest(), p.LocateResponse)).located_items == 0


async def test_a_credential_that_cannot_be_read_is_refused(server: Server) -> None:
    value = unread(Tag.CREDENTIAL_VALUE)
    told = Authentication(
        credential=(Credential(credential_type=0x80000001, credential_value=value),)
    )
    [item] = await Client(server).items(new_key(), authentication=told)
    assert reason(item) is ResultReason.AUTHENTICATION_NOT_SUCCESSFUL


async def test_an_operation_that_is_not_built_spoils_nothing_else(server: Server) -> None:
    payload = unread(Tag.REQUEST_PAYLOAD)
    for operation in (Operation.ARCHIVE, Operation.SIGN, 0x99):
        items = await Client(server).items(
            RequestItem(operation=operation, unique_batch_item_id=b"1", request_payload=payload),
            RequestItem(
                operation=Operation.CREATE, unique_batch_item_id=b"2", request_payload=new_key()
            ),
            batch_error_continuation_option=BatchErrorContinuationOption.CONTINUE,
        )
        assert [item.unique_batch_item_id for item in items] == [b"1", b"2"]
        assert items[0].operation == operation
        assert reason(items[0]) is ResultReason.OPERATION_NOT_SUPPORTED
        assert items[1].result_status is ResultStatus.SUCCESS


@pytest.mark.parametrize("critical", [True, False])
async def test_an_extension_that_is_critical_is_refused(server: Server, critical: bool) -> None:
    extension = MessageExtension(
        vendor_identification="x",
        criticality_indicator=critical,
        vendor_extension=TtlvItem(Tag.VENDOR_EXTENSION, Type.STRUCTURE, ()),
    )
    item = RequestItem(
        operation=Operation.CREATE, request_payload=new_key(), message_extension=extension
    )
    [answer] = await Client(server).items(item)
    if critical:
        assert reason(answer) is ResultReason.FEATURE_NOT_SUPPORTED
    else:
        assert answer.result_status is ResultStatus.SUCCESS


@pytest.mark.parametrize(
    ("option", "statuses", "kept"),
    [
        (BatchErrorContinuationOption.CONTINUE, [0, 1, 0], 2),
        (BatchErrorContinuationOption.STOP, [0, 1], 1),
        (None, [0, 1], 1),
        (BatchErrorContinuationOption.UNDO, [3, 1], 0),
    ],
)
@pytest.mark.parametrize(
    "failing",
    [p.GetRequest(unique_identifier="nobody's"), p.GetAttributesRequest(unique_identifier="none")],
)
async def test_what_follows_a_failed_item(
    server: Server,
    option: BatchErrorContinuationOption | None,
    statuses: list[int],
    kept: int,
    failing: p.GetRequest | p.GetAttributesRequest,
) -> None:
    items = await Client(server).items(
        new_key(), failing, new_key(), batch_error_continuation_option=option
    )
    assert [item.result_status for item in items] == statuses
    assert reason(items[1]) is ResultReason.ITEM_NOT_FOUND
    assert (await Client(server).ask(p.LocateRequest(), p.LocateResponse)).located_items == kept


async def test_the_placeholder_is_what_was_made_or_found(server: Server) -> None:
    client = Client(server)
    *_, got = await client.items(new_key(NAME), p.GetAttributeListRequest(), p.GetRequest())
    assert isinstance(got.response_payload, p.GetResponse)
    _, again = await client.items(p.LocateRequest(attribute=(NAME,)), p.GetRequest())
    assert isinstance(again.response_payload, p.GetResponse)
    assert again.response_payload == got.response_payload
    await client.made()
    oldest = p.LocateRequest(maximum_items=1, offset_items=1)
    _, one = await client.items(oldest, p.GetRequest())
    assert one.response_payload == got.response_payload
    _, none = await client.items(p.LocateRequest(), p.GetRequest())
    assert reason(none) is ResultReason.ITEM_NOT_FOUND
    assert await client.refused(p.GetRequest()) is ResultReason.ITEM_NOT_FOUND


async def test_an_attribute_that_kmip_does_not_have_is_not_sought(server: Server) -> None:
    """KMIP 1.4 section 11.10; one that no key here has finds none, and so does a client's own."""
    client = Client(server)
    await client.made()

    def locate(name: str) -> p.LocateRequest:
        value = TtlvItem(Tag.ATTRIBUTE_VALUE, Type.TEXT_STRING, "1")
        return p.LocateRequest(attribute=(Attribute(attribute_name=name, attribute_value=value),))

    for unknown in ("nonsense", "", "X-a", "name"):
        assert await client.refused(locate(unknown)) is ResultReason.INVALID_FIELD
    for known in ("x-a", "y-a"):
        assert (await client.ask(locate(known), p.LocateResponse)).unique_identifier == ()


@pytest.mark.parametrize("minor", range(5))
async def test_the_newest_is_found_first_since_1_4(server: Server, minor: int) -> None:
    """Also of keys that the same message makes."""
    client = Client(server, minor=minor)
    keys = [await client.made() for _ in range(2)]
    two = p.LocateRequest(maximum_items=2)
    *_, found = await client.items(new_key(), new_key(), p.LocateRequest(), two)
    every = await client.ask(p.LocateRequest(), p.LocateResponse)
    assert isinstance(found.response_payload, p.LocateResponse)
    assert found.response_payload.unique_identifier == every.unique_identifier[:2]
    oldest = [one for one in every.unique_identifier if one in keys]
    assert oldest == (keys if minor < 4 else keys[::-1])


async def test_an_answer_that_is_too_large_gives_way(server: Server) -> None:
    client = Client(server)
    for _ in range(20):
        await client.made()
    request = p.LocateRequest()
    [item] = await client.items(request, maximum_response_size=256)
    assert item.operation is Operation.LOCATE
    assert reason(item) is ResultReason.RESPONSE_TOO_LARGE
    small, large = await client.items(new_key(), request, maximum_response_size=600)
    assert small.result_status is ResultStatus.SUCCESS
    assert reason(large) is ResultReason.RESPONSE_TOO_LARGE
    [fits] = await client.items(request, maximum_response_size=1280)
    assert fits.result_status is ResultStatus.SUCCESS


async def test_many_answers_that_are_too_large_give_way_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One small message is no way to keep a server busy: each answer is measured a few times."""
    client, encoded = Client(server), list[int]()
    request = p.GetAttributesRequest(unique_identifier=await client.made())

    def counted(answer: ResponseMessage) -> bytes:
        encoded.append(len(answer.batch_item))
        return encode_response(answer)

    monkeypatch.setattr(messages, "encode_response", counted)
    found = await client.items(*[request] * 100, maximum_response_size=64)
    assert {reason(item) for item in found} == {ResultReason.RESPONSE_TOO_LARGE}
    assert sum(encoded) <= 100 * 4


async def test_a_message_of_too_many_items_is_refused_as_a_whole(server: Server) -> None:
    """Refused one by one, their answers would be more than a message holds."""
    client = Client(server)
    items = [
        RequestItem(
            operation=Operation.GET,
            unique_batch_item_id=number.to_bytes(4),
            request_payload=p.GetRequest(),
        )
        for number in range(20_000)
    ]
    [item] = (await client.send(message(*items))).batch_item
    assert (item.operation, reason(item)) == (None, ResultReason.INVALID_MESSAGE)
    assert len((await client.send(message(*items[:ITEMS_LIMIT]))).batch_item) == 1  # Stop


async def test_attributes_that_nobody_has_are_left_out(server: Server) -> None:
    client = Client(server)
    key = await client.made()
    asked = p.GetAttributesRequest(unique_identifier=key, attribute_name=("x-Vendor", "Moon Phase"))
    found = await client.ask(asked, p.GetAttributesResponse)
    assert (found.unique_identifier, found.attribute) == (key, ())


async def test_versions_are_those_that_both_speak(server: Server) -> None:
    client = Client(server)
    found = await client.ask(p.DiscoverVersionsRequest(), p.DiscoverVersionsResponse)
    assert found.protocol_version == tuple(version(minor) for minor in (4, 3, 2, 1, 0))
    two = ProtocolVersion(protocol_version_major=2, protocol_version_minor=0)
    given = p.DiscoverVersionsRequest(protocol_version=(version(0), two, version(3)))
    both = await client.ask(given, p.DiscoverVersionsResponse)
    assert both.protocol_version == (version(3), version(0))
    none = await client.ask(
        p.DiscoverVersionsRequest(protocol_version=(two,)), p.DiscoverVersionsResponse
    )
    assert none.protocol_version == ()


async def test_an_operation_that_is_not_built_is_named(server: Server) -> None:
    for operation, name in ((Operation.ARCHIVE, "Archive"), (0x2C, "operation 0x2C")):
        item = RequestItem(operation=operation, request_payload=p.QueryRequest())
        [found] = (await Client(server).send(message(item))).batch_item
        assert reason(found) is ResultReason.OPERATION_NOT_SUPPORTED
        assert found.result_message == f"{name} is not served here"


def test_the_version_of_what_is_no_message_is_read_of_its_header_alone() -> None:
    """A megabyte of rubbish behind it is not looked at once more."""
    data = encode_request(message(p.QueryRequest(), minor=2))
    rubbish = bytes([0x42, 0, 0x0D, 9, 0, 0, 0, 0])
    assert _version_in(data[:-8] + rubbish) == version(2)
    assert _version_in(data[:40]) == NEWEST
    assert _version_in(b"") == NEWEST
    assert _version_in(data[:8] + rubbish * 20) == NEWEST


async def test_query_tells_what_is_so(server: Server) -> None:
    client = Client(server)
    told = await client.ask(p.QueryRequest(query_function=tuple(QueryFunction)), p.QueryResponse)
    assert set(told.operation) == set(SPOKEN)
    assert told.object_type == (ObjectType.SYMMETRIC_KEY,)
    assert told.vendor_identification == "keystead"
    assert told.server_information is not None
    [named] = told.server_information.items()
    assert named.value == f"keystead {metadata.version('keystead')}"
    [generator] = told.rng_parameters
    assert generator == RNGParameters(rng_algorithm=RNGAlgorithm.UNSPECIFIED)
    assert told.profile_information == ()
    assert [(one.tag, one.value) for one in told.capability_information[0].items()] == [
        (Tag.STREAMING_CAPABILITY, False),
        (Tag.ASYNCHRONOUS_CAPABILITY, False),
        (Tag.ATTESTATION_CAPABILITY, False),
        (Tag.BATCH_UNDO_CAPABILITY, True),
        (Tag.BATCH_CONTINUE_CAPABILITY, True),
        (Tag.UNWRAP_MODE, 1),
        (Tag.DESTROY_ACTION, 1),
        (Tag.SHREDDING_ALGORITHM, 1),
        (Tag.RNG_MODE, 1),
    ]


@pytest.mark.parametrize("minor", range(5))
async def test_query_tells_what_the_version_of_its_request_knows(
    server: Server, minor: int
) -> None:
    client = Client(server, minor=minor)
    told = await client.ask(p.QueryRequest(query_function=tuple(QueryFunction)), p.QueryResponse)
    later: dict[int, int] = {
        Operation.DISCOVER_VERSIONS: 1,
        Operation.ENCRYPT: 2,
        Operation.DECRYPT: 2,
    }
    assert set(told.operation) == {one for one in SPOKEN if later.get(one, 0) <= minor}
    assert told.server_information is not None
    assert len(told.rng_parameters) == (minor >= 3)
    fields = [len(one.items()) for one in told.capability_information]
    assert fields == {3: [7], 4: [9]}.get(minor, [])


async def test_query_without_a_function_is_no_message(server: Server) -> None:
    assert await Client(server).refused(p.QueryRequest()) is ResultReason.INVALID_MESSAGE


async def test_a_key_says_how_far_its_material_may_leave(server: Server) -> None:
    """Since KMIP 1.4, of every key; a name that is asked for is told alone."""
    key = await Client(server).made()
    told = {
        "Sensitive": False,
        "Always Sensitive": False,
        "Extractable": True,
        "Never Extractable": False,
    }
    for minor in (3, 4):
        client = Client(server, minor=minor)
        every = await client.ask(
            p.GetAttributesRequest(unique_identifier=key), p.GetAttributesResponse
        )
        found = {one.attribute_name: one.attribute_value for one in every.attribute}
        assert {name: found[name] for name in told if name in found} == (told if minor == 4 else {})
        some = p.GetAttributesRequest(
            unique_identifier=key, attribute_name=("Extractable", "State")
        )
        names = [
            one.attribute_name
            for one in (await client.ask(some, p.GetAttributesResponse)).attribute
        ]
        assert names == (["Extractable", "State"] if minor == 4 else ["State"])
        listed = p.GetAttributeListRequest(unique_identifier=key)
        names = list((await client.ask(listed, p.GetAttributeListResponse)).attribute_name)
        assert (set(told) <= set(names)) == (minor == 4)


async def test_texts_that_are_kept_with_a_key(server: Server) -> None:
    client = Client(server)
    texts = {"Operation Policy Name": "default", "Comment": "c", "Description": "d"}
    given = [Attribute(attribute_name=name, attribute_value=texts[name]) for name in texts]
    key = await client.made(*given)
    asked = p.GetAttributesRequest(unique_identifier=key, attribute_name=tuple(texts))
    found = (await client.ask(asked, p.GetAttributesResponse)).attribute
    assert {one.attribute_name: one.attribute_value for one in found} == texts


async def test_who_may_not(server: Server) -> None:
    key = await Client(server).made()
    other = Client(server, STRANGER)
    for payload in (
        p.GetRequest(unique_identifier=key),
        p.ActivateRequest(unique_identifier=key),
        p.DestroyRequest(unique_identifier=key),
        p.GetAttributesRequest(unique_identifier=key),
        p.AddAttributeRequest(unique_identifier=key, attribute=NAME),
    ):
        assert await other.refused(payload) is ResultReason.ITEM_NOT_FOUND
        assert await Client(server, NOBODY).refused(payload) is ResultReason.PERMISSION_DENIED
    for question in (p.DiscoverVersionsRequest(), p.QueryRequest(query_function=(1,))):
        assert await Client(server, NOBODY).refused(question) is ResultReason.PERMISSION_DENIED
    assert (await Client(server, OWNER).refused(p.GetRequest(unique_identifier="?"))) is (
        ResultReason.ITEM_NOT_FOUND
    )
