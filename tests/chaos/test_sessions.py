"""Sessions as they are heard on the bus: what a host does of one that is over is written down."""

from __future__ import annotations

import msgspec
import pytest

from chaos.checks import CHECKS
from chaos.history import History
from chaos.observe.sessions import OBEYED, OPENED, UnansweredRequests
from protocol.codec import VERSION, Envelope, ReplyEnvelope, encode_envelope, encode_message
from protocol.errors import ErrorBody
from protocol.messages.base import Message
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.session import Done, OpenSession, QueryHost
from protocol.subjects import reply_subject, request_subject
from protocol.terms import NodeName

pytestmark = pytest.mark.sim
VCENTER, HOST = NodeName("vcenter"), NodeName("esxi-001")
OPEN = [OpenSession(session=name, vcenter_boot=1) for name in ("s1", "s2")]
OLD, NEW = (RemoveKeys(session=name, number=1, keys=()) for name in ("s1", "s2"))


class Bus:
    """What is let in, in its order."""

    def __init__(self) -> None:
        self.history = History(None, lambda: 0.0)
        self._sessions = UnansweredRequests(self.history)

    def asks(self, id: int, message: Message) -> None:
        name = type(message).__name__
        envelope = Envelope(VERSION, id, "", VCENTER, 1, 0.0, name, encode_message(message))
        reply = reply_subject(HOST, VCENTER, str(id))
        subject = request_subject(VCENTER, HOST, name)
        self._sessions.hear(subject, reply, encode_envelope(envelope))

    def answers(self, id: int, error: str = "") -> None:
        wrong = ErrorBody(error, "no") if error else None
        body = encode_message(Done())
        envelope = ReplyEnvelope(VERSION, id, HOST, 1, "Done", body, wrong)
        self._sessions.hear(reply_subject(HOST, VCENTER, str(id)), "", encode_envelope(envelope))

    def opens(self, *ids: int) -> None:
        for id in ids:
            self.asks(id, OPEN[id - 1])
            self.answers(id)

    def heard(self, op: str) -> int:
        return sum(record.op == op for record in self.history.records)

    def verdict(self) -> str:
        return CHECKS["session_in_force"].judge(self.history.records).result


def test_a_command_of_a_session_that_is_over_is_told_when_the_host_does_it() -> None:
    bus = Bus()
    bus.opens(1, 2)
    bus.asks(3, OLD)
    bus.answers(3)
    assert (bus.heard(OPENED), bus.heard(OBEYED)) == (2, 1)
    assert bus.verdict() == "fail"


@pytest.mark.parametrize("error", ["NotConnected", ""])
def test_one_that_is_refused_or_was_asked_before_or_is_of_the_new_session_is_well(
    error: str,
) -> None:
    bus = Bus()
    bus.opens(1)
    if error:
        bus.opens(2)
        bus.asks(3, OLD)
    else:
        bus.asks(3, OLD)
        bus.opens(2)
        bus.asks(3, OLD)  # a copy on its way: it is answered as the first one was
    bus.answers(3, error)
    bus.asks(4, NEW)
    bus.answers(4)
    assert bus.heard(OBEYED) == 0
    assert bus.verdict() == "pass"


def test_answers_that_come_in_another_order_do_not_bring_a_session_back() -> None:
    """Seed 96 of vsan: the host opened s1, then s2, and the link delayed the answer of s1."""
    bus = Bus()
    bus.asks(1, OPEN[0])
    bus.asks(2, OPEN[1])
    bus.answers(2)
    bus.answers(1)
    bus.asks(3, NEW)
    bus.answers(3)
    assert (bus.heard(OPENED), bus.heard(OBEYED)) == (2, 0)
    assert bus.verdict() == "pass"
    bus.asks(4, OLD)
    bus.answers(4)
    assert (bus.heard(OBEYED), bus.verdict()) == (1, "fail")


def test_a_copy_of_an_older_opening_does_not_bring_a_session_back() -> None:
    """The broker lets it in once more, and the host answers it as the first time."""
    bus = Bus()
    bus.opens(1, 2)
    bus.opens(1)
    bus.asks(3, NEW)
    bus.answers(3)
    assert (bus.heard(OPENED), bus.verdict()) == (2, "pass")
    bus.asks(4, OLD)
    bus.answers(4)
    assert bus.verdict() == "fail"


def test_a_command_of_a_session_that_was_never_opened_is_told_too() -> None:
    bus = Bus()
    bus.opens(1)
    bus.asks(3, NEW)
    bus.answers(3)
    assert bus.verdict() == "fail"


def test_a_session_that_the_host_refused_is_not_opened() -> None:
    bus = Bus()
    bus.asks(2, OPEN[1])
    bus.answers(2, "NotConnected")
    assert bus.verdict() == "unknown"
    bus.opens(1)
    bus.asks(2, OPEN[1])
    bus.answers(2, "NotConnected")
    bus.asks(3, OLD)
    bus.answers(3)
    assert (bus.heard(OPENED), bus.verdict()) == (1, "pass")


def test_what_is_no_command_is_not_looked_into() -> None:
    bus = Bus()
    bus.asks(1, QueryHost())
    bus.answers(1)
    subject = request_subject(VCENTER, HOST, "RemoveKeys")
    bus._sessions.hear(subject, reply_subject(HOST, VCENTER, "9"), msgspec.msgpack.encode(1))
    bus.opens(1)
    assert [record.op for record in bus.history.records] == [OPENED]
