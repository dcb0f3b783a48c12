"""``kmip cut-trail`` and ``kmip verify-trail``: old rows in files that prove themselves."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import run
from lab.kmip import trails
from lab.kmip.alone import Alone
from protocol.errors import GeneralFailure
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit import audit_trail
from services.kms.custody.trail_retention import Retention
from services.kms.objects.request_types import Create
from services.kms.settings.config import KmsConfig, KmsRole

OWNER = KeyServerCaller("app", KmsRole.OWNER, "default")
SOON = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
FIRST = "2000-01-01"


async def life(folder: Path, keys: int) -> None:
    """Of a server in which so many are made."""
    server = Alone(folder / "disk", KmsConfig())
    await server.start()
    for _ in range(keys):
        await server.service.core.execute(OWNER, Create())
    await server.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    (folder / "disk").mkdir(parents=True)
    asyncio.run(life(folder, 5))
    return folder


def cut(folder: Path, to: Path, before: str = SOON) -> int:
    words = ["kmip", "cut-trail", "--folder", str(folder), "--to", str(to), "--before", before]
    return run([*words, "-o", "json"])


def verify(*files: object) -> int:
    return run(["kmip", "verify-trail", *map(str, files), "-o", "json"])


def there(folder: Path) -> list[int]:
    """Numbers of the rows in the database."""
    with closing(sqlite3.connect(folder / "disk" / "databases" / "keys.db")) as opened:
        return [number for (number,) in opened.execute("SELECT sequence FROM audit")]


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.mark.slow
def test_old_rows_are_in_files_that_are_one_trail_and_no_more_at_the_server(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(trails, "PAGE", 2)
    one, two = tmp_path / "one", tmp_path / "two"
    assert cut(folder, one, FIRST) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["rows"] == 0 and "nothing was cut" in told.err
    assert not one.exists() and len(there(folder)) == 5
    assert cut(folder, one) == 0
    part = answer(capsys)
    assert (part["rows"], part["first"], part["last"]) == (5, 1, 5)
    assert there(folder) == [6], "that it was cut"
    assert one.stat().st_mode & 0o077 == 0
    asyncio.run(life(folder, 2))
    assert cut(folder, two) == 0
    capsys.readouterr()
    asyncio.run(life(folder, 1))
    assert verify(one, two) == 0
    part = answer(capsys)
    assert (part["rows"], part["first"], part["last"]) == (8, 1, 8)
    assert there(folder) == [9, 10]
    assert not list(tmp_path.glob(".*"))
    for order in ((two, one), (one, one)):
        assert verify(*order) == 1
        assert "KS-KMIP-005" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_is_checked_row_by_row(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one"
    assert cut(folder, file) == 0
    lines, other = file.read_bytes().splitlines(keepends=True), tmp_path / "other"
    flipped = [line.replace(b'"Create"', b'"Get"') for line in lines]
    for altered, code, error in (
        (lines[:-1], 1, "KS-KMIP-005"),
        (lines[:2] + lines[3:], 1, "KS-KMIP-005"),
        (lines[:1] + lines[2:], 1, "KS-KMIP-005"),
        (flipped, 1, "KS-KMIP-005"),
        ([*lines, b"\n"], 1, "KS-KMIP-005"),
        (lines[:-2] + lines[-1:], 1, "KS-KMIP-005"),
        ([*lines[:3], b"[]\n", *lines[3:]], 1, "KS-KMIP-005"),
        ([lines[0].rstrip() + b" " * trails.LINE + b"\n", *lines[1:]], 1, "KS-KMIP-005"),
        ([b"\xff"], 64, "KS-USE-003"),
        ([], 64, "KS-USE-003"),
        (lines[1:], 64, "KS-USE-003"),
    ):
        other.write_bytes(b"".join(altered))
        assert verify(other) == code, altered
        assert error in capsys.readouterr().err
    assert verify(file) == 0


@pytest.mark.slow
def test_what_is_said_of_bad_input(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    empty = tmp_path / "empty"
    (empty / "disk").mkdir(parents=True)
    for ask, said in (
        (partial(cut, folder, taken), "it is there already"),
        (partial(cut, folder, tmp_path / "no" / "where"), "No such file or directory"),
        (partial(cut, folder, Path()), "it is there already"),
        (partial(cut, folder, Path("/")), "it is there already"),
        (partial(cut, folder, tmp_path / ("a" * 252)), "File name too long"),
        (partial(cut, folder, tmp_path / ("a" * 256)), "File name too long"),
        (partial(cut, tmp_path / "none", taken), "no key server has kept anything there"),
        (partial(cut, empty, taken), "no key server has kept anything there"),
        (partial(cut, folder, tmp_path / "new", "yesterday"), "a date, or a date and time"),
        (partial(verify, tmp_path / "none"), "No such file or directory"),
        (verify, "name one file or several"),
    ):
        assert ask() == 64, said
        told = capsys.readouterr().err
        assert "KS-USE-003" in told and said in told
    assert taken.read_text() == "mine" and len(there(folder)) == 5
    assert not [one for one in empty.rglob("*") if one.is_file()], "no server was begun in it"


@pytest.mark.slow
def test_a_cut_that_fails_behind_its_file_is_told_with_it(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(*_: object) -> None:
        raise GeneralFailure("the disk is full")

    monkeypatch.setattr(Retention, "cut", fails)
    assert cut(folder, tmp_path / "one") == 1
    told = capsys.readouterr().err
    assert "KS-KMIP-001" in told and "rows up to 5, which may be there still" in told
    assert verify(tmp_path / "one") == 0 and len(there(folder)) == 5


def forged(file: Path, to: Path) -> None:
    """Other rows with digests that fit, and ends that fit to them."""
    begin, *rows, end = [json.loads(line) for line in file.read_text().splitlines()]
    digest = bytes.fromhex(begin["digest"])
    for row in rows:
        row[2] = "somebody else"
        digest = audit_trail.link(digest, row[:-1])
        row[-1] = digest.hex()
    end["digest"] = digest.hex()
    to.write_text("".join(f"{json.dumps(line)}\n" for line in (begin, *rows, end)))


@pytest.mark.slow
def test_a_file_that_was_written_anew_is_not_what_the_server_was_cut_to(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, false = tmp_path / "one", tmp_path / "two", tmp_path / "false"
    assert cut(folder, one) == 0 and cut(folder, two) == 0
    forged(two, false)
    assert verify(one, false) == 0, "digests alone say that nothing was lost"
    at = ("--folder", folder)
    assert verify(one, two, *at) == 0 and verify(two, *at) == 0
    capsys.readouterr()
    for files in ((false,), (one, false)):
        assert verify(*files, *at) == 1
        told = capsys.readouterr().err
        assert "KS-KMIP-005" in told and "rows 6 to 6 as they are here were never cut" in told
    assert verify(one, "--passphrase-file", one) == 64
    assert "--passphrase-file needs --folder" in capsys.readouterr().err
    assert there(folder) == [7]


class System:
    """The calls of the operating system that write a file; ``instead`` of some of them."""

    def __init__(self, **instead: Callable[..., Any]) -> None:
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(os, name)


class Full:
    """A place in which there is room for so many bytes."""

    def __init__(self, room: int) -> None:
        self._room = room

    def write(self, _: int, data: bytes) -> int:
        """As much as there is room for is there."""
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= (taken := min(self._room, len(data)))
        return taken


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 50, 400])
def test_a_place_without_room_keeps_the_trail_whole_and_no_draft(
    folder: Path,
    tmp_path: Path,
    room: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(trails, "os", System(write=Full(room).write))
    assert cut(folder, place / "one") == 64
    assert "No space left on device" in capsys.readouterr().err
    assert there(folder) == [1, 2, 3, 4, 5] and not list(place.iterdir())


def test_nothing_is_cut_that_is_not_in_the_file_as_it_is_read_again(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A device that lies about what it has written."""
    monkeypatch.setattr(
        trails,
        "os",
        System(write=lambda out, data: os.write(out, data.replace(b'"Create"', b'"create"'))),
    )
    assert cut(folder, tmp_path / "one") == 1
    assert "KS-KMIP-005" in capsys.readouterr().err
    assert there(folder) == [1, 2, 3, 4, 5]


def test_nothing_is_cut_when_the_file_is_that_of_another_server(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two that are given one name at once."""
    other = tmp_path / "keys-of-another"
    asyncio.run(life(other, 5))
    assert cut(other, tmp_path / "theirs") == 0
    taken = System(link=lambda _, file: shutil.copy(tmp_path / "theirs", file))
    monkeypatch.setattr(trails, "os", taken)
    assert cut(folder, tmp_path / "one") == 1
    told = capsys.readouterr().err
    assert "KS-KMIP-005" in told and "somebody else has written that file" in told
    assert there(folder) == [1, 2, 3, 4, 5]


class Killed(BaseException):
    """Nothing of the process goes on."""


def dies(*_: object) -> None:
    raise Killed


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fsync", "link", "unlink"])
def test_a_file_is_whole_when_it_has_its_name(
    folder: Path, tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whoever was interrupted gives the same command again."""
    file = tmp_path / "one"
    with monkeypatch.context() as struck, pytest.raises(Killed):
        struck.setattr(trails, "os", System(**{call: dies}))
        cut(folder, file)
    assert there(folder) == [1, 2, 3, 4, 5]
    if file.exists():
        assert verify(file) == 0
    else:
        assert cut(folder, file) == 0


def test_a_place_without_hard_links_has_the_file_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(trails, "os", System(link=refuses))
    assert cut(folder, tmp_path / "one") == 0 and verify(tmp_path / "one") == 0
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["one"]
