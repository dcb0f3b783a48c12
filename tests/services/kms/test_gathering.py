"""Which new keys are one group: those that come while another is on its way, and with it what came
between them; who was answered is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.kms.objects.request_types import Create
from services.kms.settings.config import Auditing
from tests.services.kms.core_rig import do
from tests.services.kms.test_plain_keys import NAMED, PLAIN, Way, key_in


@pytest.fixture(params=list(Auditing))
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    made = await Way(request.param, quick=True).boot()
    yield made
    made.close()


def held(way: Way, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], asyncio.Event]:
    """A number for each transaction that has begun, and what all of them wait for."""
    database, right, go = way.server.database, way.server.database.transact, asyncio.Event()
    begun: list[int] = []

    async def transact(fn: Any, applied: Any = None) -> Any:
        begun.append(len(begun))
        await go.wait()
        return await right(fn, applied)

    monkeypatch.setattr(database, "transact", transact)
    return begun, go


async def test_keys_are_gathered_while_others_are_on_their_way(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over several steps of the loop; who asks for something else waits for nobody."""
    begun, go = held(way, monkeypatch)
    asked = [way.ask(PLAIN)]
    for _ in range(3):
        await asyncio.sleep(0)
        asked.append(way.ask(PLAIN))
    await asyncio.sleep(0.01)
    assert begun == [0], "they are on their way together"
    asked.append(way.ask(NAMED))
    await asyncio.sleep(0.01)
    assert begun == [0, 1]
    for _ in range(4):
        asked.append(way.ask(PLAIN))
        await asyncio.sleep(0.005)
    assert begun == [0, 1]
    go.set()
    async with asyncio.timeout(5):
        assert all(map(key_in, await asyncio.gather(*asked)))
    assert begun == [0, 1, 2]


async def test_what_comes_between_new_keys_goes_along_with_them(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has something else written while a group is on its way, with a new key right behind."""
    begun, go = held(way, monkeypatch)
    asked = [way.ask(PLAIN)]
    await asyncio.sleep(0.01)
    assert begun == [0]
    other = asyncio.ensure_future(do(way.server, Create()))
    while not way.server.service.core.commits._gathered:
        await asyncio.sleep(0)
    asked.append(way.ask(PLAIN))
    await asyncio.sleep(0.01)
    assert begun == [0], "who carries the first ones takes both along"
    go.set()
    async with asyncio.timeout(5):
        assert all(map(key_in, await asyncio.gather(*asked)))
        await other
    assert begun == [0, 1]


async def test_who_was_answered_is_waited_for_when_it_asks_again(way: Way) -> None:
    """A few steps of the loop; with the last of them the group goes."""

    async def client(late: int) -> list[int]:
        seen = []
        for _ in range(5):
            assert key_in(await way.ask(PLAIN))
            seen.append(way.server.database.commits)
            for _ in range(late):
                await asyncio.sleep(0)
        return seen

    begun = way.server.database.commits
    seen = await asyncio.gather(client(0), client(2), client(2))
    assert [*seen] == [[begun + number for number in range(1, 6)]] * 3
