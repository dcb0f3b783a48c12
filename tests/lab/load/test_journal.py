"""The journal of a load on a server: disks that are full for a while, files that were damaged."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.load.stored_loads import JOURNAL_FILE, recover_report
from tests.lab.load.test_changing import Played

pytestmark = pytest.mark.sim


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    return tmp_path


class Disk:
    """In the journal's place of a file: without room from the ``first`` write of it to the one
    before ``until``, which take ``fit`` bytes each."""

    def __init__(self, path: Path, first: int, until: int, fit: int) -> None:
        self._fd = os.open(path, os.O_WRONLY)
        self._first, self._until, self._fit = first, until, fit
        self._writes = 0
        self.closed = False

    def fileno(self) -> int:
        return self._fd

    def write(self, data: bytes) -> int:
        self._writes += 1
        if not self._first <= self._writes < self._until:
            return os.write(self._fd, data)
        if not self._fit:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(self._fd, data[: self._fit])

    def seek(self, place: int) -> int:
        return os.lseek(self._fd, place, os.SEEK_SET)

    def truncate(self, size: int) -> int:
        os.ftruncate(self._fd, size)
        return size

    def close(self) -> None:
        self.closed = True
        os.close(self._fd)


@pytest.mark.slow
@pytest.mark.parametrize("fit", [0, 100])
def test_what_a_full_disk_refused_is_written_when_there_is_room(
    fit: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without a buffer takes a part and says so, instead of raising."""
    whole = recover_report(Played({20.0: "100/s"}, 1, until=33.0).folder, "broken off")
    told: list[str] = []

    def full(played: Played) -> None:
        journal = played.journal
        journal.close()
        disk = Disk(played.folder.path / JOURNAL_FILE, 5, 16, fit)
        disk.seek(journal._size)
        journal._file = disk  # type: ignore[assignment]
        journal._tell = told.append

    played = Played({20.0: "100/s"}, 1, until=33.0, before=full)
    again = recover_report(played.folder, "broken off")
    assert whole is not None and again is not None
    assert again.items == whole.items and again.changes == whole.changes
    assert len(told) == 2 and "No space left" in told[0] and "written again" in told[1]


def test_without_room_to_its_end_there_is_what_was_written_before(home: Path) -> None:
    def full(played: Played) -> None:
        journal = played.journal
        journal.close()
        disk = Disk(played.folder.path / JOURNAL_FILE, 20, 1000, 300)
        disk.seek(journal._size)
        journal._file = disk  # type: ignore[assignment]

    played = Played({}, 1, until=33.0, before=full)
    told = recover_report(played.folder, "broken off")
    assert told is not None and told.warmup + told.seconds == pytest.approx(19, abs=0.01)


def nothing(data: bytes) -> bytes:
    return b""


def begin(data: bytes) -> bytes:
    return data[:9]


@pytest.mark.slow
@pytest.mark.parametrize("damage", [nothing, begin])
def test_a_load_that_was_killed_as_its_journal_began_has_measured_nothing(
    damage: Callable[[bytes], bytes], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = Played({}, 1, until=8.0)
    file = played.folder.path / JOURNAL_FILE
    file.write_bytes(damage(file.read_bytes()))
    assert run(["describe", "run", played.folder.run]) == 0
    assert "killed before it began" in capsys.readouterr().out
    for words in (["report", played.folder.run, "-o", str(home / "a.html")],):
        assert run(words) == 64
        err = capsys.readouterr().err
        assert "KS-RUN-001" in err and "killed before it began" in err


def gap(data: bytes) -> bytes:
    return data[:1500] + data[1600:]


def flipped(data: bytes) -> bytes:
    return data[:2000] + bytes((data[2000] ^ 1,)) + data[2001:]


def other(data: bytes) -> bytes:
    return b"\x93\x01\x02\x03" + data


def noise(data: bytes) -> bytes:
    return b"\xc1\x00\xff" * 300


@pytest.mark.slow
@pytest.mark.parametrize("damage", [gap, flipped, other, noise])
def test_a_journal_that_is_damaged_is_one_message(
    damage: Callable[[bytes], bytes], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = Played({}, 1)
    file = played.folder.path / JOURNAL_FILE
    file.write_bytes(damage(file.read_bytes()))
    for words in (
        ["describe", "run", played.folder.run],
        ["report", played.folder.run, "-o", str(home / "page.html")],
        ["load", "compare", played.folder.run, "other"],
    ):
        assert run(words) == 4
        out, err = capsys.readouterr()
        assert out == "" and "error KS-RUN-004: " in err and JOURNAL_FILE in err
