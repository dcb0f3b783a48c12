"""The multiplexer of requests alone: who may answer what, once, and what is counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest

from protocol.codec import (
    SIZE_LIMIT,
    VERSION,
    Envelope,
    ReplyEnvelope,
    decode_as,
    decode_envelope,
    decode_reply,
    encode_message,
)
from protocol.crypto.seal import without_keys
from protocol.errors import (
    Busy,
    Disconnected,
    Internal,
    InvalidArgument,
    Malformed,
    NotSent,
    Refused,
    TimedOut,
)
from protocol.messages.agent import TpmActed
from protocol.messages.base import Event, Message, Reply
from protocol.messages.base import Sealed as Boxed
from protocol.messages.host.crypto import AddKeys
from protocol.messages.host.session import Done
from protocol.messages.kms.keys import DiscoverVersions, ServerVersions
from protocol.messages.vcenter.inventory import HostChanged
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.runtime.multiplexer import (
    Envelopes,
    PendingCalls,
    PendingRequest,
    RequestServing,
    Unsealed,
)

M = TypeVar("M", bound=Message)
E = TypeVar("E", Envelope, ReplyEnvelope)
ME, PEER, OTHER = NodeName("me"), NodeName("peer"), NodeName("other")
ASKED, ANSWER = DiscoverVersions(), ServerVersions(versions=("1.4",))


class Sealed:
    """Seals by noting what was opened and closed, and for whom."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, NodeName, int]] = []
        self.refuses = False

    def seal_keys(self, envelope: E, message: Message, to: NodeName, life: int = 0) -> E:
        self.seen.append(("closed", type(message).__name__, to, envelope.message_id))
        return envelope

    def unseal_keys(self, envelope: Envelope | ReplyEnvelope, message: M) -> M:
        self.seen.append(("opened", type(message).__name__, envelope.sender, envelope.message_id))
        if self.refuses:
            raise Malformed("not sealed for us")
        return message


def alarm(late: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(5, late)


def alarm_at_once(late: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(0, late)


class Wire:
    """A caller and a server; what the server says is kept in ``said``."""

    def __init__(self, *, size_limit: int = SIZE_LIMIT) -> None:
        self.seals, self.counters = Sealed(), Counter[str]()
        self.calls = PendingCalls(self.seals, self.counters)
        self.mine = Envelopes(ME, 1, Sealed())
        self.theirs = Envelopes(PEER, 7, Sealed(), size_limit=size_limit)
        self.said: list[tuple[NodeName, str, bytes]] = []
        self.now, self.lost = 10.0, False
        self.serving = RequestServing(self.theirs, Counter(), lambda: self.now, self._say)

    def _say(self, to: NodeName, subject: str, payload: bytes) -> None:
        if self.lost:
            raise NotSent("no connection")
        self.said.append((to, subject, payload))

    def request(self, number: int = 3, deadline: float = 11.0) -> bytes:
        return self.mine.request(number, PEER, ASKED, deadline=deadline, cause="c")

    def asked(self, payload: bytes | None = None) -> PendingRequest:
        made = self.serving.admit(ME, "DiscoverVersions", "reply", payload or self.request())
        assert made is not None
        return made

    def reply(self, outcome: Reply | Exception, number: int = 3, sender: NodeName = PEER) -> bytes:
        request = decode_envelope(self.request(number))
        return Envelopes(sender, 7, Sealed()).reply(request, outcome)  # type: ignore[arg-type]

    async def ask(self) -> asyncio.Task[ServerVersions]:
        work = self.calls.ask("token", PEER, 3, ASKED, lambda: None, alarm, 5.0)
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        return task


async def test_the_one_who_was_asked_answers_once() -> None:
    wire = Wire()
    task = await wire.ask()
    assert wire.calls.find_callee("token") == PEER
    assert wire.calls.handle_reply("token", PEER, wire.reply(ANSWER))
    assert wire.calls.find_callee("token") is None
    assert not wire.calls.handle_reply("token", PEER, wire.reply(ServerVersions(versions=())))
    assert await task == ANSWER
    assert wire.seals.seen == [("opened", "ServerVersions", PEER, 3)]
    assert not wire.calls.handle_reply("token", PEER, wire.reply(ANSWER))
    assert wire.counters == {"unexpected_replies": 2}


async def test_the_replies_of_others_and_to_other_questions_end_no_call() -> None:
    wire = Wire()
    task = await wire.ask()
    for responder, payload in (
        (OTHER, wire.reply(ANSWER)),
        (OTHER, wire.reply(ANSWER, sender=OTHER)),
        (PEER, wire.reply(ANSWER, sender=OTHER)),
        (PEER, wire.reply(ANSWER, number=4)),
    ):
        assert not wire.calls.handle_reply("token", responder, payload)
    assert wire.counters == {"forged": 4} and not task.done()
    with pytest.raises(Malformed):
        wire.calls.handle_reply("token", PEER, b"no reply")
    assert wire.calls.handle_reply("token", PEER, wire.reply(ANSWER)) and await task == ANSWER


async def test_each_end_of_a_call_is_an_error_of_its_own() -> None:
    wire = Wire()
    task = await wire.ask()
    wire.calls.handle_reply("token", PEER, wire.reply(Busy("later")))
    with pytest.raises(Busy, match="later"):
        await task
    task = await wire.ask()
    wire.calls.handle_reply("token", PEER, wire.reply(Done()))
    with pytest.raises(Internal, match="the answer of peer does not fit"):
        await task
    task = await wire.ask()
    wire.seals.refuses = True
    wire.calls.handle_reply("token", PEER, wire.reply(ANSWER))
    with pytest.raises(Internal, match="not sealed for us"):
        await task
    assert wire.counters == {"malformed": 1}
    task = await wire.ask()
    wire.calls.refuse("token", "nobody is there")
    with pytest.raises(Refused, match="nobody is there"):
        await task
    task = await wire.ask()
    wire.calls.fail_all()
    with pytest.raises(Disconnected, match="peer"):
        await task
    work = wire.calls.ask("token", PEER, 3, ASKED, lambda: None, alarm_at_once, 5.0)
    with pytest.raises(TimedOut, match=r"^peer did not answer within 5 s$"):
        await work


async def test_a_call_that_has_ended_is_forgotten() -> None:
    wire = Wire()

    def unsent() -> None:
        raise NotSent("no connection")

    with pytest.raises(NotSent):
        await wire.calls.ask("token", PEER, 3, ASKED, unsent, alarm, 5.0)
    assert wire.calls.find_callee("token") is None
    assert not wire.calls.handle_reply("token", PEER, wire.reply(ANSWER))
    assert wire.counters == {"unexpected_replies": 1} and not wire.calls._calls


async def test_a_request_is_what_its_subject_says() -> None:
    wire = Wire()
    for sender, name in ((OTHER, "DiscoverVersions"), (ME, "GetKeys")):
        assert wire.serving.admit(sender, name, "reply", wire.request()) is None
    assert wire.serving.counters == {"forged": 2}
    assert wire.asked().message() == ASKED
    event = wire.mine.request(4, PEER, HostChanged(boot=1), deadline=11.0, cause="c")
    with pytest.raises(Malformed):
        wire.serving.admit(ME, "HostChanged", "reply", b"no envelope")
    asked = wire.serving.admit(ME, "HostChanged", "reply", event)
    assert asked is not None and asked.message() == HostChanged(boot=1)
    assert wire.theirs.seals.seen == [  # type: ignore[attr-defined]
        ("opened", "DiscoverVersions", ME, 3),
        ("opened", "HostChanged", ME, 4),
    ]


async def test_what_is_no_request_is_not_carried_out() -> None:
    wire = Wire()
    payload = wire.mine.request(4, PEER, Done(), deadline=11.0, cause="c")  # type: ignore[arg-type]
    asked = wire.serving.admit(ME, "Done", "reply", payload)
    assert asked is not None
    with pytest.raises(Malformed, match="Done is not a request"):
        asked.message()


async def test_a_deadline_that_has_passed_is_late() -> None:
    wire = Wire()
    asked = wire.asked()
    assert not asked.too_late()
    wire.now = 11.0
    assert not asked.too_late()
    wire.now = 11.1
    assert asked.too_late() and wire.serving.counters == {"late": 1}


async def test_a_request_is_answered_once() -> None:
    wire = Wire()
    asked = wire.asked()
    asked.answer(ANSWER)
    asked.answer(InvalidArgument("a second thought"))
    [(to, subject, payload)] = wire.said
    reply = decode_reply(payload)
    assert (to, subject, reply.sender, reply.message_id) == (ME, "reply", PEER, 3)
    assert decode_as(ServerVersions, reply.body) == ANSWER
    assert wire.serving.counters == {"answered_twice": 1}
    wire.lost = True
    wire.asked().answer(ANSWER)
    assert wire.serving.counters == {"answered_twice": 1, "replies_lost": 1}


async def test_a_reply_over_the_limit_is_told_as_done_and_not_as_refused() -> None:
    wire = Wire(size_limit=1000)
    wire.asked().answer(TpmActed(ek="x" * 2000))
    [(_, _, payload)] = wire.said
    error = decode_reply(payload).error
    assert error is not None and error.name == Internal.__name__
    assert wire.serving.counters == {"oversize": 1}


async def test_requests_and_events_keep_the_limit_too() -> None:
    small = Envelopes(ME, 1, Sealed(), size_limit=60)
    with pytest.raises(Malformed):
        small.request(1, PEER, HostChanged(boot=1), deadline=1e9, cause="x" * 60)

    class Heard(Event, frozen=True, kw_only=True):
        text: str

    with pytest.raises(Malformed):
        small.event(Heard(text="x" * 60), cause="")
    assert [small.next_number() for _ in range(2)] == [2, 3]


def test_where_nothing_is_sealed_no_key_travels_either_way() -> None:
    open_plane = Envelopes(ME, 1, Unsealed())
    keyed = AddKeys(keys=(), material=Boxed.of(KeyMaterial(bytes(32))))
    with pytest.raises(TypeError, match="AddKeys carries keys"):
        open_plane.request(1, PEER, keyed, deadline=1e9, cause="")
    body = encode_message(without_keys(keyed))
    came = Envelope(VERSION, 1, "", ME, 1, 1e9, "AddKeys", body)
    with pytest.raises(Malformed, match="AddKeys carries keys"):
        Unsealed().unseal_keys(came, decode_as(AddKeys, body))
    plain = Envelope(VERSION, 1, "", ME, 1, 1e9, "DiscoverVersions", encode_message(ASKED))
    assert Unsealed().unseal_keys(plain, ASKED) == ASKED
    with pytest.raises(Malformed, match="carries keys"):
        Unsealed().unseal_keys(msgspec.structs.replace(plain, boxes=(b"box",)), ASKED)
