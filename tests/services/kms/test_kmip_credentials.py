"""A key server that wants a user name and a password beside the certificate."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from protocol.kmip import dialect
from protocol.kmip.dialect import Login
from protocol.kmip.enums import Operation, ResultReason, ResultStatus
from protocol.kmip.message import RequestMessage, decode_response, encode_request
from protocol.kmip.objects import Attribute
from protocol.kmip.payloads import PAYLOADS, AddAttributeRequest
from protocol.secret import KeyMaterial
from services.kms.access.authorization import KeyServerCaller
from services.kms.endpoints.kmip.messages import _BARE, Messages, credential_refusal
from services.kms.settings.config import KmsRole
from tests.services.kms.ports import Server

WANTED = Login("vc", KeyMaterial(b"secret"))
OWNER = KeyServerCaller("kmip/client", KmsRole.OWNER, "default")
TAG = dialect.add_tags("none", (("x-a", "1"), ("x-b", "2"), ("x-c", "3")))


async def asked(server: Server, request: RequestMessage) -> tuple[Any, str]:
    """Result Reason of the first item, and its message."""
    messages = Messages(server.service.core, cast(Any, server.clock), WANTED)
    answer = decode_response(await messages.answer(OWNER, encode_request(request)))
    item = answer.batch_item[0]
    if item.result_status is ResultStatus.SUCCESS:
        return None, ""
    return item.result_reason, item.result_message or ""


async def test_a_key_is_for_who_says_name_and_password(server: Server) -> None:
    assert await asked(server, dialect.create(WANTED)) == (None, "")
    none = ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
    reason, text = await asked(server, dialect.create())
    assert (reason, text) == (none, "a user name and a password are wanted")
    for other in (Login("vc", KeyMaterial(b"secre")), Login("VC", WANTED.password)):
        reason, text = await asked(server, dialect.create(other))
        assert (reason, text) == (none, "the user name or the password is another one")
        assert "secre" not in text


async def test_the_trail_has_who_was_turned_away(server: Server) -> None:
    """Somebody with a good certificate who guesses passwords would else leave no row."""
    await asked(server, dialect.create())
    await asked(server, dialect.get_state("none", Login("vc", KeyMaterial(b"guess"))))
    assert await asked(server, dialect.discover_versions()) == (None, "")
    rows = server.platter.sql("SELECT who, operation, result FROM audit")
    assert rows == [("kmip/client", "Admit", "Permission Denied")] * 2


async def test_what_vcenter_asks_without_it_is_done(server: Server) -> None:
    """It looks at versions, and tags keys; a wrong one is refused there, too."""
    assert await asked(server, dialect.discover_versions()) == (None, "")
    assert await asked(server, dialect.query()) == (None, "")
    for request in (dialect.get_tag("none", "x-a"), TAG):
        assert (await asked(server, request))[0] is ResultReason.ITEM_NOT_FOUND
    wrong = dialect.get_state("none", Login("vc", KeyMaterial(b"other")))
    assert (await asked(server, wrong))[0] is ResultReason.AUTHENTICATION_NOT_SUCCESSFUL


async def test_what_is_no_tag_of_vcenter_is_not_added_without_it(server: Server) -> None:
    """A date ends a key's use as Revoke does."""
    plain = Messages(server.service.core, cast(Any, server.clock))
    made = decode_response(await plain.answer(OWNER, encode_request(dialect.create())))
    key = getattr(made.batch_item[0].response_payload, "unique_identifier", "")
    tag, now = dialect.add_tags(key, (("x-a", "1"),)), int(server.clock.now())
    assert await asked(server, tag) == (None, "")
    for name, value in (
        ("Deactivation Date", now + 1),
        ("Contact Information", "x-a"),
        ("X-a", ""),
    ):
        attribute = Attribute(attribute_name=name, attribute_value=value)
        payload = AddAttributeRequest(unique_identifier=key, attribute=attribute)
        item = msgspec.structs.replace(tag.batch_item[0], request_payload=payload)
        for items in ((item,), (tag.batch_item[0], item)):
            assert credential_refusal(msgspec.structs.replace(tag, batch_item=items), WANTED)
    await asked(server, msgspec.structs.replace(tag, batch_item=(item,)))
    rows = server.platter.sql("SELECT operation, result FROM audit ORDER BY sequence")
    assert rows[-1] == ("Admit", "Permission Denied")


@pytest.mark.parametrize("operation", sorted({*PAYLOADS} - _BARE))
def test_every_operation_on_keys_wants_it(operation: Operation) -> None:
    item = dialect.create().batch_item[0]
    message = msgspec.structs.replace(
        dialect.create(), batch_item=(msgspec.structs.replace(item, operation=operation),)
    )
    assert credential_refusal(message, WANTED) == "a user name and a password are wanted"
