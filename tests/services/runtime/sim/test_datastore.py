"""The simulated array: what lies there while a call of many blocks is under way."""

from __future__ import annotations

import asyncio

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.sim.datastore import SimArray
from services.runtime.sim.loop import SimLoop


async def _second(label: str) -> None:
    await asyncio.sleep(1)


async def _fall_while_writing() -> bytes:
    array = SimArray(_second)
    life = Incarnation(NodeName("esxi-001"), 1)
    store = array.open(life)
    await store.write("vm", "disk", b"aabbcc")
    blocks = {0: b"AA", 1: b"BB", 2: b"CC", 3: b"DD"}
    writing = asyncio.ensure_future(store.write_blocks("vm", "disk", blocks))
    await asyncio.sleep(0.5)
    life.end(WayDown.POWER_LOSS)
    await array.end(life)
    await asyncio.gather(writing, return_exceptions=True)
    return await array.open(Incarnation(NodeName("esxi-001"), 2)).read("vm", "disk")


def test_who_falls_among_many_blocks_has_some_old_and_some_new() -> None:
    loop = SimLoop(1)
    assert loop.run(_fall_while_writing(), seconds=60.0) == b"AABBcc"
    loop.close()
