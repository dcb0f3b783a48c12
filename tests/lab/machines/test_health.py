"""The health socket of a lab or a machine: found by its own user alone, and not to be taken."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab.machines.checkup import SUPERVISOR, address_file, ask_health
from lab.machines.health import MachineHealth, serve
from lab.state.peer import SocketPeer
from tests.impostor import NOBODY, impostor, needs_root

WELL = '{"well": true, "text": "all is well", "processes": []}'


async def well() -> MachineHealth:
    return MachineHealth(well=True, text="all is well")


async def heard(folder: Path) -> tuple[bool, str]:
    told = await asyncio.to_thread(ask_health, str(folder), SUPERVISOR)
    return told.well, told.text


def abstract_names() -> set[str]:
    """Every name in the kernel's abstract space, which each user may read."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return {words[-1][1:] for line in lines if (words := line.split()) and words[-1][0] == "@"}


@contextmanager
def taken(names: set[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for name in names:
            line = stack.enter_context(socket.socket(socket.AF_UNIX))
            line.bind(f"\0{name}")
        yield


async def test_who_takes_the_name_that_was_seen_before_stops_nobody(tmp_path: Path) -> None:
    before = abstract_names()
    async with await serve(tmp_path, SUPERVISOR, well):
        assert await heard(tmp_path) == (True, "all is well")
        seen = abstract_names() - before
    assert seen, "it listens in the abstract space"
    with taken(seen):
        assert (await heard(tmp_path))[0] is False
        async with await serve(tmp_path, SUPERVISOR, well):
            assert await heard(tmp_path) == (True, "all is well")


@needs_root
def test_another_user_who_answers_in_its_place_is_not_believed(tmp_path: Path) -> None:
    name = f"keystead-test/{os.urandom(8).hex()}"
    Path(address_file(str(tmp_path), SUPERVISOR)).write_text(name)
    with impostor(name, WELL):
        told = ask_health(str(tmp_path), SUPERVISOR)
    assert not told.well
    assert told.text == f"user {NOBODY} answers in the place of supervisor"


@pytest.mark.parametrize(
    ("peer", "owner", "believed"),
    [(1000, 1000, True), (0, 1000, True), (1001, 1000, False), (1000, 0, False)],
)
def test_the_owner_of_the_folder_and_root_are_believed(
    peer: int, owner: int, believed: bool
) -> None:
    assert SocketPeer(process=7, user=peer, group=1000).is_of(owner) is believed


def test_a_lab_that_keeps_no_address_is_not_well(tmp_path: Path) -> None:
    assert ask_health(str(tmp_path), SUPERVISOR).text == "supervisor does not answer"
    place = Path(address_file(str(tmp_path), SUPERVISOR))
    os.mkfifo(place)
    begun = time.monotonic()
    assert not ask_health(str(tmp_path), SUPERVISOR).well, "a pipe is no file"
    place.unlink()
    for data in (b"", b"x" * 200, b"nobody-listens-here"):
        place.write_bytes(data)
        assert not ask_health(str(tmp_path), SUPERVISOR).well, data
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"well": true}', "no json"])
async def test_an_answer_that_is_none_is_not_well(tmp_path: Path, answer: str) -> None:
    name = f"keystead-test/{os.urandom(8).hex()}"
    Path(address_file(str(tmp_path), SUPERVISOR)).write_text(name)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer.encode())
        writer.close()

    ear = socket.socket(socket.AF_UNIX)
    ear.bind(f"\0{name}")
    async with await asyncio.start_unix_server(say, sock=ear):
        assert await heard(tmp_path) == (False, "supervisor does not answer")


async def test_silent_connections_keep_nobody_out(tmp_path: Path) -> None:
    """Each is answered and closed at once, so none is held."""
    before = abstract_names()
    async with await serve(tmp_path, SUPERVISOR, well):
        (name,) = abstract_names() - before
        silent = []
        for _ in range(500):
            line = socket.socket(socket.AF_UNIX)
            line.setblocking(False)
            await asyncio.get_running_loop().sock_connect(line, f"\0{name}")
            silent.append(line)
        assert await heard(tmp_path) == (True, "all is well")
        for line in silent:
            line.close()
