"""A changed, removed, added or reordered record of a history is found."""

from __future__ import annotations

import errno
import hashlib
import os
from io import BytesIO, FileIO
from itertools import count
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

from chaos.checks import judge
from chaos.checks.result import CheckOutcome
from chaos.errors import ChaosError
from chaos.history import (
    FULL,
    START,
    History,
    Record,
    as_written,
    pack,
    read_packed,
    records_of,
    verify,
)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    clock = count()
    path = tmp_path / "history.msgpack"
    history = History(path, lambda: float(next(clock)))
    for n in range(6):
        history.add("invoke" if n % 2 == 0 else "ok", "vm-01", op="guest.challenge", n=n)
    history.close()
    return path


def values_of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(read_packed(file))


def test_what_was_written_is_read_back(written: Path) -> None:
    records = verify(written)
    assert [r.type for r in records] == ["invoke", "ok"] * 3 + ["end"]
    assert [r.t for r in records] == sorted(r.t for r in records)
    assert records[-1].data["records"] == 7


@pytest.mark.parametrize("place", range(7))
def test_each_removed_line_is_missed(written: Path, place: int) -> None:
    values = values_of(written)
    written.write_bytes(b"".join(values[:place] + values[place + 1 :]))
    with pytest.raises(ChaosError, match="KS-CHAOS-204"):
        verify(written)


@pytest.mark.parametrize("place", range(7))
def test_each_changed_line_is_found(written: Path, place: int) -> None:
    values = values_of(written)
    changed = pack({"sneaky": 1, **msgspec.msgpack.decode(values[place])})
    written.write_bytes(b"".join([*values[:place], changed, *values[place + 1 :]]))
    with pytest.raises(ChaosError, match=f"record {place + 1}"):
        verify(written)


@pytest.mark.parametrize("place", range(7))
def test_a_line_that_says_something_else_is_found(written: Path, place: int) -> None:
    """Well formed, with its own digest of the line before: only the chain or the end tells."""
    records = [msgspec.msgpack.decode(raw, type=Record) for raw in values_of(written)]
    said = records[place]
    records[place] = msgspec.structs.replace(said, t=said.t + 0.5)
    if said.type == "end":
        records[place] = msgspec.structs.replace(said, data={**said.data, "trace": "0"})
    written.write_bytes(b"".join(map(as_written, records)))
    with pytest.raises(ChaosError, match=f"record {min(place + 2, 7)}"):
        verify(written)


def test_a_history_whose_chain_was_made_anew_around_a_change_is_found_by_its_end(
    written: Path,
) -> None:
    """Every line follows the one before it; the end still has the trace of what was seen."""
    prev, found = START, []
    for raw in values_of(written):
        record = msgspec.structs.replace(msgspec.msgpack.decode(raw, type=Record), prev=prev)
        if record.seq == 2:
            record = msgspec.structs.replace(record, type="info")
        found.append(as_written(record))
        prev = hashlib.sha256(found[-1]).hexdigest()
    written.write_bytes(b"".join(found))
    with pytest.raises(ChaosError, match="trace of another history"):
        verify(written)


@pytest.mark.parametrize("place", range(6))
def test_swapped_lines_are_found(written: Path, place: int) -> None:
    values = values_of(written)
    values[place], values[place + 1] = values[place + 1], values[place]
    written.write_bytes(b"".join(values))
    with pytest.raises(ChaosError, match=f"record {place + 1}"):
        verify(written)


def test_a_line_after_the_end_and_an_empty_file_are_found(written: Path) -> None:
    values = values_of(written)
    written.write_bytes(b"".join([*values, values[-1]]))
    with pytest.raises(ChaosError, match="record 8"):
        verify(written)
    written.write_bytes(b"")
    with pytest.raises(ChaosError, match="the end is missing"):
        verify(written)


def test_a_line_that_follows_the_end_well_is_found_all_the_same(written: Path) -> None:
    values = values_of(written)
    prev = hashlib.sha256(values[-1]).hexdigest()
    end = msgspec.msgpack.decode(values[-1], type=Record)
    more = msgspec.structs.replace(end, seq=8, prev=prev, type="ok", data={})
    written.write_bytes(b"".join([*values, as_written(more)]))
    with pytest.raises(ChaosError, match="record 8: there is a record after the end"):
        verify(written)


@pytest.mark.parametrize("more", [b"\xc1", b"\x93\x01", b"\xdb\xff\xff\xff\xff"])
def test_bytes_that_are_no_msgpack_and_a_value_cut_off_are_told(written: Path, more: bytes) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole + more)
    with pytest.raises(ChaosError, match="KS-CHAOS-204: record 8"):
        verify(written)
    written.write_bytes(whole[:-1])
    with pytest.raises(ChaosError, match="KS-CHAOS-204: record 7: it is cut off"):
        verify(written)


def test_no_bit_of_it_can_be_turned_over(written: Path) -> None:
    """A reader is told so, whatever the bit makes of the bytes: text that is none, other sizes."""
    whole = written.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            spoilt = bytearray(whole)
            spoilt[place] ^= 1 << bit
            with pytest.raises(ChaosError, match="KS-CHAOS-204"):
                list(records_of(read_packed(BytesIO(spoilt))))


def test_any_reader_of_msgpack_reads_it(written: Path) -> None:
    with written.open("rb") as file:
        assert [value["seq"] for value in msgpack.Unpacker(file)] == list(range(1, 8))


def test_it_has_reached_the_device_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced, fsync = tmp_path / "history.msgpack", list[int](), os.fsync

    def seen(fd: int) -> None:
        if os.path.samestat(os.fstat(fd), path.stat()):
            synced.append(os.fstat(fd).st_size)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", seen)
    history = History(path, lambda: 0.0)
    history.add("fault", op="link.cut", id="wan")
    history.close()
    assert synced == [path.stat().st_size]


def test_over_its_limit_it_keeps_faults_and_says_what_it_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.msgpack"
    history = History(path, lambda: 0.0, limit=2000)
    for n in range(100):
        history.add("probe", op="vm.running", n=n)
    history.add("fault", op="link.cut", id="wan")
    history.close()
    records = verify(path)
    ends = [("note", FULL), ("fault", "link.cut"), ("end", "")]
    assert [(r.type, r.op) for r in records[-3:]] == ends
    kept = sum(record.type == "probe" for record in records)
    assert records[-1].data["dropped"] == 100 - kept > 50
    assert path.stat().st_size < 3000


def test_over_a_history_that_came_to_its_limit_nothing_passes() -> None:
    """What would speak against it may be what was left out; what was seen before stays seen."""
    history = History(None, lambda: 0.0, limit=1000)
    history.add("ok", "vm-01", op="guest.challenge")
    history.add("state", op="counters", boot=1)
    before = judge(["guests_read_back"], history.records)
    assert before[0].result is CheckOutcome.PASS
    while not history.dropped:
        history.add("note", op="noise")
    [full] = [r for r in history.records if r.op == FULL]
    [found] = judge(["guests_read_back"], history.records)
    assert found.result is CheckOutcome.UNKNOWN
    until = "until then: 1 answers, all right"
    assert found.text == f"from record {full.seq} on the history was full; {until}"
    wrong = [msgspec.structs.replace(history.records[0], data={"wrong": "x"}), *history.records[1:]]
    assert judge(["guests_read_back"], wrong)[0].result is CheckOutcome.FAIL


class Device(FileIO):
    """Takes a part of what it is given at a time, and refuses when it is full."""

    room = 2000

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = bytes(data)[: min(self.room, 100)]
        self.room -= len(taken)
        return super().write(taken)


def refused(path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> History:
    monkeypatch.setattr(Device, "room", room)
    monkeypatch.setattr(Path, "open", lambda self, *given, **options: Device(self, "xb"))
    history = History(path, lambda: 0.0)
    for n in range(50):
        history.add("probe", op="vm.running", n=n)
    history.close()
    monkeypatch.undo()
    return history


def test_a_device_that_takes_parts_has_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = refused(tmp_path / "history", monkeypatch, 1 << 20)
    assert history.refused is None
    assert verify(tmp_path / "history") == tuple(history.records)


def test_a_device_that_refuses_ends_no_run_and_the_file_is_no_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = refused(tmp_path / "history", monkeypatch, 2000)
    assert history.refused is not None and history.refused.errno == errno.ENOSPC
    assert len(history.records) == 51  # the checks of this run judge them all
    with pytest.raises(ChaosError, match="cut off"):
        verify(tmp_path / "history")


def test_the_trace_sees_order_and_time_but_no_data() -> None:
    def trace(*rows: tuple[str, str], start: float = 0.0) -> str:
        clock = count(start)
        history = History(None, lambda: float(next(clock)))
        for type, id in rows:
            history.add(type, "n", op="o", id=id)
        return history.trace

    assert trace(("ok", "a"), ("fail", "b")) == trace(("ok", "c"), ("fail", "d"))
    assert trace(("ok", "a"), ("fail", "b")) != trace(("fail", "a"), ("ok", "b"))


@pytest.mark.slow
def test_a_changed_byte_anywhere_is_found_and_is_no_defect_of_the_reader(written: Path) -> None:
    """Also where it makes a text that is no UTF-8."""
    whole = written.read_bytes()
    for place in range(len(whole)):
        for changed in (whole[place] ^ 0x80, whole[place] ^ 0x01):
            written.write_bytes(whole[:place] + bytes([changed]) + whole[place + 1 :])
            with pytest.raises(ChaosError) as caught:
                verify(written)
            assert caught.value.id == "KS-CHAOS-204", place


@pytest.mark.slow
def test_a_history_cut_at_any_byte_is_found(written: Path) -> None:
    whole = written.read_bytes()
    for place in range(len(whole)):
        written.write_bytes(whole[:place])
        with pytest.raises(ChaosError, match="KS-CHAOS-204"):
            verify(written)
