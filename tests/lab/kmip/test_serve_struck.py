"""``kmip serve`` over a disk that somebody holds, edits or exchanges: what is told, and by whom."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lab.cli.main import run
from protocol.kmip.enums import ResultReason, ResultStatus
from protocol.kmip.payloads import CreateResponse, GetRequest
from tests.lab.kmip.test_serve import client, connections
from tests.lab.kmip.test_serve import serving as started
from tests.lab.kmip.tls import ask
from tests.services.kms.kmip_rig import message, new_key


def database(folder: Path) -> sqlite3.Connection:
    """As another process opens it."""
    return sqlite3.connect(folder / "disk" / "databases" / "keys.db", isolation_level=None)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with closing(database(folder)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def used(folder: Path) -> Path:
    """A folder whose server has ended in order."""
    with started(folder) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    return folder


def begin(folder: Path, capsys: pytest.CaptureFixture[str], *more: str, code: int = 1) -> str:
    """What a start is told that must not come to serve."""
    words = ["kmip", "serve", "--listen", "127.0.0.1:0", "--folder", str(folder), *more]
    assert run(words) == code
    return capsys.readouterr().err


@pytest.mark.slow
async def test_a_database_that_another_process_has_locked_is_an_answer(tmp_path: Path) -> None:
    """Not the end of the connection, nor of the server."""
    folder = tmp_path / "kmip"
    with started(folder) as (_, told):
        port = connections(folder)
        stream = await port.connect(told["address"], client(folder), within_s=20)
        with locked(folder):
            [item] = (await ask(stream, message(new_key()))).batch_item
        assert item.result_reason is ResultReason.GENERAL_FAILURE
        assert "locked by another process" in str(item.result_message)
        [item] = (await ask(stream, message(new_key()))).batch_item
        assert item.result_status is ResultStatus.SUCCESS
        port.abort()


@pytest.mark.slow
def test_a_start_over_a_locked_database_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = used(tmp_path / "kmip")
    with locked(folder):
        told = begin(folder, capsys)
    assert "KS-KMIP-001" in told and "locked by another process" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = CAST(x'ff41' AS TEXT) WHERE sequence = 1",
        "ALTER TABLE audit RENAME COLUMN who TO whom",
        "UPDATE identities SET tag = x'00'",
        "DELETE FROM identities",
    ],
)
def test_an_edited_database_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str
) -> None:
    folder = used(tmp_path / "kmip")
    with closing(database(folder)) as edited:
        edited.execute(statement)
    assert "KS-KMIP-003: Key server kms does not serve: " in begin(folder, capsys)


@pytest.mark.slow
def test_who_is_revoked_stays_it_whatever_is_edited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither without its row, nor with one that has an older tag of its own."""
    folder = used(tmp_path / "kmip")
    with closing(database(folder)) as edited:
        [row] = edited.execute("SELECT * FROM identities")
    words = ("--revoke", str(folder / "tls" / "client.pem"))
    with started(folder, *words) as (process, told):
        assert [one["revoked"] for one in told["clients"]] == [True]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with closing(database(folder)) as edited:
        edited.execute("REPLACE INTO identities VALUES (?, ?, ?)", row)
    assert "differs from the audit trail" in begin(folder, capsys)
    with closing(database(folder)) as edited:
        edited.execute("DELETE FROM identities")
    assert "its row is gone" in begin(folder, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("made", ["a folder", "a link"])
def test_a_key_file_that_is_none_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made: str
) -> None:
    folder = used(tmp_path / "kmip")
    file = folder / "disk" / "written" / "master.key"
    file.rename(tmp_path / "elsewhere")
    if made == "a link":
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.mkdir()
    told = begin(folder, capsys)
    assert "KS-KMIP-003: Key server kms does not serve: master.key is no file of its disk" in told


@pytest.mark.slow
def test_its_memory_is_written_to_no_core_file(tmp_path: Path) -> None:
    with started(tmp_path / "kmip") as (process, _):
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)


# ---- a passphrase, and another KEK ---------------------------------------------------------------


def kept_by(folder: Path) -> list[str]:
    """What the trail has of custody."""
    asked = "SELECT operation || ' ' || key_id FROM audit WHERE operation LIKE '%e K%' OR "
    with closing(database(folder)) as looked:
        found = looked.execute(asked + "operation = 'Change Root' ORDER BY sequence")
        return [told for (told,) in found]


def ended(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.mark.slow
async def test_a_passphrase_seals_the_keys_of_a_folder_from_then_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key file is gone then, and every key is there still."""
    folder, words, others = tmp_path / "kmip", tmp_path / "words", tmp_path / "others"
    words.write_text("correct horse battery \nand a second line")
    others.write_text("correct horse battery")
    with started(folder) as (process, told):
        port = connections(folder)
        stream = await port.connect(told["address"], client(folder), within_s=20)
        [item] = (await ask(stream, message(new_key()))).batch_item
        assert isinstance(item.response_payload, CreateResponse)
        key = item.response_payload.unique_identifier
        port.abort()
        ended(process)
    assert list(folder.rglob("master.key"))
    sealed = ("--passphrase-file", str(words))
    for more in (sealed, sealed, (*sealed, "--rotate-kek")):
        with started(folder, *more) as (process, told):
            port = connections(folder)
            stream = await port.connect(told["address"], client(folder), within_s=20)
            [item] = (await ask(stream, message(GetRequest(unique_identifier=key)))).batch_item
            assert item.result_status is ResultStatus.SUCCESS
            assert not list(folder.rglob("master.key"))
            port.abort()
            ended(process)
    assert kept_by(folder)[:2] == ["Change Root root", "Rotate KEK KEK 2"]
    told_none = await asyncio.to_thread(begin, folder, capsys, code=64)
    assert "KS-USE-003" in told_none and "accept-rollback" not in told_none
    assert "none was given" in told_none and "--passphrase-file FILE" in told_none
    assert "lab file" not in told_none
    wrong = ("--passphrase-file", str(others))
    other = await asyncio.to_thread(begin, folder, capsys, *wrong, code=64)
    assert "KS-USE-003" in other and "not the passphrase" in other
    assert not [file for file in folder.rglob("*") if b"correct horse" in content(file)]


def content(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def test_a_passphrase_that_is_none_makes_no_folder_of_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short").write_text("short\n")
    words = ["kmip", "serve", "--folder", str(tmp_path / "kmip"), "--listen", "127.0.0.1:0"]
    for file in ("short", "none"):
        assert run([*words, "--passphrase-file", str(tmp_path / file)]) == 64
        assert "KS-USE-003" in capsys.readouterr().err
    assert not list((tmp_path / "kmip").rglob("keys.db"))
