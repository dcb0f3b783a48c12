"""The shared array: durable on return, one holder per lock, locks that die with a life."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from services.runtime.incarnation import NodeDown, WayDown
from services.runtime.ports import VmLockHeld
from tests.conformance.storage import Bench, both

CRASH, POWER_LOSS = WayDown.CRASH, WayDown.POWER_LOSS
Calls = tuple[Coroutine[Any, Any, object], ...]


@both
async def test_all_hosts_see_the_same_files(bench: Bench) -> None:
    _, disk = bench.boot()
    one = await disk.datastore("cluster")
    assert await disk.datastore("cluster") is one
    _, two = await bench.host("esxi-002")
    assert await two.vms() == ()
    await one.write("vm-b", "b.vmx", b"1")
    await one.write("vm-a", "a.nvram", b"2")
    await one.write("vm-a", "a.vmx", b"old")
    await two.write("vm-a", "a.vmx", b"new")
    assert await two.vms() == ("vm-a", "vm-b")
    assert await two.files("vm-a") == ("a.nvram", "a.vmx")
    assert await one.read("vm-a", "a.vmx") == b"new"
    assert await one.files("none") == ()
    await two.remove("vm-a")
    await two.remove("vm-a")
    assert await one.vms() == ("vm-b",)
    calls: Calls = (
        one.read("vm-a", "a.vmx"),
        one.read("vm-b", "none"),
        one.read_blocks("vm-a", "a.vmx", [0], 4),
        one.write_blocks("vm-a", "a.vmx", {0: b"1234"}),
        disk.datastore("elsewhere"),
    )
    for call in calls:
        with pytest.raises(FileNotFoundError):
            await call
    assert await one.vms() == ("vm-b",)
    assert dict(bench.array.images()) == {"vms/vm-b/b.vmx": b"1"}


@both
async def test_blocks(bench: Bench) -> None:
    _, store = await bench.host("esxi-001")
    await store.write("vm", "disk", b"")
    await store.write_blocks("vm", "disk", {0: b"aaaa"})
    await store.write_blocks("vm", "disk", {1: b"bbbb"})
    await store.write_blocks("vm", "disk", {2: b"cc"})  # blocks of two bytes: the third of them
    assert await store.read("vm", "disk") == b"aaaaccbb"
    assert await store.read_blocks("vm", "disk", [1], 4) == [b"ccbb"]
    assert await store.read_blocks("vm", "disk", [1], 6) == [b"bb"]
    assert await store.read_blocks("vm", "disk", [2], 4) == [b""]
    await store.write_blocks("vm", "disk", {2: b"dddd"})
    assert await store.read("vm", "disk") == b"aaaaccbbdddd"
    calls: Calls = (
        store.write_blocks("vm", "disk", {4: b"hole"}),
        store.write_blocks("vm", "disk", {-1: b"dddd"}),
        store.write_blocks("vm", "disk", {0: b""}),
        store.read_blocks("vm", "disk", [0], 0),
        store.read_blocks("vm", "disk", [-1], 4),
        store.read_blocks("vm", "disk", [2**61], 4),
        store.write_blocks("vm", "disk", {2**61: b"dddd"}),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"beyond the end|no block|not a block"):
            await call
    assert await store.read("vm", "disk") == b"aaaaccbbdddd"


@both
async def test_many_blocks_in_one_call(bench: Bench) -> None:
    _, store = await bench.host("esxi-001")
    await store.write("vm", "disk", b"aabbcc")
    await store.write_blocks("vm", "disk", {2: b"CC", 0: b"AA", 3: b"DD", 4: b"EE"})
    assert await store.read("vm", "disk") == b"AAbbCCDDEE"
    assert await store.read_blocks("vm", "disk", [4, 0, 0, 7, 1], 2) == [
        b"EE",
        b"AA",
        b"AA",
        b"",
        b"bb",
    ]
    assert await store.read_blocks("vm", "disk", [], 2) == []
    await store.write_blocks("vm", "disk", {})
    calls: Calls = (
        store.write_blocks("vm", "disk", {0: b"xx", 1: b"yy", 6: b"hole"}),
        store.write_blocks("vm", "disk", {0: b"xx", 1: b"yy", 7: b"zz"}),
        store.write_blocks("vm", "disk", {6: b"xx", 5: b"yy"}),  # in the order of the call
        store.write_blocks("vm", "disk", {0: b"xx", 1: b"yy", 2: b"long"}),
        store.write_blocks("vm", "disk", {0: b"xx", 1: b"yy", -1: b"zz"}),
        store.read_blocks("vm", "disk", [0, -1], 2),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"beyond the end|no block|not a block"):
            await call
    assert await store.read("vm", "disk") == b"AAbbCCDDEE"
    for missing in (store.write_blocks("vm", "no", {0: b"xx", 1: b"yy"}),):
        with pytest.raises(FileNotFoundError):
            await missing


@both
async def test_what_another_host_wrote_is_what_is_read(bench: Bench) -> None:
    _, one = await bench.host("esxi-001")
    _, two = await bench.host("esxi-002")
    await one.write("vm", "disk", b"aabb")
    assert await two.read_blocks("vm", "disk", [0, 1], 2) == [b"aa", b"bb"]
    await one.write_blocks("vm", "disk", {0: b"AA", 1: b"BB"})
    assert await two.read_blocks("vm", "disk", [0, 1], 2) == [b"AA", b"BB"]


@both
async def test_a_fall_among_many_blocks_leaves_each_old_or_new(bench: Bench) -> None:
    life, disk = bench.boot()
    for way in (CRASH, POWER_LOSS):
        store = await disk.datastore("cluster")
        old = [bytes([index]) * 4096 for index in range(64)]
        new = [bytes([128 + index]) * 4096 for index in range(64)]
        await store.write("vm", "disk", b"".join(old))
        writing = asyncio.ensure_future(store.write_blocks("vm", "disk", dict(enumerate(new))))
        await asyncio.sleep(0)
        life.end(way)
        [outcome] = await asyncio.gather(writing, return_exceptions=True)
        assert isinstance(outcome, NodeDown)
        await bench.store.end(life, way)
        life, disk = bench.boot()
        store = await disk.datastore("cluster")
        found = await store.read_blocks("vm", "disk", range(64), 4096)
        assert all(block in pair for block, *pair in zip(found, old, new, strict=True))


@both
async def test_a_write_is_durable_when_it_returns(bench: Bench) -> None:
    life, disk = bench.boot()
    store = await disk.datastore("cluster")
    await store.write("vm", "f", b"1")
    await store.write("vm", "d", b"aa")
    await store.write_blocks("vm", "d", {0: b"bb", 1: b"cc"})
    _, disk = await bench.after(life, POWER_LOSS)
    store = await disk.datastore("cluster")
    assert await store.read("vm", "f") == b"1"
    assert await store.read("vm", "d") == b"bbcc"


@both
async def test_a_lock_has_one_holder(bench: Bench) -> None:
    _, one = await bench.host("esxi-001")
    _, two = await bench.host("esxi-002")
    await one.lock("vm")
    await one.lock("vm")
    await two.lock("other")
    with pytest.raises(VmLockHeld) as caught:
        await two.lock("vm")
    assert (caught.value.vm, caught.value.holder) == ("vm", "esxi-001")
    await two.unlock("vm")  # not its own: no change
    with pytest.raises(VmLockHeld):
        await two.lock("vm")
    await one.unlock("vm")
    await one.unlock("vm")
    await two.lock("vm")
    with pytest.raises(VmLockHeld) as caught:
        await one.lock("vm")
    assert caught.value.holder == "esxi-002"


@both
async def test_who_holds_a_lock_can_be_seen(bench: Bench) -> None:
    _, one = await bench.host("esxi-001")
    _, two = await bench.host("esxi-002")
    assert await one.holders(("vm", "other")) == {}
    await one.lock("vm")
    await two.lock("other")
    for store in (one, two):
        assert await store.holders(("vm", "other", "third")) == {
            "vm": "esxi-001",
            "other": "esxi-002",
        }
    await one.unlock("vm")
    assert await two.holders(("vm",)) == {}
    await two.lock("vm")
    assert await one.holders(("vm",)) == {"vm": "esxi-002"}


@both
async def test_the_dead_hold_no_lock(bench: Bench) -> None:
    _, other = await bench.host("esxi-002")
    for way in WayDown:
        life, disk = bench.boot()
        await (await disk.datastore("cluster")).lock("vm")
        assert await other.holders(("vm",)) == {"vm": life.node}
        life.end(way)
        await bench.store.end(life, way)
        assert await other.holders(("vm",)) == {}


@both
async def test_looking_at_locks_refuses_nobody(bench: Bench) -> None:
    _, one = await bench.host("esxi-001")
    _, two = await bench.host("esxi-002")

    async def look() -> None:
        for _ in range(50):
            await two.holders(("vm",))

    async def take() -> None:
        for _ in range(50):
            await one.lock("vm")
            await one.unlock("vm")

    async with asyncio.TaskGroup() as group:
        for work in (look, take, look):
            group.create_task(work())


@both
async def test_of_many_who_ask_at_once_one_gets_it(bench: Bench) -> None:
    stores = [(await bench.host(f"esxi-{n:03}"))[1] for n in range(1, 9)]
    held: list[int] = []

    async def ask(index: int) -> None:
        try:
            await stores[index].lock("vm")
            await stores[index].lock("vm")
            held.append(index)
        except VmLockHeld:
            pass

    async with asyncio.TaskGroup() as group:
        for index in range(len(stores)):
            group.create_task(ask(index))
            group.create_task(ask(index))
    assert len(held) == 2
    assert len(set(held)) == 1


@both
async def test_a_lock_dies_with_its_life_however_it_ends(bench: Bench) -> None:
    _, other = await bench.host("esxi-002")
    for way in WayDown:
        life, disk = bench.boot()
        store = await disk.datastore("cluster")
        await store.lock("vm")
        with pytest.raises(VmLockHeld):
            await other.lock("vm")
        life.end(way)
        await bench.store.end(life, way)
        await other.lock("vm")
        await other.unlock("vm")


@both
async def test_the_next_life_of_the_holder_starts_without_the_lock(bench: Bench) -> None:
    life, disk = bench.boot()
    old = await disk.datastore("cluster")
    await old.lock("vm")
    life, disk = await bench.after(life, CRASH)
    _, other = await bench.host("esxi-002")
    await other.lock("vm")
    store = await disk.datastore("cluster")
    with pytest.raises(VmLockHeld):
        await store.lock("vm")
    calls: Calls = (
        old.lock("vm"),
        old.unlock("vm"),
        old.write("vm", "f", b"from the dead"),
        old.remove("vm"),
        old.vms(),
    )
    for call in calls:
        with pytest.raises(NodeDown):
            await call
    with pytest.raises(VmLockHeld):
        await store.lock("vm")
    assert await store.vms() == ()


@both
async def test_a_life_that_ends_while_it_writes_writes_before_its_lock_is_free(
    bench: Bench,
) -> None:
    life, disk = bench.boot()
    store = await disk.datastore("cluster")
    await store.lock("vm")
    writing = asyncio.create_task(store.write("vm", "f", b"x" * 1_000_000))
    await asyncio.sleep(0)
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    _, other = await bench.host("esxi-002")
    await other.lock("vm")
    before = await other.files("vm")
    with pytest.raises(NodeDown):
        await writing
    assert await other.files("vm") == before


@both
async def test_names_do_not_leave_the_array(bench: Bench) -> None:
    _, store = await bench.host("esxi-001")
    await store.write("vm", "f", b"1")
    for name in ("", ".", "..", "a/b", "/etc", "../other", "a\0b", "a\\b"):
        calls: Calls = (
            store.lock(name),
            store.unlock(name),
            store.files(name),
            store.remove(name),
            store.read(name, "f"),
            store.write(name, "f", b""),
            store.read("vm", name),
            store.write("vm", name, b""),
            store.read_blocks("vm", name, [0], 1),
            store.write_blocks("vm", name, {0: b"1"}),
        )
        for call in calls:
            with pytest.raises(ValueError, match="plain name"):
                await call
    assert await store.vms() == ("vm",)
    assert await store.files("vm") == ("f",)
