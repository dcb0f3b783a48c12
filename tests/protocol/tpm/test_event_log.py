"""The TCG2 log: its bytes, its parsing, what it replays to, and every way to be malformed."""

from __future__ import annotations

import hashlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.tpm.event_log import (
    EventLogError,
    body_mismatches,
    encode_log,
    event_digest,
    initial_pcr,
    parse_log,
    replay,
    secure_boot_on,
)
from protocol.tpm.structures import EventType, MeasuredEvent, PcrSelection

EVENTS = st.lists(
    st.builds(
        MeasuredEvent,
        pcr=st.integers(0, 23),
        type=st.sampled_from(EventType),
        body=st.binary(max_size=60),
        digest=st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
    ),
    max_size=8,
)
ALL = PcrSelection.of(range(24))
LONGEST = (64 << 10, (64 << 10) + 1)  # of a body that is accepted, and of one that is not
ONE = MeasuredEvent(7, EventType.SEPARATOR, bytes(4))


def test_layout_is_the_crypto_agile_one() -> None:
    log = encode_log([ONE])
    pcr, kind, digest, size = struct.unpack_from("<II20sI", log, 0)
    assert (pcr, kind, digest) == (0, EventType.NO_ACTION, bytes(20))
    spec = log[32 : 32 + size]
    assert spec[:16] == b"Spec ID Event03\0"
    platform, minor, major, errata, words = struct.unpack_from("<IBBBB", spec, 16)
    assert (platform, minor, major, errata, words) == (0, 0, 2, 0, 2)
    assert struct.unpack_from("<IHH", spec, 24) == (1, 0x000B, 32)
    assert spec[32:] == b"\0"
    record = log[32 + size :]
    assert struct.unpack_from("<IIIH", record, 0) == (7, EventType.SEPARATOR, 1, 0x000B)
    assert record[14:46] == hashlib.sha256(bytes(4)).digest()
    assert struct.unpack_from("<I", record, 46) == (4,)
    assert record[50:] == bytes(4)


@given(EVENTS)
def test_what_was_encoded_is_parsed(events: list[MeasuredEvent]) -> None:
    parsed = parse_log(encode_log(events))
    assert [(e.pcr, e.type, e.body) for e in parsed] == [(e.pcr, e.type, e.body) for e in events]
    assert replay(parsed, ALL) == replay(events, ALL)


def test_replay_is_a_chain_of_hashes() -> None:
    first, second = (hashlib.sha256(body).digest() for body in (b"a", b"b"))
    events = [
        MeasuredEvent(4, EventType.EFI_ACTION, b"a"),
        MeasuredEvent(5, EventType.EFI_ACTION, b"elsewhere"),
        MeasuredEvent(4, EventType.IPL, b"not this", second),
        MeasuredEvent(4, EventType.NO_ACTION, b"not extended"),
    ]
    once = hashlib.sha256(bytes(32) + first).digest()
    values = replay(events, PcrSelection((4, 6)))
    assert values == {4: hashlib.sha256(once + second).digest(), 6: bytes(32)}
    assert replay(reversed(events), PcrSelection((4,)))[4] != values[4]


def test_initial_values() -> None:
    ones = {pcr for pcr in range(24) if initial_pcr(pcr) == b"\xff" * 32}
    assert ones == {17, 18, 19, 20, 21, 22}
    assert initial_pcr(23) == bytes(32)


def test_unmeasured_event_has_no_digest_in_the_log() -> None:
    (event,) = parse_log(encode_log([MeasuredEvent(0, EventType.NO_ACTION, b"note")]))
    assert event.digest == bytes(32)


def test_truncated_log_is_refused_at_every_length() -> None:
    log = encode_log([ONE, MeasuredEvent(1, EventType.EFI_ACTION, b"body")])
    whole = {0: 0}
    for length in range(len(log)):
        try:
            whole[length] = len(parse_log(log[:length]))
        except EventLogError:
            continue
    # Cuts between records are logs of fewer events: only the PCR values tell them.
    header = len(encode_log([]))
    assert {length: n for length, n in whole.items() if length} == {
        header: 0,
        len(encode_log([ONE])): 1,
    }


@pytest.mark.parametrize(
    ("at", "data"),
    [
        (0, struct.pack("<I", 24)),  # no such PCR
        (4, struct.pack("<I", 0x12345)),  # unknown type
        (8, struct.pack("<I", 2)),  # two digests
        (12, struct.pack("<H", 0x0004)),  # SHA-1
        (46, struct.pack("<I", 0xFFFFFFFF)),  # body longer than the log
        (46, struct.pack("<I", 3)),  # a byte left over
    ],
)
def test_malformed_record_is_refused(at: int, data: bytes) -> None:
    log = bytearray(encode_log([ONE]))
    start = len(encode_log([])) + at
    log[start : start + len(data)] = data
    with pytest.raises(EventLogError):
        parse_log(bytes(log))


def test_a_body_has_a_longest_length() -> None:
    longest, longer = (encode_log([MeasuredEvent(4, EventType.IPL, bytes(n))]) for n in LONGEST)
    assert len(parse_log(longest)[0].body) == LONGEST[0]
    with pytest.raises(EventLogError, match=f"its body of {LONGEST[1]} bytes"):
        parse_log(longer)


def test_other_header_is_refused() -> None:
    with pytest.raises(EventLogError):
        parse_log(encode_log([])[1:])
    with pytest.raises(EventLogError):
        parse_log(b"")


def test_body_that_is_not_what_was_measured_is_found() -> None:
    lie = MeasuredEvent(7, EventType.EFI_ACTION, b"harmless", event_digest(ONE))
    image = MeasuredEvent(4, EventType.EFI_BOOT_SERVICES_APPLICATION, b"path", bytes(32))
    assert body_mismatches([ONE, image]) == ()
    assert body_mismatches([ONE, lie, image]) == (1,)


def variable(name: str, data: bytes, size: int | None = None) -> MeasuredEvent:
    """UEFI_VARIABLE_DATA as firmware measures it; ``size``: what it says of its data."""
    said = len(data) if size is None else size
    head = bytes(16) + struct.pack("<QQ", len(name), said)
    body = head + name.encode("utf-16-le") + data
    return MeasuredEvent(7, EventType.EFI_VARIABLE_DRIVER_CONFIG, body)


ON, OFF = variable("SecureBoot", b"\x01"), variable("SecureBoot", b"\x00")
HIDDEN = msgspec.structs.replace(OFF, type=EventType.IPL, body=b"", digest=event_digest(OFF))


@pytest.mark.parametrize(
    ("events", "on"),
    [
        ([ON], True),
        ([OFF], False),
        ([ON, OFF], False),
        ([ON, variable("PK", b"")], True),
        ([], False),
        ([variable("SecureBooT", b"\x01")], False),
        ([variable("SecureBoot", b"")], False),
        ([variable("SecureBoot", b"\x01\x01")], False),
        ([variable("SecureBoot", b"\x01", size=0)], False),  # it is not as long as it says
        ([variable("SecureBoot", b"\x01", size=2)], False),
        ([msgspec.structs.replace(ON, type=EventType.EFI_VARIABLE_AUTHORITY)], False),
        ([msgspec.structs.replace(ON, body=ON.body[:31])], False),
        ([ONE, ON], False),  # after the separator anybody extends it
        ([ON, ONE, OFF], True),
        ([ON, msgspec.structs.replace(ONE, body=b"\xff" * 4), OFF], True),
        ([ON, msgspec.structs.replace(OFF, pcr=10)], True),
        ([msgspec.structs.replace(ON, pcr=10)], False),
        ([HIDDEN, ON], False),
        ([ON, HIDDEN], False),
        ([msgspec.structs.replace(OFF, type=EventType.EFI_ACTION), ON], False),
        ([ON, msgspec.structs.replace(HIDDEN, type=EventType.NO_ACTION)], True),
    ],
)
def test_secure_boot_is_on_when_its_variable_was_on_each_time(
    events: list[MeasuredEvent], on: bool
) -> None:
    assert secure_boot_on(events) is on
