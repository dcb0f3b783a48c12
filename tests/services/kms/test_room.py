"""A change is done and told, or neither: whatever the largest answer is that a client takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from protocol.kmip import payloads as p
from protocol.kmip.enums import Operation, ResultReason, ResultStatus
from protocol.kmip.fields import Fields
from protocol.kmip.message import ResponseItem, decode_response, encode_request
from protocol.kmip.objects import Attribute
from services.kms.endpoints.kmip.messages import CHANGES
from services.kms.endpoints.kmip.operations import SPOKEN
from services.runtime.streams import DeferredAnswer
from tests.services.kms.core_rig import OWNER
from tests.services.kms.kmip_rig import Client, message, new_key, reason
from tests.services.kms.ports import Server

CONTACT = Attribute(attribute_name="Contact Information", attribute_value="somebody")
TOO_LARGE = ResultReason.RESPONSE_TOO_LARGE


async def located(client: Client) -> int | None:
    return (await client.ask(p.LocateRequest(), p.LocateResponse)).located_items


async def bytes_of(client: Client, *payloads: Fields, **header: Any) -> bytes:
    """The answer to these, done."""
    request = encode_request(message(*payloads, **header))
    return await client._messages.answer(client.caller, request)


async def test_a_key_whose_answer_does_not_fit_is_not_made(server: Server) -> None:
    client = Client(server)
    size = len(await bytes_of(client, new_key(), maximum_response_size=10_000))
    for most, made in ((size, 2), (size - 1, 2), (100, 2), (1, 2), (0, 3)):
        [item] = await client.items(new_key(), maximum_response_size=most)
        if most in (size, 0):  # 0 says nothing
            assert item.result_status is ResultStatus.SUCCESS
        else:
            assert reason(item) is TOO_LARGE and item.operation is Operation.CREATE
            assert f"the answer has {size} bytes" in str(item.result_message)
        assert await located(client) == made, most


async def test_a_key_that_is_made_without_a_task_neither(server: Server) -> None:
    """Clients that ask alike are answered by a pattern of what they ask."""
    client = Client(server)

    def at_once(most: int) -> bytes | DeferredAnswer | None:
        data = encode_request(message(new_key(), maximum_response_size=most))
        return client._messages.at_once(OWNER, data)

    size = len(await bytes_of(client, new_key(), maximum_response_size=10_000))
    assert at_once(size - 1) is None, "it is read, and refused"
    assert isinstance(at_once(size), DeferredAnswer)


Changing = Callable[[str], Fields]
CHANGED: dict[str, Changing] = {
    "Activate": lambda key: p.ActivateRequest(unique_identifier=key),
    "Destroy": lambda key: p.DestroyRequest(unique_identifier=key),
    "Re-key": lambda key: p.ReKeyRequest(unique_identifier=key),
    "Add Attribute": lambda key: p.AddAttributeRequest(
        unique_identifier=key,
        attribute=Attribute(attribute_name="x-mine", attribute_value="a" * 100),
    ),
    "Modify Attribute": lambda key: p.ModifyAttributeRequest(
        unique_identifier=key,
        attribute=Attribute(attribute_name="Contact Information", attribute_value="another"),
    ),
    "Delete Attribute": lambda key: p.DeleteAttributeRequest(
        unique_identifier=key, attribute_name="Contact Information"
    ),
}


@pytest.mark.parametrize("change", CHANGED)
async def test_what_does_not_fit_changes_nothing(server: Server, change: str) -> None:
    client = Client(server)
    key = await client.made(CONTACT)

    async def now() -> tuple[p.GetAttributesResponse, int | None]:
        asked = p.GetAttributesRequest(unique_identifier=key)
        return await client.ask(asked, p.GetAttributesResponse), await located(client)

    before, payload = await now(), CHANGED[change](key)
    assert await client.refused(payload, maximum_response_size=150) is TOO_LARGE
    assert await now() == before
    answer = await bytes_of(client, payload, maximum_response_size=400)
    [item] = decode_response(answer).batch_item
    assert item.result_status is ResultStatus.SUCCESS and 150 < len(answer) <= 400
    assert await now() != before


async def test_of_several_none_is_done_that_could_not_be_told(server: Server) -> None:
    client = Client(server)
    both = len(await bytes_of(client, new_key(), new_key(), maximum_response_size=10_000))
    items = await client.items(new_key(), new_key(), maximum_response_size=both - 1)
    assert [reason(item) for item in items] == [TOO_LARGE] * 2
    assert await located(client) == 2
    items = await client.items(new_key(), new_key(), maximum_response_size=both)
    assert [item.result_status for item in items] == [ResultStatus.SUCCESS] * 2


async def test_questions_give_way_to_changes_and_change_nothing_by_it(server: Server) -> None:
    client = Client(server)
    key = await client.made()
    made, got = await client.items(
        new_key(), p.GetRequest(unique_identifier=key), maximum_response_size=450
    )
    assert (made.result_status, reason(got)) == (ResultStatus.SUCCESS, TOO_LARGE)
    assert await located(client) == 2


async def test_a_value_that_was_deleted_is_told_even_if_it_does_not_fit(server: Server) -> None:
    """Nobody knows its size before; a failure would be a lie."""
    client = Client(server)
    long = Attribute(attribute_name="x-long", attribute_value="a" * 1000)
    key = await client.made(long)
    deleted = p.DeleteAttributeRequest(unique_identifier=key, attribute_name="x-long")
    [item] = await client.items(deleted, maximum_response_size=400)
    assert item.result_status is ResultStatus.SUCCESS


async def test_more_than_a_message_holds_is_not_begun(server: Server) -> None:
    """Also without a word of the client: the door has a limit of its own."""
    client = Client(server)
    client._messages._limit = 1000
    items: list[ResponseItem] = await client.items(*[new_key() for _ in range(20)])
    assert {reason(item) for item in items} == {TOO_LARGE}
    assert await located(client) == 0


def test_every_change_of_the_wire_is_known_as_one() -> None:
    assert {Operation(code) for code in CHANGES} == {
        *(Operation.CREATE, Operation.REGISTER, Operation.RE_KEY),
        *(Operation.ACTIVATE, Operation.REVOKE, Operation.DESTROY),
        *(Operation.ADD_ATTRIBUTE, Operation.MODIFY_ATTRIBUTE, Operation.DELETE_ATTRIBUTE),
        Operation.GET_USAGE_ALLOCATION,
    }
    assert set(cast(Any, SPOKEN)) > CHANGES
