"""A changed, removed, added or reordered line of a history is found."""

from __future__ import annotations

import hashlib
import os
from itertools import count
from pathlib import Path

import msgspec
import pytest

from chaos.errors import ChaosError
from chaos.history import START, History, Record, verify


@pytest.fixture
def written(tmp_path: Path) -> Path:
    clock = count()
    path = tmp_path / "history.jsonl"
    history = History(path, lambda: float(next(clock)))
    for n in range(6):
        history.add("invoke" if n % 2 == 0 else "ok", "vm-01", op="guest.challenge", n=n)
    history.close()
    return path


def test_what_was_written_is_read_back(written: Path) -> None:
    records = verify(written)
    assert [r.type for r in records] == ["invoke", "ok"] * 3 + ["end"]
    assert [r.t for r in records] == sorted(r.t for r in records)
    assert records[-1].data["lines"] == 7


@pytest.mark.parametrize("line", range(7))
def test_each_removed_line_is_missed(written: Path, line: int) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    with pytest.raises(ChaosError, match="KS-CHAOS-204"):
        verify(written)


@pytest.mark.parametrize("line", range(7))
def test_each_changed_line_is_found(written: Path, line: int) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    changed = lines[line].replace(b'"seq":', b'"sneaky":1,"seq":')
    written.write_bytes(b"".join([*lines[:line], changed, *lines[line + 1 :]]))
    with pytest.raises(ChaosError, match=f"line {line + 1}"):
        verify(written)


@pytest.mark.parametrize("line", range(7))
def test_a_line_that_says_something_else_is_found(written: Path, line: int) -> None:
    """Well formed, with its own digest of the line before: only the chain or the end tells."""
    lines = [msgspec.json.decode(raw, type=Record) for raw in written.read_bytes().splitlines()]
    lines[line] = msgspec.structs.replace(lines[line], t=lines[line].t + 0.5)
    if lines[line].type == "end":
        lines[line] = msgspec.structs.replace(lines[line], data={**lines[line].data, "trace": "0"})
    written.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in lines))
    with pytest.raises(ChaosError, match=f"line {min(line + 2, 7)}"):
        verify(written)


def test_a_history_whose_chain_was_made_anew_around_a_change_is_found_by_its_end(
    written: Path,
) -> None:
    """Every line follows the one before it; the end still has the trace of what was seen."""
    prev, found = START, []
    for raw in written.read_bytes().splitlines():
        record = msgspec.structs.replace(msgspec.json.decode(raw, type=Record), prev=prev)
        if record.seq == 2:
            record = msgspec.structs.replace(record, type="info")
        found.append(msgspec.json.encode(record))
        prev = hashlib.sha256(found[-1]).hexdigest()
    written.write_bytes(b"".join(line + b"\n" for line in found))
    with pytest.raises(ChaosError, match="trace of another history"):
        verify(written)


@pytest.mark.parametrize("line", range(6))
def test_swapped_lines_are_found(written: Path, line: int) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    lines[line], lines[line + 1] = lines[line + 1], lines[line]
    written.write_bytes(b"".join(lines))
    with pytest.raises(ChaosError, match=f"line {line + 1}"):
        verify(written)


def test_a_line_after_the_end_and_an_empty_file_are_found(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join([*lines, lines[-1]]))
    with pytest.raises(ChaosError, match="line 8"):
        verify(written)
    written.write_bytes(b"")
    with pytest.raises(ChaosError, match="the end is missing"):
        verify(written)


def test_a_line_that_follows_the_end_well_is_found_all_the_same(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    prev = hashlib.sha256(lines[-1].rstrip(b"\n")).hexdigest()
    end = msgspec.json.decode(lines[-1], type=Record)
    more = msgspec.structs.replace(end, seq=8, prev=prev, type="ok", data={})
    written.write_bytes(b"".join([*lines, msgspec.json.encode(more)]))
    with pytest.raises(ChaosError, match="line 8: there is a line after the end"):
        verify(written)


def test_it_has_reached_the_device_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced, fsync = tmp_path / "history.jsonl", list[int](), os.fsync

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
    path = tmp_path / "history.jsonl"
    history = History(path, lambda: 0.0, limit=2000)
    for n in range(100):
        history.add("probe", op="vm.running", n=n)
    history.add("fault", op="link.cut", id="wan")
    history.close()
    records = verify(path)
    assert records[-2].type == "fault"
    assert records[-1].data["dropped"] > 50
    assert path.stat().st_size < 3000


def test_the_trace_sees_order_and_time_but_no_data() -> None:
    def trace(*rows: tuple[str, str], start: float = 0.0) -> str:
        clock = count(start)
        history = History(None, lambda: float(next(clock)))
        for type, id in rows:
            history.add(type, "n", op="o", id=id)
        return history.trace

    assert trace(("ok", "a"), ("fail", "b")) == trace(("ok", "c"), ("fail", "d"))
    assert trace(("ok", "a"), ("fail", "b")) != trace(("fail", "a"), ("ok", "b"))
