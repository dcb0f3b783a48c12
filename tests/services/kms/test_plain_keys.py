"""A plain Create is made without a task, to the byte as any message is, or not so; and those that
come together share everything but their fate."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import msgspec
import pytest

from protocol.kmip import objects as s
from protocol.kmip.dialect import Login
from protocol.kmip.enums import NameType, ObjectType, Operation, ResultReason
from protocol.kmip.message import MessageExtension, RequestItem, decode_response, encode_request
from protocol.kmip.objects import Attribute, TemplateAttribute
from protocol.kmip.payloads import ActivateRequest, CreateRequest, CreateResponse, GetRequest
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type
from protocol.messages.kms import administration as m
from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit import audit_trail as audit
from services.kms.commit import store
from services.kms.commit.store import Making, NewKeyOrder
from services.kms.commit.unit_of_work import Written
from services.kms.custody.anchor import AnchorKeeper
from services.kms.endpoints.kmip.messages import Messages
from services.kms.objects.identifiers import IdScheme
from services.kms.objects.request_types import Get
from services.kms.sealing.vault import KeyRing, kek_bytes
from services.kms.settings.config import Auditing, KmsRole
from services.runtime.incarnation import NodeDown
from services.runtime.streams import DeferredAnswer
from tests.services.kms.core_rig import OWNER, STRANGER, do
from tests.services.kms.kmip_rig import message, new_key, template
from tests.services.kms.lazy_rig import HeldClock, clock
from tests.services.kms.ports import CONFIG, LOCAL, Server
from tests.services.kms.test_without_wait import LOGIN, credentials

CALLERS = (
    *[OWNER] * 6,
    STRANGER,
    KeyServerCaller("gone", None, "default"),
    KeyServerCaller("all", KmsRole.OWNER, "b", every_scope=True),
    *[KeyServerCaller(f"one {role}", role, "default") for role in KmsRole],
)
PLAIN = encode_request(message(new_key()))
NAMED = encode_request(
    message(
        new_key(
            Attribute(
                attribute_name="Name",
                attribute_value=s.Name(
                    name_value="k", name_type=NameType.UNINTERPRETED_TEXT_STRING
                ),
            )
        )
    )
)


class Way:
    """One server, and how it is asked: ``quick`` where that needs no task."""

    def __init__(self, audit: Auditing, login: Login | None = None, *, quick: bool) -> None:
        config = msgspec.structs.replace(CONFIG, audit=audit, ids=IdScheme.TIMED)
        self.server, self.quick = Server(clock=HeldClock(), config=config), quick
        self.login, self.made = login, 0

    async def boot(self) -> Way:
        await self.server.boot()
        core = self.server.service.core
        self.messages = Messages(core, cast(Any, self.server.clock), self.login)
        return self

    def close(self) -> None:
        for work in list(self.server.node.works):
            work.cancel()
        for connection in self.server.platter.databases.values():
            connection.close()

    def ask(self, data: bytes, caller: KeyServerCaller = OWNER) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        later = self.messages.at_once(caller, data) if self.quick else None
        if later is None:
            return loop.create_task(self.messages.answer(caller, data))
        assert isinstance(later, DeferredAnswer)
        self.made += 1
        told: asyncio.Future[bytes] = loop.create_future()

        def give(answer: bytes | BaseException) -> None:
            if isinstance(answer, BaseException):
                told.set_exception(answer)
            else:
                told.set_result(answer)

        later.to = give
        return told

    def rows(self) -> list[list[tuple[Any, ...]]]:
        """All that is in the database, in its order."""
        sql = self.server.platter.sql
        tables = [str(name) for (name,) in sql("SELECT name FROM sqlite_master WHERE type='table'")]
        return [sql(f"SELECT * FROM {name}") for name in sorted(tables)]  # noqa: S608


@pytest.fixture(params=list(Auditing))
async def both(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Way, Way]]:
    """The same server twice."""
    ways = [await Way(request.param, quick=quick).boot() for quick in (True, False)]
    yield ways[0], ways[1]
    for way in ways:
        way.close()


@pytest.fixture(params=list(Auditing))
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    made = await Way(request.param, quick=True).boot()
    yield made
    made.close()


def key_in(answer: bytes) -> str:
    [item] = decode_response(answer).batch_item
    assert isinstance(item.response_payload, CreateResponse), item.result_message
    return item.response_payload.unique_identifier


def drawn(rng: random.Random, ids: list[str]) -> bytes:
    """A message, mostly a Create without attributes, with a header of some kind."""
    some = rng.choice([*ids, "nothing"])
    x = Attribute(attribute_name="x-a", attribute_value="1")
    odd = TemplateAttribute(
        name=(s.Name(name_value="t", name_type=NameType.UNINTERPRETED_TEXT_STRING),)
    )
    payload: Any = rng.choice(
        [
            *[new_key()] * 6,
            CreateRequest(
                object_type=rng.choice(list(ObjectType)),
                template_attribute=template(
                    bits=rng.choice([56, 128, 192, 256, 256]), mask=rng.choice([0, 12, 12, -1])
                ),
            ),
            CreateRequest(object_type=ObjectType.SYMMETRIC_KEY, template_attribute=odd),
            new_key(x),
            CreateRequest(
                object_type=ObjectType.SYMMETRIC_KEY,
                template_attribute=TemplateAttribute(attribute=template().attribute[:2]),
            ),
            GetRequest(unique_identifier=some),
            ActivateRequest(unique_identifier=some),
        ]
    )
    strange = MessageExtension(
        vendor_identification="somebody",
        criticality_indicator=rng.random() < 0.5,
        vendor_extension=TtlvItem(Tag.VENDOR_EXTENSION, Type.STRUCTURE, ()),
    )
    asked = payload
    if isinstance(payload, CreateRequest) and rng.random() < 0.6:
        asked = RequestItem(
            operation=Operation.CREATE,
            unique_batch_item_id=rng.choice([None, b"", rng.randbytes(8), rng.randbytes(5)]),
            request_payload=payload,
            message_extension=rng.choice([None, None, None, strange]),
        )
    header: list[dict[str, Any]] = [
        *[{}] * 6,
        {"maximum_response_size": rng.choice([100, 150, 200, 5000])},
        {"asynchronous_indicator": rng.random() < 0.5},
        {"time_stamp": rng.randrange(2**32)},
        {"batch_order_option": True},
        {"client_correlation_value": some},
        {"authentication": credentials(rng.choice([b"a word", b"another"]))},
    ]
    both = [payload, payload] if rng.random() < 0.05 else [asked]
    return encode_request(message(*both, minor=rng.choice([0, 1, 3, 4, 4]), **rng.choice(header)))


async def rejection(ways: Sequence[Way], rng: random.Random) -> None:
    """One begins, or the one that there is ends."""
    new = m.RejectRequests(
        name="some",
        reason="General Failure",
        operations=("Create",),
        probability=rng.choice([1.0, 0.5]),
    )
    for way in ways:
        found = (await way.server.ask(m.QueryRejections(), LOCAL)).items
        await way.server.ask(m.EndRejection(name="some") if found else new, LOCAL)


@pytest.mark.slow
@pytest.mark.parametrize("login", [None, LOGIN], ids=["", "login"])
@pytest.mark.parametrize("seed", range(3))
async def test_both_ways_agree(both: tuple[Way, Way], seed: int, login: Login | None) -> None:
    """Over roles, flaws, headers, rejections, rotations, a clock put back, and many at once."""
    rng, (quick, slow), ids = random.Random(seed), both, list[str]()
    for way in both:
        way.server.rng.streams["kms.rejections"] = random.Random(seed)
        way.messages._login = login
    for number in range(150):
        step = rng.choice([0, 0, 0.25, 1, -1])
        for way in both:
            way.server.clock.wall += step
        if number % 30 == 29:
            await rejection(both, rng)
        if number % 40 == 20:
            for way in both:
                await way.server.ask(m.RotateKek(after=3), LOCAL)
                while any(work.get_name() == "kms.rewrap" for work in way.server.node.works):
                    await clock(way.server).pass_by()  # it draws nonces of its own
        if rng.random() < 0.3:
            data = [encode_request(message(new_key(), minor=rng.randrange(5))) for _ in range(5)]
            caller = rng.choice(CALLERS[:6])
        else:
            data, caller = [drawn(rng, ids)], rng.choice(CALLERS)
        answers = [await asyncio.gather(*[way.ask(one, caller) for one in data]) for way in both]
        assert answers[0] == answers[1]
        for answer in answers[0]:
            [item, *_] = decode_response(answer).batch_item
            if isinstance(item.response_payload, CreateResponse):
                ids.append(item.response_payload.unique_identifier)
    assert quick.server.rng.tokens == slow.server.rng.tokens
    for way in both:
        await way.server.service.core.write_all()
    assert quick.rows() == slow.rows()
    assert login is not None or quick.made > 40
    await quick.server.boot()  # whose check finds nothing altered


async def test_what_comes_together_is_one_commit(way: Way) -> None:
    """Rows of the trail are in the order in which the messages came, others' in between."""
    begun, loop = way.server.database.commits, asyncio.get_running_loop()
    asked: list[asyncio.Future[bytes]] = [way.ask(NAMED)]
    loop.call_soon(lambda: asked.append(way.ask(PLAIN)))
    asked.append(way.ask(NAMED))
    loop.call_soon(lambda: asked.append(way.ask(PLAIN)))
    asked += [way.ask(PLAIN), way.ask(PLAIN)]
    await asyncio.sleep(0)
    answers = await asyncio.gather(*asked)
    assert way.made == 4 and way.server.database.commits == begun + 1
    items = [decode_response(answer).batch_item[0] for answer in answers]
    failed = [item.result_reason for item in items if item.response_payload is None]
    assert failed == [ResultReason.INVALID_FIELD], "the name is taken"
    made = [
        "" if item.response_payload is None else key_in(answer)
        for item, answer in zip(items, answers, strict=True)
    ]
    found = way.server.platter.sql("SELECT key_id FROM audit ORDER BY sequence")
    assert [made.index(key) for (key,) in found] == [2, 3, 0, 4, 1, 5]
    connection = way.server.platter.databases["keys"]
    changed = audit.check(connection, way.server.vault).keys
    assert dict(way.server.platter.sql("SELECT key_id, changed FROM keys")) == changed


async def test_keys_wait_for_no_anchor_of_others(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """With durable audit the next ones are on their way to the disk meanwhile."""
    begun, go, right = way.server.database.commits, asyncio.Event(), AnchorKeeper.confirm

    async def settled(self: AnchorKeeper, written: Written) -> None:
        await go.wait()
        left = right(self, written)
        if left is not None:
            await left

    monkeypatch.setattr(AnchorKeeper, "confirm", settled)
    asked = []
    for number in range(1, 4):
        asked.append(way.ask(PLAIN))
        await asyncio.sleep(0.005)
        assert way.server.database.commits == begun + number
    assert not any(one.done() for one in asked)
    go.set()
    assert all(map(key_in, await asyncio.gather(*asked)))


async def test_one_that_cannot_be_written_takes_no_other_with_it(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = store.write_new_keys

    def write(connection: Any, trail: Any, vault: Any, made: Any) -> Any:
        kept = original(connection, trail, vault, made)
        if any(one.row.usage_mask == 4 for one in made):
            raise OSError(errno.EIO, "Input/output error")
        return kept

    monkeypatch.setattr(store, "write_new_keys", write)
    odd = encode_request(
        message(
            CreateRequest(object_type=ObjectType.SYMMETRIC_KEY, template_attribute=template(mask=4))
        )
    )
    answers = await asyncio.gather(*[way.ask(one) for one in (PLAIN, odd, PLAIN)])
    assert way.made == 3
    [item] = decode_response(answers[1]).batch_item
    assert item.result_reason is ResultReason.GENERAL_FAILURE
    assert item.result_message == "the key server's storage refused: Input/output error"
    made = {key_in(answers[0]), key_in(answers[2])}
    assert {key for (key,) in way.server.platter.sql("SELECT key_id FROM keys")} == made
    audit.check(way.server.platter.databases["keys"], way.server.vault)


async def test_a_commit_that_was_refused_and_happened_makes_no_key_twice(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that came together are tried one by one then, and are there already."""
    right, refused = way.server.database.transact, list[bool]()

    async def transact(fn: Any, applied: Any = None) -> Any:
        if not refused:
            refused.append(True)
            await right(fn)
            raise OSError(errno.EIO, "Input/output error")
        return await right(fn, applied)

    monkeypatch.setattr(way.server.database, "transact", transact)
    answers = await asyncio.gather(*[way.ask(PLAIN) for _ in range(3)])
    made = {key_in(answer) for answer in answers}
    rows = way.server.platter.sql("SELECT key_id FROM audit WHERE operation = 'Create'")
    assert way.made == len(made) == len(rows) == 3
    assert {key for (key,) in way.server.platter.sql("SELECT key_id FROM keys")} == made
    audit.check(way.server.platter.databases["keys"], way.server.vault)


async def test_a_defect_in_one_answer_is_of_its_connection_alone(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, asked = Messages._answer_create, list[KeyId]()

    def answer(self: Messages, message: Any, key_id: KeyId, error: Any) -> bytes | BaseException:
        asked.append(key_id)
        if len(asked) == 1:
            raise RuntimeError("a defect")
        return original(self, message, key_id, error)

    monkeypatch.setattr(Messages, "_answer_create", answer)
    first, *others = [way.ask(PLAIN) for _ in range(3)]
    async with asyncio.timeout(5):
        for one in others:
            assert key_in(await one)
        with pytest.raises(RuntimeError, match="a defect"):
            await first


@pytest.mark.parametrize("times", [1, 99])
async def test_keys_that_are_not_struck_are_told_of(way: Way, times: int) -> None:
    """Each is tried alone then; who comes later is served as ever."""
    commits, tries = way.server.service.core.commits, list[int]()
    right = commits.strike

    def strike(wanted: Sequence[NewKeyOrder]) -> list[Making]:
        tries.append(len(wanted))
        if len(tries) <= times:
            raise RuntimeError("a defect")
        return right(wanted)

    commits.strike = strike
    async with asyncio.timeout(5):
        told = await asyncio.gather(*[way.ask(PLAIN) for _ in range(3)], return_exceptions=True)
    assert tries == [3, 1, 1, 1]
    assert [isinstance(one, bytes) for one in told] == [times == 1] * 3
    commits.strike = right
    assert key_in(await way.ask(PLAIN))
    assert len(way.server.platter.sql("SELECT key_id FROM keys")) == (4 if times == 1 else 1)


async def test_a_full_disk_fails_all_and_loses_none(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    acked = [key_in(await way.ask(PLAIN)) for _ in range(3)]
    database, right = way.server.database, way.server.database.transact

    async def full(fn: Any, applied: Any = None) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(database, "transact", full)
    for answer in await asyncio.gather(*[way.ask(PLAIN) for _ in range(5)]):
        [item] = decode_response(answer).batch_item
        assert item.result_reason is ResultReason.GENERAL_FAILURE
        assert "No space left on device" in (item.result_message or "")
    monkeypatch.setattr(database, "transact", right)
    acked.append(key_in(await way.ask(PLAIN)))
    assert [
        key for (key,) in way.server.platter.sql("SELECT key_id FROM keys ORDER BY ordinal")
    ] == acked
    await way.boot()
    way.server.clock.wall += 1
    acked.append(key_in(await way.ask(PLAIN)))
    assert [
        key for (key,) in way.server.platter.sql("SELECT key_id FROM keys ORDER BY ordinal")
    ] == acked


async def test_nobody_is_answered_by_a_life_that_ends_with_the_commit(way: Way) -> None:
    """What it has committed is there in the next one, whole."""
    way.server.database.crash_at_commit = way.server.database.commits + 1
    asked = [way.ask(PLAIN) for _ in range(3)]
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, NodeDown) for one in ended), "which tells no client anything"
    await way.boot()
    assert way.server.platter.sql("SELECT count(*) FROM keys") == [(3,)]
    answer = key_in(await way.ask(PLAIN))
    assert way.server.platter.sql("SELECT max(ordinal), count(*) FROM keys") == [(4, 4)]
    assert way.server.platter.sql("SELECT key_id FROM keys WHERE ordinal = 4") == [(answer,)]


async def test_a_key_that_waits_while_the_kek_becomes_another_is_wrapped_under_it(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is made before the transaction, and an older KEK leaves the ring behind it."""
    vault, asked = way.server.service.core.commits.vault, list[asyncio.Future[bytes]]()
    install = vault.install

    def late(ring: KeyRing) -> None:
        asked.append(way.ask(PLAIN))
        install(ring)

    monkeypatch.setattr(vault, "install", late)
    await way.server.ask(m.RotateKek(after=1), LOCAL)
    made = KeyId(key_in(await asked[0]))
    assert way.server.platter.sql("SELECT kek_id FROM keys") == [(kek_bytes(2),)]
    await way.boot()
    [key] = (await do(way.server, Get(unique_identifiers=(made,)))).keys
    assert key.material is not None


async def test_an_anchor_that_fails_is_said_only_where_it_is_waited_for(way: Way) -> None:
    """As for every change: the key is durable, and the guard against rollback is behind."""

    async def refuses(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    way.server.disk.append = refuses  # type: ignore[method-assign]
    way.server.disk.write = refuses  # type: ignore[method-assign]
    assert key_in(await way.ask(PLAIN))


async def test_a_server_that_has_somebody_to_tell_takes_its_time(way: Way) -> None:
    core = way.server.service.core
    core.alone = False
    assert way.messages.at_once(OWNER, PLAIN) is None
    core.alone = True
    core.caught_up.clear()
    assert way.messages.at_once(OWNER, PLAIN) is None
    core.caught_up.set()
    assert way.messages.at_once(OWNER, PLAIN) is not None
    await asyncio.sleep(0.01)


async def test_numbered_keys_are_not_plain() -> None:
    """One id may be given twice then, so it is looked up."""
    numbered = Server(config=msgspec.structs.replace(CONFIG, ids=IdScheme.SEQUENTIAL))
    await numbered.boot()
    messages = Messages(numbered.service.core, cast(Any, numbered.clock))
    assert messages.at_once(OWNER, PLAIN) is None
