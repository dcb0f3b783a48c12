"""The lab's shared array: links that lead outside, files that are never half there."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from services.runtime.ports import VmLockHeld
from services.runtime.real.datastore import LabArray


async def test_symbolic_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"1")
    array = LabArray(tmp_path / "array")
    life = Incarnation(NodeName("esxi-001"), 1)
    store = array.open(life)
    await store.write("vm", "f", b"2")
    (tmp_path / "array/vms/door").symlink_to(outside)
    (tmp_path / "array/vms/vm/link").symlink_to(outside / "secret")
    for call in (
        store.read("door", "secret"),
        store.write("door", "secret", b"x"),
        store.remove("door"),
        store.files("door"),
        store.read("vm", "link"),
        store.read_blocks("vm", "link", [0], 1),
        store.write_blocks("vm", "link", {0: b"x"}),
    ):
        with pytest.raises(ValueError, match="symbolic link"):
            await call
    await store.write("vm", "link", b"replaced")  # takes the link's place, not its target's
    assert await store.read("vm", "link") == b"replaced"
    assert (outside / "secret").read_bytes() == b"1"
    await array.end(life)
    array.close()


async def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    array = LabArray(tmp_path / "array")
    lives = [Incarnation(NodeName(f"esxi-{n:03}"), 1) for n in (1, 2)]
    writer, reader = (array.open(life) for life in lives)
    await writer.write("vm", "f", b"a" * 100_000)
    for round_ in range(20):
        writing = writer.write("vm", "f", bytes([round_]) * 100_000)
        reading = reader.read("vm", "f")
        data = await reading
        await writing
        assert len(data) == 100_000
        assert len(set(data)) == 1
    assert list((tmp_path / "array/incoming").iterdir()) == []
    for life in lives:
        await array.end(life)
    array.close()


async def test_a_lock_is_free_only_when_the_write_under_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a dead host's write could land on a VM that another host runs."""
    array = LabArray(tmp_path / "array")
    one, two = (Incarnation(NodeName(f"esxi-{n:03}"), 1) for n in (1, 2))
    store, other = array.open(one), array.open(two)
    await store.write("vm", "f", b"1")
    await store.lock("vm")
    begun, go_on = threading.Event(), threading.Event()
    replace = os.replace

    def slow(source: Path, target: Path) -> None:
        begun.set()
        go_on.wait()
        replace(source, target)

    monkeypatch.setattr(os, "replace", slow)
    writing = asyncio.create_task(store.write("vm", "f", b"2"))
    await asyncio.to_thread(begun.wait)
    one.end(WayDown.CRASH)
    ending = asyncio.create_task(array.end(one))
    try:
        for _ in range(20):
            with pytest.raises(VmLockHeld):
                await other.lock("vm")
    finally:
        go_on.set()
    await ending
    await other.lock("vm")
    with pytest.raises(NodeDown):
        await writing
    assert await other.read("vm", "f") == b"2"
    await array.end(two)
    array.close()


async def test_a_lock_is_given_back_only_when_what_was_asked_under_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that shuts down gives up on its guests' writes, which threads go on with."""
    array = LabArray(tmp_path / "array")
    one, two = (Incarnation(NodeName(f"esxi-{n:03}"), 1) for n in (1, 2))
    store, other = array.open(one), array.open(two)
    await store.write("vm", "f", b"1")
    await store.lock("vm")
    begun, go_on, pwrite = threading.Event(), threading.Event(), os.pwrite

    def slow(descriptor: int, data: bytes, start: int) -> int:
        if data == b"2":
            begun.set()
            go_on.wait()
        return pwrite(descriptor, data, start)

    monkeypatch.setattr(os, "pwrite", slow)
    writing = asyncio.create_task(store.write_blocks("vm", "f", {0: b"2"}))
    await asyncio.to_thread(begun.wait)
    writing.cancel()
    unlocking = asyncio.create_task(store.unlock("vm"))
    try:
        await asyncio.wait({unlocking}, timeout=0.2)
        with pytest.raises(VmLockHeld):
            await other.lock("vm")
    finally:
        go_on.set()
    await unlocking
    await other.lock("vm")
    assert await other.read("vm", "f") == b"2"
    for life in (one, two):
        await array.end(life)
    array.close()
