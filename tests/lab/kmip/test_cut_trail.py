"""``kmip cut-trail`` and ``kmip verify-trail``: old rows in files that prove themselves."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
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
from services.kms.access import Caller
from services.kms.config import KmsConfig, KmsRole
from services.kms.operations import Create
from services.kms.retention import Retention

OWNER = Caller("app", KmsRole.OWNER, "default")
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


def verify(*files: Path) -> int:
    return run(["kmip", "verify-trail", *map(str, files), "-o", "json"])


def there(folder: Path) -> list[int]:
    """Numbers of the rows in the database."""
    with closing(sqlite3.connect(folder / "disk" / "databases" / "keys.db")) as opened:
        return [number for (number,) in opened.execute("SELECT sequence FROM audit")]


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


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
        ([b"\xff"], 64, "KS-USE-003"),
        ([], 64, "KS-USE-003"),
        (lines[1:], 64, "KS-USE-003"),
    ):
        other.write_bytes(b"".join(altered))
        assert verify(other) == code, altered
        assert error in capsys.readouterr().err
    assert verify(file) == 0


def test_what_is_said_of_bad_input(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for ask, said in (
        (partial(cut, folder, taken), "it is there already"),
        (partial(cut, folder, tmp_path / "no" / "where"), "No such file or directory"),
        (partial(cut, tmp_path / "none", taken), "no key server has kept anything there"),
        (partial(cut, folder, tmp_path / "new", "yesterday"), "a date, or a date and time"),
        (partial(verify, tmp_path / "none"), "No such file or directory"),
        (verify, "name one file or several"),
    ):
        assert ask() == 64, said
        told = capsys.readouterr().err
        assert "KS-USE-003" in told and said in told
    assert taken.read_text() == "mine" and len(there(folder)) == 5


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
