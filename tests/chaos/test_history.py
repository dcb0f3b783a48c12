"""A changed, removed, added or reordered line of a history is found."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from chaos.errors import ChaosError
from chaos.history import History, verify


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
