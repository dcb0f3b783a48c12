"""``kmip serve`` as a process: what it tells, how it ends, and that it keeps what it promised."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import run
from lab.kmip import credentials
from lab.kmip.alone import NAME
from lab.kmip.standalone import standalone
from protocol.errors import Disconnected, Refused
from protocol.kmip.enums import ResultStatus
from protocol.kmip.payloads import CreateResponse, GetRequest
from services.runtime.streams import Stream, TlsIdentity
from services.runtime.tls.port import StreamPort
from tests.lab.kmip.tls import ask
from tests.services.kms.kmip_rig import message, new_key


@contextmanager
def serving(
    folder: Path, *more: str, files: int | None = None, listen: str = "127.0.0.1:0"
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The command, and the document that it prints when it serves; ``files`` it may have open."""
    words = ["kmip", "serve", "--listen", listen, "--folder", str(folder), "-o", "json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.cli.main", *words, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if files is not None:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (files, files))
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        yield process, json.loads("".join(lines))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def client(folder: Path) -> TlsIdentity:
    """The first client that the server has made."""
    tls = folder / "tls"
    return TlsIdentity(
        credentials.certificates(tls / "client.pem"),
        credentials.private_key(tls / "client.key"),
        credentials.certificates(tls / "ca.pem"),
    )


def connections(folder: Path) -> StreamPort:
    """The other end of connections, in this process."""
    return standalone(NAME, folder).streams


@pytest.mark.slow
def test_it_tells_where_and_ends_clean(tmp_path: Path) -> None:
    folder = tmp_path / "kmip"
    for number in (signal.SIGINT, signal.SIGTERM):
        with serving(folder) as (process, told):
            assert told["kind"] == "KmipServer"
            assert told["pid"] == process.pid
            [one] = told["clients"]
            assert (one["name"], one["role"], one["scope"]) == ("client", "owner", "default")
            for secret in ("client.key", "server.key", "ca.key"):
                assert (folder / "tls" / secret).stat().st_mode & 0o077 == 0
            assert (folder / "disk").stat().st_mode & 0o077 == 0
            process.send_signal(number)
            assert process.wait(20) == 0


@pytest.mark.slow
def test_a_folder_has_one_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path / "kmip") as (_, told):
        words = ["kmip", "serve", "--listen", "127.0.0.1:0", "--folder"]
        assert run([*words, str(tmp_path / "kmip")]) == 1
        assert "KS-KMIP-001" in capsys.readouterr().err
        other = ["kmip", "serve", "--listen", told["address"], "--folder", str(tmp_path / "b")]
        assert run(other) == 1
        assert "KS-KMIP-002" in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_said_of_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no certificate")
    bad, none = str(tmp_path / "file"), str(tmp_path / "none")
    kept = ["--folder", str(tmp_path / "kmip")]
    folder = [*kept, "--listen", "127.0.0.1:0"]
    (tmp_path / "empty").write_text("\nsecret\n")
    empty, user = str(tmp_path / "empty"), ("--username", "vc", "--password-file")
    for words, code, error in (
        (["--listen", "5696"], 64, "KS-USE-003"),
        (["--listen", "127.0.0.1:x"], 64, "KS-USE-003"),
        (["--listen", "127.0.0.1:" + "9" * 5000], 64, "KS-USE-003"),
        (["--listen", "[]:0"], 64, "KS-USE-003"),
        (["--listen", "::1:5696"], 64, "KS-USE-003"),
        ([*kept, "--listen", "a..b:0"], 1, "KS-KMIP-002"),
        (["--scope", ""], 64, "KS-USE-003"),
        (
            ["--scope", "a\n  root: owner"],
            64,
            "KS-USE-003: --scope: 'a\\n  root: owner' is no scope",
        ),
        (["--audit", "never"], 64, "KS-USE-001"),
        ([*folder, "--username", "vc"], 64, "KS-USE-003: --username: its password is in a file"),
        ([*folder, "--password-file", bad], 64, "name whose it is: --username"),
        ([*folder, *user, none], 64, "KS-USE-003"),
        ([*folder, *user, empty], 64, "its first line, the password, is empty"),
        ([*folder, *user, "/dev/zero"], 64, "it is not a regular file"),
        (["--cert", bad, *folder], 64, "KS-USE-003"),
        (["--folder", bad], 1, "KS-KMIP-001"),
        ([*folder, "--trust", bad], 64, "KS-KMIP-004"),
        ([*folder, "--trust", none], 64, "KS-KMIP-004"),
        ([*folder, "--cert", bad, "--key", bad, "--ca", bad], 64, "KS-KMIP-004"),
    ):
        assert run(["kmip", "serve", *words]) == code
        assert error in capsys.readouterr().err
    made = credentials.ensure_certificates(tmp_path / "tls")
    words = ["--cert", str(made.certificate), "--key", bad, "--ca", str(made.authority)]
    assert run(["kmip", "serve", *folder, *words]) == 64
    assert "KS-KMIP-004" in capsys.readouterr().err
    words[3] = str(made.client_key)
    assert run(["kmip", "serve", *folder, *words]) == 64
    assert "not the key of" in capsys.readouterr().err
    assert run(["kmip", "serve", *folder, "--revoke", str(made.client)]) == 64
    assert "does not know" in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_database_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "kmip"
    with serving(folder) as (process, _):
        process.send_signal(signal.SIGINT)
        process.wait(20)
    (folder / "disk" / "databases" / "keys.db").write_bytes(b"no database" * 100)
    for leftover in (folder / "disk" / "databases").glob("keys.db-*"):
        leftover.unlink()
    assert run(["kmip", "serve", "--listen", "127.0.0.1:0", "--folder", str(folder)]) == 1
    assert "KS-KMIP-003" in capsys.readouterr().err


async def load(stream: Stream, kept: list[str]) -> None:
    """Make keys until the server is gone; ``kept`` has those that it acknowledged."""
    with suppress(Disconnected, AssertionError):
        while True:
            [item] = (await ask(stream, message(new_key()))).batch_item
            assert isinstance(item.response_payload, CreateResponse)
            kept.append(item.response_payload.unique_identifier)


async def killed(folder: Path, rng: random.Random, kept: list[str]) -> None:
    """One round: eight clients, and a kill in the midst of it, after the first acknowledgement."""
    before = len(kept)
    with serving(folder) as (process, told):
        port, me = connections(folder), client(folder)
        streams = [await port.connect(told["address"], me, within_s=20) for _ in range(8)]
        works = [asyncio.ensure_future(load(stream, kept)) for stream in streams]
        async with asyncio.timeout(20):
            while len(kept) == before:
                await asyncio.sleep(0.01)
        await asyncio.sleep(rng.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        await asyncio.wait_for(asyncio.gather(*works), 20)
        port.abort()


async def missing(folder: Path, kept: list[str]) -> list[str]:
    """Keys that were acknowledged and are not there."""
    with serving(folder) as (_, told):
        port = connections(folder)
        stream = await port.connect(told["address"], client(folder), within_s=20)
        gone = []
        for key in kept:
            [item] = (await ask(stream, message(GetRequest(unique_identifier=key)))).batch_item
            if item.result_status is not ResultStatus.SUCCESS:
                gone.append(key)
        port.abort()
    return gone


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.slow)])
async def test_no_acknowledged_key_is_lost_when_it_is_killed(tmp_path: Path, rounds: int) -> None:
    folder, rng, kept = tmp_path / "kmip", random.Random(rounds), list[str]()
    for _ in range(rounds):
        await killed(folder, rng, kept)
    assert await missing(folder, kept) == []
    print(f"{len(kept)} keys in {rounds} rounds")


async def read_on(stream: Stream, key: str, answered: list[float]) -> None:
    """Get a key until the server is gone; ``answered`` has when each answer was there."""
    with suppress(Disconnected, AssertionError):
        while True:
            [item] = (await ask(stream, message(GetRequest(unique_identifier=key)))).batch_item
            assert item.result_status is ResultStatus.SUCCESS
            answered.append(time.monotonic())


@pytest.mark.slow
async def test_a_kill_loses_rows_of_the_last_reads_only(tmp_path: Path) -> None:
    """With buffered audit: the trail is whole, and has every read of a moment ago."""
    folder, answered = tmp_path / "kmip", list[float]()
    with serving(folder, "--audit", "buffered") as (process, told):
        port, me = connections(folder), client(folder)
        streams = [await port.connect(told["address"], me, within_s=20) for _ in range(4)]
        [item] = (await ask(streams[0], message(new_key()))).batch_item
        assert isinstance(item.response_payload, CreateResponse)
        key = item.response_payload.unique_identifier
        works = [asyncio.ensure_future(read_on(one, key, answered)) for one in streams]
        await asyncio.sleep(3)
        process.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        await asyncio.wait_for(asyncio.gather(*works), 20)
        port.abort()
    with serving(folder) as (process, _):  # which checks the whole trail
        process.send_signal(signal.SIGINT)
        process.wait(20)
    with closing(sqlite3.connect(folder / "disk" / "databases" / "keys.db")) as database:
        [[rows]] = database.execute("SELECT count(*) FROM audit WHERE operation = 'Get'")
    assert sum(at < killed_at - 2 for at in answered) <= rows <= len(answered) + len(streams)
    assert rows > 4


@pytest.mark.slow
async def test_nobody_listens_after_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "kmip"
    with serving(folder) as (process, told):
        process.send_signal(signal.SIGINT)
        process.wait(20)
    with pytest.raises(Refused):
        await connections(folder).connect(told["address"], client(folder), within_s=5)


# ---- PyKMIP, which knows nothing of our code -----------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("minor", range(5))
def test_pykmip_goes_through_the_life_of_a_key(tmp_path: Path, minor: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kmip import enums
        from kmip.core.factories.attributes import AttributeFactory
        from kmip.pie.client import ProxyKmipClient
        from kmip.pie.exceptions import KmipOperationFailure
    with serving(tmp_path / "kmip") as (_, told):
        host, _, port = told["address"].rpartition(":")
        theirs = ProxyKmipClient(
            hostname=host,
            port=int(port),
            cert=told["client_certificate"],
            key=told["client_key"],
            ca=told["authority"],
            ssl_version="PROTOCOL_TLSv1_2",
            kmip_version=enums.KMIPVersion[f"KMIP_1_{minor}"],
        )
        with theirs:
            key = theirs.create(enums.CryptographicAlgorithm.AES, 256, name="a key")
            theirs.activate(key)
            assert len(theirs.get(key).value) == 32
            make = AttributeFactory().create_attribute
            name = make(enums.AttributeType.NAME, "a key")
            assert theirs.locate(attributes=[name]) == [key]
            assert theirs.locate(attributes=[make(enums.AttributeType.NAME, "none")]) == []
            _, found = theirs.get_attributes(key, ["State"])
            assert found[0].attribute_value.value is enums.State.ACTIVE
            with pytest.raises(KmipOperationFailure, match="PERMISSION_DENIED"):
                theirs.destroy(key)
            theirs.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, key)
            theirs.destroy(key)
            with pytest.raises(KmipOperationFailure, match="ITEM_NOT_FOUND"):
                theirs.get(key)
