"""Files that a command names: read and written by whoever gives it, never by the lab."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.commands.keys import Entry
from lab.schema.errors import KeysteadError
from lab.schema.wire import CommandDone, RunCommand, commands_by_name, encode_answer
from lab.serve.files import CommandFiles, carry_files, open_contents, seal_contents
from lab.simulation.workers import Simulated
from lab.state import in_thread as threads
from lab.state.in_thread import in_thread
from lab.topology import secret_files
from protocol.crypto.provider_backup import read_backup
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from tests.lab.api.refusals import refused

WORDS = "correct horse battery staple"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_files, "READ_LIMIT_S", 0.2)


@pytest.mark.parametrize(
    "make",
    [
        lambda file: Entry(user="vc", password_file=file),
        lambda file: c.KmsSetRoot("kms", RootKind.PASSPHRASE, passphrase_file=file),
        lambda file: c.ProviderImport(file),
        lambda file: c.ProviderImport("/nkp.p12", password_file=file),
        lambda file: c.ProviderExport("nkp", file),
        lambda file: c.ProviderExport("nkp", "/nkp.p12", password_file=file),
        lambda file: c.TrustExport("principal", file),
        lambda file: c.TrustImport(file),
    ],
)
def test_a_file_is_named_by_its_whole_path(make: Callable[[str], object]) -> None:
    """The lab has another working folder than who names the file."""
    make("/there/file")
    with pytest.raises(KeysteadError, match="absolute"):
        make("there/file")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe that nobody writes to."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


# ---- the side that gives a command ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.sim
async def test_a_pipe_that_nobody_writes_to_is_refused_and_the_lab_goes_on(
    lab: Lab, pipe: Path
) -> None:
    file = str(pipe)
    for command in (
        c.ProviderImport(file),
        c.ProviderExport("nkp", f"{file}.p12", file),
        c.ProviderAdd("second", ("kms",), entry=Entry(user="vc", password_file=file)),
        c.KmsSetRoot("kms", RootKind.PASSPHRASE, file),
        c.TrustImport(file),
    ):
        told = await refused(lab, command)
        assert told.id == "KS-USE-003" and file in str(told) and "pipe" in str(told), command
    assert (await lab.do(c.GetNodes())).items
    assert not Path(f"{file}.p12").exists(), "what was made for a backup is taken back"


@pytest.mark.slow
@pytest.mark.sim
async def test_a_pipe_that_is_closed_in_time_is_read(lab: Lab, pipe: Path, tmp_path: Path) -> None:
    """A password may come from another program: ``--password-file <(pass show nkp)``."""
    await lab.do(c.ProviderCreate("nkp"))

    def write() -> None:
        pipe.write_text(f"{WORDS}\n")

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    file = str(tmp_path / "nkp.p12")
    await lab.do(c.ProviderExport("nkp", file, str(pipe)))
    writing.join(5)
    assert read_backup(Path(file).read_bytes(), WORDS).provider == "nkp"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
async def test_a_device_is_no_file(device: str) -> None:
    with pytest.raises(KeysteadError, match="not a regular file"):
        async with carry_files(c.ProviderImport(device)):
            pass


async def test_a_file_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that hangs holds its thread for ever; nobody waits for it."""
    hangs = threading.Event()

    def read(path: str) -> bytes:
        hangs.wait(10)
        return b""

    monkeypatch.setattr("lab.serve.files.read_file", read)
    monkeypatch.setattr("lab.serve.files.READ_LIMIT_S", 0.1)
    monkeypatch.setattr("lab.serve.files._GRACE_S", 0.0)
    begun = time.monotonic()
    with pytest.raises(KeysteadError, match="has not answered") as told:
        async with carry_files(c.ProviderImport("/mnt/nfs/nkp.p12")):
            pass
    hangs.set()
    assert told.value.id == "KS-USE-003" and time.monotonic() - begun < 2


class Recorded:
    """A worker of a simulated lab that keeps what it is sent."""

    def __init__(self) -> None:
        self.key = OneTimeKey()
        self.sent: list[bytes] = []
        self.files: CommandFiles | None = None

    async def call(self, call: str, payload: bytes) -> bytes:
        if call == "files":
            return self.key.public
        self.sent.append(payload)
        message = msgspec.msgpack.decode(payload, type=RunCommand)
        name = msgspec.msgpack.decode(message.command)["command"]
        self.files = CommandFiles(open_contents(name, self.key, message.files))
        written = {"/nowhere": KeyMaterial(b"x")}
        if name == "trust.export":
            written = {msgspec.msgpack.decode(message.command)["file"]: KeyMaterial(b"exported")}
        return msgspec.msgpack.encode(
            CommandDone(
                answer=encode_answer(None),  # type: ignore[arg-type]
                files=seal_contents(name, message.recipient, written),
            )
        )


async def test_what_is_in_a_file_is_sealed_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.simulation.workers.decode_answer", lambda command, raw: None)
    worker = Recorded()
    words = tmp_path / "words"
    words.write_text(f"{WORDS}\nsecond line\n")
    await Simulated(worker).do(c.KmsSetRoot("kms", RootKind.PASSPHRASE, str(words)))  # type: ignore[arg-type]
    assert worker.files is not None and worker.files.secret(str(words)) == WORDS
    assert all(b"horse" not in data for data in worker.sent)
    file = tmp_path / "principal.json"
    await Simulated(worker).do(c.TrustExport("principal", str(file)))  # type: ignore[arg-type]
    assert file.read_bytes() == b"exported" and file.stat().st_mode & 0o777 == 0o600
    assert not Path("/nowhere").exists(), "a lab names no file that the command does not"


def test_a_box_opens_for_its_command_and_its_path_alone() -> None:
    key = OneTimeKey()
    boxes = seal_contents("kms.set_root", key.public, {"/a": KeyMaterial(b"words")})
    assert open_contents("kms.set_root", key, boxes)["/a"].reveal() == b"words"
    for name, taken in (("provider.import", boxes), ("kms.set_root", {"/b": boxes["/a"]})):
        with pytest.raises(CryptographicFailure):
            open_contents(name, key, taken)
    with pytest.raises(CryptographicFailure):
        open_contents("kms.set_root", OneTimeKey(), boxes)


async def test_no_room_for_a_backup_is_told_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download counts as a backup, so its file must have its place before."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    file = tmp_path / "nkp.p12"
    with pytest.raises(KeysteadError, match="No space left") as told:
        async with carry_files(c.ProviderExport("nkp", str(file))):
            raise AssertionError("the lab is asked")
    assert told.value.id == "KS-USE-003"
    assert not file.exists()


async def test_what_the_lab_refused_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "nkp.p12"
    with pytest.raises(KeysteadError, match="refused"):
        async with carry_files(c.ProviderExport("nkp", str(file))):
            assert file.exists()
            raise KeysteadError("KS-USE-002", "refused")
    assert not file.exists()


async def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "nkp.p12"
    file.write_text("another backup")
    with pytest.raises(KeysteadError, match="File exists"):
        async with carry_files(c.ProviderExport("nkp", str(file))):
            pass
    assert file.read_text() == "another backup"


# ---- the side that does it --------------------------------------------------------------------


def test_a_lab_reads_no_path_of_a_command(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_text(WORDS)
    with pytest.raises(KeysteadError, match="did not come with the command") as told:
        CommandFiles().secret(str(file))
    assert told.value.id == "KS-USE-003"


@pytest.mark.sim
async def test_a_pipe_in_a_lab_file_is_refused_at_once(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text(f"{WORDS}\n")
    file = tmp_path / "lab.yaml"
    file.write_text(f"""\
apiVersion: keystead/v1
kind: Lab
vcenters: [{{name: vcenter}}]
kms: [{{name: kms, root: passphrase, passphrase_file: {words}}}]
providers: [{{name: standard, servers: [kms]}}]
clusters: [{{name: a, hosts: {{count: 1, tpm: none}}, vms: {{count: 0, provider: standard}}}}]
""")
    async with Lab("sim", topology=file, seed=3, tpm="none") as lab:
        words.unlink()
        os.mkfifo(words)
        told = await refused(lab, c.HostReboot(("kms",)))
        assert told.id == "KS-USE-003" and f"{words}: it is not a regular file" in str(told)
        assert (await lab.do(c.GetNodes())).items


def _paths(kind: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Fields of a command that name a file, as paths of attributes."""
    for field in msgspec.structs.fields(kind):
        if field.name == "file" or field.name.endswith("_file"):
            yield (*where, field.name)
        for one in (field.type, *get_args(field.type)):
            if isinstance(one, type) and issubclass(one, msgspec.Struct):
                yield from _paths(one, (*where, field.name))


def _with(kind: Any, where: tuple[str, ...], path: str) -> Any:
    """What has the fields of such a command, and that path in one, whatever the others say."""
    made = {}
    for field in msgspec.structs.fields(kind):
        value: Any = "" if field.default is msgspec.NODEFAULT else field.default
        if field.name == where[0]:
            value = path if len(where) == 1 else _with(field.type, where[1:], path)
        made[field.name] = value
    return SimpleNamespace(**made)


NAMED = [(kind, where) for kind in commands_by_name().values() for where in _paths(kind)]


def test_commands_that_name_files_are_found() -> None:
    assert len(NAMED) >= 9


@pytest.mark.parametrize(("kind", "where"), NAMED)
def test_each_file_that_a_command_names_is_carried(
    kind: type[c.Command[Any]], where: tuple[str, ...]
) -> None:
    command = _with(kind, where, "/the/path")
    assert "/the/path" in (*kind.files_read(command), kind.file_written(command))


# ---- threads that may be left behind ------------------------------------------------------------


async def test_work_that_is_late_is_left_behind_and_the_loop_goes_on() -> None:
    ends = threading.Event()
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await in_thread(ends.wait, 0.05)
    assert time.monotonic() - begun < 1
    ends.set()
    assert await in_thread(lambda: 7, 5) == 7
    with pytest.raises(ValueError, match="of the work"):
        await in_thread(lambda: int("of the work"), 5)


async def test_threads_that_are_left_behind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "LEFT_AT_MOST", 2)
    ends = threading.Event()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await in_thread(ends.wait, 0.01)
    began = threading.Event()
    with pytest.raises(TimeoutError):
        await in_thread(began.set, 5)
    assert not began.is_set()
    ends.set()
    async with asyncio.timeout(5):
        while True:
            try:
                await in_thread(began.set, 5)
                break
            except TimeoutError:
                await asyncio.sleep(0.01)
    assert began.is_set()
