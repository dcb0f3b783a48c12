"""What processes of a lab hold is known to who collects it, and lies nowhere else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from lab.scan.ledger import Collector, collecting
from tests.impostor import impostor, needs_root

ROOT: Final = Path(__file__).resolve().parents[2]
HOLDS: Final = """
import os, sys, signal
sys.path.insert(0, sys.argv[1])
from lab.scan.ledger import tell
from protocol.secret import KeyMaterial
tell(sys.argv[2])
def made(n):
    KeyMaterial(bytes([n]) * 16 + bytes(range(16)))
for n in range(int(sys.argv[3])):
    made(n % 250)
os.kill(os.getpid(), signal.SIGKILL)
"""


def holder(name: str, count: int = 3) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", HOLDS, str(ROOT), name, str(count)])


async def test_what_a_process_held_that_was_killed_is_known() -> None:
    """It told each key when it was made, before anybody could use it."""
    async with collecting() as collector:
        children = [holder(collector.name), holder(collector.name, 20_000)]
        for child in children:
            await asyncio.to_thread(child.wait)
        await collector.whole()
        assert len(collector.secrets) == 250
        assert set(collector.secrets.values()) == {"__main__:made"}
        assert collector.pids == {child.pid for child in children}
    assert collector.secrets == {}


async def test_it_is_no_file_and_ends_with_who_collects() -> None:
    async with collecting() as collector:
        shown = Path("/proc/net/unix").read_text()
        assert f"@{collector.name}" in shown
    child = await asyncio.to_thread(holder, collector.name)
    assert await asyncio.to_thread(child.wait) == 1  # it does not run on with keys nobody knows


@needs_root
async def test_another_user_who_listens_in_its_place_is_told_no_key() -> None:
    """The name is free once the collector has ended, and was there for each user to read."""
    name = Collector().name
    with impostor(name) as listening:
        child = await asyncio.to_thread(holder, name)
        assert await asyncio.to_thread(child.wait) == 1
        listening.kill()
        assert listening.stdout is not None and listening.stdout.read() == b""


async def test_a_key_is_of_who_made_it_and_not_of_who_took_it_out_of_a_box() -> None:
    collector = Collector()
    for kind in (
        "protocol.crypto.seal:opened",
        "services.kms.operations.key_creation:_key",
        "services.esxi:x",
    ):
        collector._note(kind, b"key")
    assert collector.secrets == {b"key": "services.kms.operations.key_creation:_key"}


async def test_another_users_process_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collecting() as collector:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        child = await asyncio.to_thread(holder, collector.name)
        await asyncio.to_thread(child.wait)
        await collector.whole()
        assert (collector.secrets, collector.pids) == ({}, set())
