"""Changes that are answered when the peer has them: whoever waits for one comes to an end."""

from __future__ import annotations

import asyncio
import errno

import pytest

from protocol.terms import KeyId
from services.kms.commit.unit_of_work import KeyChange
from services.kms.replication.pair import Promises

KEY, OTHER = KeyId("k"), KeyId("other")


async def waiting(promises: Promises, *changes: KeyChange) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(promises.wait_for(changes))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_change_that_is_told_again_is_one_promise() -> None:
    """What the peer sends of a key may be below what it is to learn of it: it is told once more."""
    promises, change = Promises(), KeyChange(KEY, 7)
    promises.give([change])
    first = await waiting(promises, change)
    promises.give([change])
    second = await waiting(promises, change)
    promises.keep([change])
    async with asyncio.timeout(5):
        await first
        await second


async def test_a_later_change_keeps_the_earlier_ones_of_its_key_only() -> None:
    promises = Promises()
    changes = [KeyChange(KEY, 7), KeyChange(KEY, 9), KeyChange(OTHER, 8)]
    promises.give(changes)
    earlier, later, other = [await waiting(promises, change) for change in changes]
    promises.keep([KeyChange(KEY, 8)])
    await earlier
    assert not later.done() and not other.done()
    promises.keep_all(OSError(errno.EIO, "no"))
    for task in (later, other):
        with pytest.raises(OSError, match="no"):
            await task
    await promises.wait_for(changes)  # nothing is open any more
