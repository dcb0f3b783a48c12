"""What was said on a bus is read back as it was said, without a byte of it."""

from __future__ import annotations

import errno
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos.conversation import (
    BusRecording,
    ConversationEnd,
    Said,
    conversation,
    fingerprint,
    read_payloads,
)
from chaos.errors import ChaosError
from chaos.history import pack
from protocol.codec import VERSION, Envelope, ReplyEnvelope, encode_envelope, encode_message
from protocol.errors import NotFound
from protocol.messages.base import NIL, Pong
from protocol.messages.host.vms import GuestWrite
from protocol.terms import NodeName, VmName

BOX, MARKER = b"sealed" * 8, b"marker" * 4
VCENTER, HOST = NodeName("vcenter"), NodeName("esxi-001")


def request() -> bytes:
    body = encode_message(GuestWrite(vm=VmName("vm-01"), marker=MARKER))
    sent = Envelope(VERSION, 7, "cli/1/3", VCENTER, 1, 0.0, "GuestWrite", body, (BOX,))
    return encode_envelope(sent)


def reply(error: bool = False) -> bytes:
    why = NotFound("k-1").body() if error else None
    body = NIL if error else encode_message(Pong(boot=1, role="esxi"))
    name = "" if error else "Pong"
    return encode_envelope(ReplyEnvelope(VERSION, 7, HOST, 1, name, body, why))


MESSAGES = (
    ("l.vcenter.esxi-001.q.GuestWrite", request()),
    ("l.esxi-001.vcenter._r.t", reply()),
    ("l.esxi-001.vcenter._r.t", reply(error=True)),
    ("e.vcenter.VcEvent", request()),
    ("l.vcenter.esxi-001.q.GuestWrite", b"\x00no message"),
)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    clock = count()
    path = tmp_path / "bus.msgpack"
    recording = BusRecording(path.open("xb"), lambda: float(next(clock)))
    for subject, payload in MESSAGES:
        recording.hear(subject, "l.esxi-001.vcenter._r.t", payload)
    recording.close(gaps=2)
    return path


def test_it_is_read_back_with_fingerprints_in_the_place_of_bytes(recorded: Path) -> None:
    *said, end = conversation(BytesIO(recorded.read_bytes()))
    assert end == ConversationEnd(messages=5, dropped=0, gaps=2)
    asked, answered, refused, told, wrong = (one for one in said if isinstance(one, Said))
    assert (asked.src, asked.dst, asked.kind, asked.name, asked.id) == (
        "vcenter",
        "esxi-001",
        "request",
        "GuestWrite",
        7,
    )
    assert asked.body["vm"] == "vm-01"
    assert (asked.body["marker"], asked.boxes) == (fingerprint(MARKER), (fingerprint(BOX),))
    assert asked.cause == "cli/1/3"
    assert [one.t for one in (asked, answered, refused, told, wrong)] == [1, 2, 3, 4, 5]
    assert (answered.kind, answered.name, answered.body["boot"]) == ("reply", "Pong", 1)
    assert (refused.kind, refused.name, refused.body["text"]) == ("error", "NotFound", "k-1")
    assert (told.kind, told.src, told.dst) == ("event", "vcenter", "")
    assert (wrong.kind, wrong.src) == ("wrong", "vcenter")
    assert "envelope" in wrong.wrong
    shown = msgspec.json.encode([asked, answered, refused, told, wrong])
    assert MARKER not in shown
    assert MARKER.hex().encode() not in shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw[:-1], "record 6: it is cut off"),
        (lambda raw: raw[: -len(pack({"messages": 5, "dropped": 0, "gaps": 2}))], "end is missing"),
        (lambda raw: raw + pack((1.0, "e.x.Y", b"")), "record 7: there is a record after the end"),
        (lambda raw: pack("hello") + raw, "record 1: it is no message"),
        (lambda raw: pack((1.0, "e.x.Y", b"")) + raw, "record 7: it is no message"),
        (lambda raw: b"", "record 1: the end is missing"),
    ],
)
def test_a_recording_that_was_changed_or_cut_off_is_told(
    recorded: Path, change: object, words: str
) -> None:
    assert callable(change)
    recorded.write_bytes(change(recorded.read_bytes()))
    with pytest.raises(ChaosError, match=words):
        list(conversation(BytesIO(recorded.read_bytes())))


def test_whatever_bit_is_turned_over_it_is_read_or_refused(recorded: Path) -> None:
    whole, refused = recorded.read_bytes(), 0
    for place in range(len(whole)):
        for bit in range(8):
            spoilt = bytearray(whole)
            spoilt[place] ^= 1 << bit
            try:
                assert isinstance(list(conversation(BytesIO(spoilt)))[-1], ConversationEnd)
            except ChaosError as error:
                assert error.id == "KS-CHAOS-204"
                refused += 1
    assert refused > 100


class Device(BytesIO):
    """Takes so many values, and no more; ``left``: what a reader finds after the close."""

    room = 3
    left = b""

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= 1
        return super().write(data)

    def close(self) -> None:
        self.left = self.getvalue()
        super().close()


def test_when_the_device_is_full_it_counts_what_it_leaves_out() -> None:
    file = Device()
    recording = BusRecording(file, lambda: 0.0)
    assert recording.flush()
    for _ in range(10):
        recording.hear(*MESSAGES[0][:1], "", MESSAGES[0][1])
    assert (recording.dropped, recording.flush()) == (7, False)
    file.room = 9  # somebody made room: what was missed meanwhile is missed
    recording.hear(*MESSAGES[0][:1], "", MESSAGES[0][1])
    recording.close()
    *said, end = conversation(BytesIO(file.left))
    assert (len(said), end) == (3, ConversationEnd(messages=3, dropped=8, gaps=0))


def test_a_device_that_stays_full_ends_no_run() -> None:
    file = Device()
    recording = BusRecording(file, lambda: 0.0)
    for _ in range(10):
        recording.hear(*MESSAGES[0][:1], "", MESSAGES[0][1])
    recording.close()
    assert len(list(read_payloads(BytesIO(file.left)))) == 3
    with pytest.raises(ChaosError, match="the end is missing"):
        list(conversation(BytesIO(file.left)))


def test_one_that_goes_on_is_read_as_far_as_it_came(recorded: Path) -> None:
    whole = recorded.read_bytes()
    assert list(read_payloads(BytesIO(whole))) == list(MESSAGES)
    assert list(read_payloads(BytesIO(whole[:-20]))) == list(MESSAGES)
    assert list(read_payloads(BytesIO(whole[: len(whole) // 2]))) == list(MESSAGES)[:2]


def test_what_is_heard_after_the_end_is_left_out() -> None:
    file = BytesIO()
    recording = BusRecording(file, lambda: 0.0)
    recording.close()
    recording.hear("l.a.b.q.X", "", b"late")
    assert file.closed
