"""A Get that needs no wait is answered without one, to the byte as any message is, or not so."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import msgspec
import pytest

from protocol.kmip.algorithms import KeyFormatType, WrappingMethod
from protocol.kmip.dialect import Login
from protocol.kmip.enums import CredentialType, Operation, RevocationReasonCode
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    Authentication,
    Credential,
    MessageExtension,
    RequestItem,
    UsernameAndPassword,
    decode_response,
    encode_request,
)
from protocol.kmip.objects import (
    Attribute,
    EncryptionKeyInformation,
    KeyWrappingSpecification,
    RevocationReason,
)
from protocol.kmip.payloads import (
    ActivateRequest,
    AddAttributeRequest,
    CreateResponse,
    DestroyRequest,
    GetAttributesRequest,
    GetRequest,
    GetResponse,
    RevokeRequest,
)
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type
from protocol.messages.kms import administration as m
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit import deferred_rows
from services.kms.audit.deferred_rows import Page
from services.kms.endpoints.kmip.messages import Messages, may_be_plain_create
from services.kms.operations.buffered_reads import MANY
from services.kms.settings.config import KmsRole
from tests.services.kms.core_rig import OWNER, STRANGER
from tests.services.kms.kmip_rig import message, new_key
from tests.services.kms.lazy_rig import BUFFERED, HeldClock, clock
from tests.services.kms.ports import LOCAL, Server
from tests.services.kms.test_buffered import trail, verified

CALLERS = (
    *[OWNER] * 4,
    STRANGER,
    KeyServerCaller("gone", None, "default"),
    KeyServerCaller("all", KmsRole.OWNER, "b", every_scope=True),
    *[KeyServerCaller(f"one {role}", role, "default") for role in KmsRole],
)
LOGIN = Login("somebody", KeyMaterial(b"a word"))


class Twice:
    """Asks each message at once, and then as every message is asked; both have to agree."""

    def __init__(self, server: Server, login: Login | None = None) -> None:
        self.server, self.quick = server, 0
        self.messages = Messages(server.service.core, cast(Any, server.clock), login)

    def pages(self) -> list[Page]:
        loads = self.server.service.core.commits.unwritten._loads
        return [page for load in loads for page in load.pages]

    async def ask(self, data: bytes, caller: KeyServerCaller = OWNER) -> bytes:
        before, struck = list(self.pages()), self.server.service.core.rejections.all()
        quick = None if may_be_plain_create(data) else self.messages.at_once(caller, data)
        assert self.server.service.core.rejections.all() == struck
        told = self.pages()[len(before) :]
        slow = await self.messages.answer(caller, data)
        if quick is None:
            assert not told, "nothing has happened"
        else:
            self.quick += 1
            assert quick == slow
            assert len(told) == 1 and self.pages() == [*before, *told, *told]
        return slow

    async def given(self, key_id: str) -> None:
        """Get of a key, which is at hand then."""
        for _ in range(2):
            await self.ask(encode_request(message(GetRequest(unique_identifier=key_id))))

    async def made(self, *attributes: Attribute) -> str:
        data = await self.ask(encode_request(message(new_key(*attributes))))
        [item] = decode_response(data).batch_item
        assert isinstance(item.response_payload, CreateResponse)
        return item.response_payload.unique_identifier


def credentials(password: bytes) -> Authentication:
    value = UsernameAndPassword(username=LOGIN.username, password=KeyMaterial(password))
    kind = CredentialType.USERNAME_AND_PASSWORD
    return Authentication(credential=(Credential(credential_type=kind, credential_value=value),))


def drawn(rng: random.Random, ids: list[str]) -> bytes:
    """A message, mostly a Get of a key that is there, with a header of some kind."""
    some = "nothing" if rng.random() < 0.05 else rng.choice(ids)
    under = KeyWrappingSpecification(
        wrapping_method=WrappingMethod.ENCRYPT,
        encryption_key_information=EncryptionKeyInformation(unique_identifier=some),
    )
    get = GetRequest(unique_identifier=some)
    payload: Fields = rng.choice(
        [
            *[get] * 12,
            GetRequest(),
            GetRequest(unique_identifier=some, key_format_type=KeyFormatType.RAW),
            GetRequest(
                unique_identifier=some, key_format_type=KeyFormatType.TRANSPARENT_SYMMETRIC_KEY
            ),
            GetRequest(unique_identifier=some, key_format_type=KeyFormatType.PKCS_1),
            GetRequest(
                unique_identifier=some,
                key_wrap_type=TtlvItem(Tag.KEY_WRAP_TYPE, Type.ENUMERATION, rng.randrange(4)),
            ),
            GetRequest(unique_identifier=some, key_wrapping_specification=under),
            GetAttributesRequest(unique_identifier=some),
            ActivateRequest(unique_identifier=some),
            RevokeRequest(
                unique_identifier=some,
                revocation_reason=RevocationReason(
                    revocation_reason_code=rng.choice(list(RevocationReasonCode))
                ),
            ),
            DestroyRequest(unique_identifier=some),
        ]
    )
    critical = rng.random() < 0.5
    strange = MessageExtension(
        vendor_identification="somebody",
        criticality_indicator=critical,
        vendor_extension=TtlvItem(Tag.VENDOR_EXTENSION, Type.STRUCTURE, ()),
    )
    item = RequestItem(
        operation=Operation.GET,
        unique_batch_item_id=rng.choice([None, b"1", b"QLKC\1\0\0\0"]),
        request_payload=get,
        message_extension=rng.choice([None, None, strange]),
    )
    header: list[dict[str, Any]] = [
        *[{}] * 6,
        {"maximum_response_size": rng.choice([100, 250, 300, 5000])},
        {"asynchronous_indicator": critical},
        {"time_stamp": rng.randrange(2**32)},
        {"batch_order_option": critical},
        {"client_correlation_value": some},
        {"authentication": credentials(rng.choice([b"a word", b"another"]))},
    ]
    asked: Any = item if payload is get and rng.random() < 0.3 else payload
    both = [asked, payload] if rng.random() < 0.05 and asked is payload else [asked]
    return encode_request(message(*both, minor=rng.choice([0, 1, 4, 4, 4]), **rng.choice(header)))


async def rejection(server: Server, rng: random.Random, ids: list[str]) -> None:
    """Another one begins, or the one that there is ends."""
    if (await server.ask(m.QueryRejections(), LOCAL)).items:
        await server.ask(m.EndRejection(name="some"), LOCAL)
        return
    keys = rng.choice([(), (KeyId(rng.choice(ids)),)])
    new = m.RejectRequests(
        name="some",
        reason="General Failure",
        operations=("Get",),
        keys=keys,
        probability=rng.choice([1.0, 0.5]),
    )
    await server.ask(new, LOCAL)


@pytest.mark.slow
@pytest.mark.parametrize("login", [None, LOGIN], ids=["", "login"])
@pytest.mark.parametrize("seed", range(4))
async def test_both_ways_agree(lazy: Server, seed: int, login: Login | None) -> None:
    """Over states, dates, roles, scopes, forms of a message, rejections, and a clock put back."""
    rng, twice = random.Random(seed), Twice(lazy, login)
    lazy.rng.streams["kms.rejections"] = random.Random(seed)
    bare, now = Twice(lazy), int(lazy.clock.wall)
    dates = [
        (),
        (Attribute(attribute_name="Activation Date", attribute_value=now + 100),),
        (Attribute(attribute_name="Deactivation Date", attribute_value=now + 200),),
    ]
    ids = [await bare.made(*rng.choice(dates)) for _ in range(8)]
    for number in range(400):
        lazy.clock.wall += rng.choice([0, 0, 1, 1, -1])
        if number % 40 == 39:
            await rejection(lazy, rng, ids)
        if number % 90 == 89:
            await clock(lazy).pass_by()
            ids.append(await bare.made(*rng.choice(dates)))
        await twice.ask(drawn(rng, ids), rng.choice(CALLERS))
    assert login is not None or twice.quick > 20
    await trail(lazy)
    verified(lazy)


async def test_who_has_a_user_name_is_answered_at_once_too(lazy: Server) -> None:
    twice = Twice(lazy, LOGIN)
    key_id = await Twice(lazy).made()
    await Twice(lazy).given(key_id)
    for password, quick in ((b"a word", 1), (b"another", 1), (b"a word", 2)):
        request = message(
            GetRequest(unique_identifier=key_id), authentication=credentials(password)
        )
        await twice.ask(encode_request(request))
        assert twice.quick == quick
    await twice.ask(encode_request(message(GetRequest(unique_identifier=key_id))))
    assert twice.quick == 2, "and nobody without one"


async def test_the_plainest_get_needs_no_wait(lazy: Server) -> None:
    """Of each key that was given before and read since its last change, in each state with
    material; and the rows of all of them wait."""
    twice = Twice(lazy)
    key_id = await twice.made()
    await twice.given(key_id)
    changes = [
        ActivateRequest(unique_identifier=key_id),
        AddAttributeRequest(
            unique_identifier=key_id,
            attribute=Attribute(attribute_name="x-a", attribute_value="1"),
        ),
        RevokeRequest(
            unique_identifier=key_id,
            revocation_reason=RevocationReason(
                revocation_reason_code=RevocationReasonCode.KEY_COMPROMISE
            ),
        ),
        None,
    ]
    get = encode_request(message(GetRequest(unique_identifier=key_id)))
    for change in changes:
        await twice.given(key_id)
        quick = twice.quick
        answer = await twice.ask(get)
        assert twice.quick == quick + 1
        assert isinstance(decode_response(answer).batch_item[0].response_payload, GetResponse)
        if change is not None:
            await twice.ask(encode_request(message(change)))
    await twice.ask(encode_request(message(DestroyRequest(unique_identifier=key_id))))
    quick = twice.quick
    await twice.ask(get)
    await twice.ask(get)
    assert twice.quick == quick, "it has nothing to give any more"


async def test_where_too_many_rows_wait_each_is_written_first(
    lazy: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = Twice(lazy)
    key_id = await twice.made()
    await twice.given(key_id)
    waiting = len(twice.pages())
    monkeypatch.setattr(deferred_rows, "BUFFERED_ROWS", waiting + 2)
    messages = Messages(lazy.service.core, cast(Any, lazy.clock))
    get = encode_request(message(GetRequest(unique_identifier=key_id)))
    found = [messages.at_once(OWNER, get) is not None for _ in range(4)]
    assert found == [True, True, False, False] and len(twice.pages()) == waiting + 2


async def test_many_rows_are_written_before_their_time(lazy: Server) -> None:
    """The more of them are written together, the longer all others wait for that."""
    twice = Twice(lazy)
    key_id = await twice.made()
    await twice.given(key_id)
    messages = Messages(lazy.service.core, cast(Any, lazy.clock))
    get = encode_request(message(GetRequest(unique_identifier=key_id)))
    await asyncio.sleep(0.01)
    commits, slept = lazy.database.commits, list(clock(lazy).slept)
    for _ in range(3):
        while len(twice.pages()) < MANY - 1:
            assert messages.at_once(OWNER, get) is not None
        await asyncio.sleep(0.01)
        assert lazy.database.commits == commits and len(twice.pages()) == MANY - 1
        assert messages.at_once(OWNER, get) is not None
        assert messages.at_once(OWNER, get) is not None
        await asyncio.sleep(0.01)
        commits += 1
        assert lazy.database.commits == commits and len(twice.pages()) == 0
    assert clock(lazy).slept == slept
    await trail(lazy)
    verified(lazy)


async def test_durable_audit_answers_nobody_at_once(lazy: Server) -> None:
    durable = Server(clock=HeldClock(), config=msgspec.structs.replace(BUFFERED, audit="durable"))
    await durable.boot()
    twice = Twice(durable)
    await twice.given(await twice.made())
    assert twice.quick == 0


async def test_nobody_is_answered_before_the_server_has_caught_up(lazy: Server) -> None:
    twice = Twice(lazy)
    key_id = await twice.made()
    await twice.given(key_id)
    messages = Messages(lazy.service.core, cast(Any, lazy.clock))
    get = encode_request(message(GetRequest(unique_identifier=key_id)))
    lazy.service.core.caught_up.clear()
    assert messages.at_once(OWNER, get) is None
    lazy.service.core.caught_up.set()
    assert messages.at_once(OWNER, get) is not None


def asked(name: str, batch_id: bytes) -> bytes:
    item = RequestItem(
        operation=Operation.GET,
        unique_batch_item_id=batch_id,
        request_payload=GetRequest(unique_identifier=name),
    )
    return encode_request(message(item))


async def test_an_item_that_looks_like_an_id_names_no_key(lazy: Server) -> None:
    """Whoever asks for nothing is not given the key that stands in front of it."""
    twice = Twice(lazy)
    key_id = await twice.made()
    await twice.given(key_id)
    nothing, head = "~!" * 18, bytes.fromhex("4200940700000024")
    for text in (nothing, key_id):
        answer = await twice.ask(asked(nothing, head + text.encode() + bytes(4)))
        assert decode_response(answer).batch_item[0].response_payload is None


async def test_nothing_is_kept_of_who_is_given_nothing_nor_of_large_messages(lazy: Server) -> None:
    """Else anybody could have a server hold a mebibyte in each form, or keep others' out of it."""
    twice = Twice(lazy)
    key_id = await twice.made()
    await twice.given(key_id)
    known = twice.messages._forms._known
    known.clear()
    for number in range(4):
        await twice.ask(asked(key_id, bytes([number])), STRANGER)
        await twice.ask(asked("nothing", bytes([number])))
        await twice.ask(asked(key_id, bytes([number]) * 5000))
    assert not known
    await twice.ask(asked(key_id, b"1"))
    assert len(known) == 1
