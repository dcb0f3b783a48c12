"""The normal form of what is said: everything but bytes, and its differences in words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.codec import VERSION, Envelope, ReplyEnvelope
from protocol.errors import InvalidState
from protocol.messages.agent import Answer, NodeRecord
from protocol.messages.host.crypto import AddKeys
from protocol.messages.host.session import QueryHost
from protocol.messages.host.vms import GuestChallenge
from protocol.messages.vcenter.inventory import VcEvent
from protocol.terms import NodeName, VmName
from services.runtime.sim import trace as normal_form
from services.runtime.sim.trace import Trace, first_difference

pytestmark = pytest.mark.sim
A = NodeName("a")


def request(name: str, body: Any, *, boxes: tuple[bytes, ...] = (), **changes: Any) -> bytes:
    made = Envelope(
        VERSION, 7, "", A, 1, 12.5, name, msgspec.Raw(msgspec.msgpack.encode(body)), boxes
    )
    return msgspec.msgpack.encode(msgspec.structs.replace(made, **changes))


def reply(name: str, body: Any, **changes: Any) -> bytes:
    made = ReplyEnvelope(VERSION, 7, A, 1, name, msgspec.Raw(msgspec.msgpack.encode(body)))
    return msgspec.msgpack.encode(msgspec.structs.replace(made, **changes))


CHALLENGE = {"vm": "vm-01", "nonce": b"1234", "blocks": [1, 2]}


def test_boxes_and_bytes_have_no_part_in_it() -> None:
    first = normal_form.of_request(request("AddKeys", {"keys": 0}, boxes=(b"one",)))
    assert first == normal_form.of_request(request("AddKeys", {"keys": 0}, boxes=(b"another",)))
    nonce = normal_form.of_request(request("GuestChallenge", CHALLENGE))
    other = normal_form.of_request(
        request("GuestChallenge", CHALLENGE | {"nonce": b"other, longer"})
    )
    assert nonce == other


@pytest.mark.parametrize(
    "other",
    [
        request("GuestChallenge", CHALLENGE | {"blocks": [2, 1]}),
        request("GuestChallenge", CHALLENGE | {"vm": "vm-02"}),
        request("GuestChallenge", CHALLENGE, message_id=8),
        request("GuestChallenge", CHALLENGE, deadline=12.6),
        request("GuestChallenge", CHALLENGE, cause="b/1/3"),
        request("GuestAnswer", CHALLENGE),
    ],
)
def test_everything_else_has(other: bytes) -> None:
    assert normal_form.of_request(request("GuestChallenge", CHALLENGE)) != normal_form.of_request(
        other
    )


def test_a_reply_is_its_body_or_its_error() -> None:
    good = normal_form.of_reply(reply("HostState", {"summary": {"boot": 1}}))
    assert good != normal_form.of_reply(reply("HostState", {"summary": {"boot": 2}}))
    errors = [InvalidState("no").body(), InvalidState("never").body()]
    told = [normal_form.of_reply(reply("", None, error=error)) for error in errors]
    assert len({good, *told}) == 3


def test_what_is_no_message_says_nothing() -> None:
    for payload in (b"", b"\xc1", b"ready", request("Ping", {})[:-1]):
        assert (
            normal_form.of_request(payload) == normal_form.of_reply(payload) == normal_form.NOTHING
        )


def test_a_console_says_what_it_answers_and_no_bytes() -> None:
    def answer(digest: bytes, generation: int) -> bytes:
        body = msgspec.msgpack.encode({"digest": digest, "rewritten": 3, "generation": generation})
        return normal_form.of_answer(Answer(name="GuestAnswer", body=msgspec.Raw(body)))

    assert answer(b"x", 1) == answer(b"y", 1) != answer(b"x", 2)
    assert normal_form.of_answer(InvalidState("off")) != normal_form.of_answer(InvalidState("on"))


def test_a_record_says_its_fields() -> None:
    def record(**fields: Any) -> bytes:
        made = NodeRecord(at=1.0, node=A, boot=1, level="info", kind="boot", fields=fields)
        return normal_form.of_record(made)

    assert record(text="a", key=b"1") == record(text="a", key=b"2") != record(text="b", key=b"1")


@pytest.mark.parametrize(
    ("message", "without"),
    [(QueryHost, True), (VcEvent, True), (GuestChallenge, False), (AddKeys, False)],
)
def test_a_messagewithout_bytes_is_known_by_its_class(message: type, without: bool) -> None:
    """It is folded as it travels, which costs next to nothing."""
    assert normal_form.has_no_bytes(message.__name__) is without


def test_a_difference_is_told_in_words() -> None:
    def traced(text: str) -> Trace:
        trace = Trace(record=True)
        trace.add(1, "a", 1, "power-on")
        body = {"sequence": 4, "text": text, "vm": VmName("vm-01")}
        trace.add_content(
            2, "a", 1, "e.a.VcEvent", normal_form.of_request(request("VcEvent", body))
        )
        return trace

    found = first_difference(traced("it is locked"), traced("it is unlocked"))
    assert found is not None and found.index == 1
    assert str(found).endswith(
        'e.a.VcEvent: [4].text is "it is locked" in one run and "it is unlocked" in the other'
    )
    assert first_difference(traced("same"), traced("same")) is None
    assert traced("a").hash() != traced("b").hash()
    assert normal_form.describe_difference(
        b"", normal_form.of_request(request("Ping", {}))
    ).startswith("only one run has [")
