"""Seeded walks of a server whose audit of reads is buffered, over a disk that is slow and refuses.

Whatever the disk does, the trail has each key that was given, once, in front of what came later;
also when a commit that was refused has happened all the same, and at a stop in the midst of it.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from protocol.errors import GeneralFailure, ItemNotFound, PermissionDenied
from protocol.messages.kms.administration import RotateKek
from protocol.terms import KeyId
from services.kms.audit import audit_trail, deferred_rows
from services.kms.objects.request_types import Create, DestroyObject, Get
from services.kms.operations import core
from services.kms.settings.config import Auditing
from tests.services.kms.core_rig import OWNER, do, items
from tests.services.kms.ports import CONFIG, LOCAL, Server

STEPS = 60


class Disk:
    """A writer that takes transactions one after another, in their order, as the real one does.

    ``lies``: what it refuses may be committed.
    """

    def __init__(self, server: Server, choose: random.Random, *, lies: bool) -> None:
        self._right, self._choose, self._lies = server.database.transact, choose, lies
        self._turn = asyncio.Lock()
        self.calm = False
        server.database.transact = self.transact  # type: ignore[method-assign]

    async def transact(self, fn: Callable[[Any], Any], applied: Any = None) -> Any:
        async with self._turn:
            for _ in range(self._choose.randrange(4)):
                await asyncio.sleep(0)
            if not self.calm and self._choose.random() < 0.25:
                if self._lies and self._choose.random() < 0.5:
                    await self._right(fn)
                raise OSError(errno.EIO, "Input/output error")
            return await self._right(fn, applied)


class Walk:
    """``given``: how often a client has had each key."""

    def __init__(self, seed: int, *, lies: bool) -> None:
        self.choose, self.lies = random.Random(seed), lies
        self.server = Server(config=msgspec.structs.replace(CONFIG, audit=Auditing.BUFFERED))
        self.keys: list[KeyId] = []
        self.given: Counter[KeyId] = Counter()
        self.all_answered = False

    async def play(self) -> None:
        await self.server.boot()
        for _ in range(4):
            created = await do(self.server, Create())
            self.keys.append(created.unique_identifier)
        disk = Disk(self.server, self.choose, lies=self.lies)
        works = []
        for _ in range(STEPS):
            works.append(asyncio.ensure_future(self._work()))
            for _ in range(self.choose.randrange(5)):
                await asyncio.sleep(0)
        self.all_answered = self.choose.random() < 0.5
        if self.all_answered:
            await asyncio.gather(*works)
        for work in [*works, *self.server.node.works]:
            work.cancel()
        await asyncio.sleep(0)
        disk.calm = True
        await self.server.service.stop()

    async def _work(self) -> None:
        key = self.choose.choice(self.keys)
        kind = self.choose.random()
        try:
            if kind < 0.8:
                # As its bytes come in, or in a task of its own.
                if kind > 0.5 or core.get_at_once(self.server.service.core, OWNER, key) is None:
                    await do(self.server, Get(unique_identifiers=(key,), required=True))
                self.given[key] += 1
            elif kind < 0.87:
                await do(self.server, DestroyObject(unique_identifier=key))
            elif kind < 0.9:
                await self.server.ask(RotateKek(after=self.choose.randrange(1, 3)), LOCAL)
            else:
                await items(self.server, Create(), Get())
        except (GeneralFailure, ItemNotFound, PermissionDenied):
            pass

    def trail(self) -> list[tuple[str, str, str]]:
        found = self.server.platter.sql(
            "SELECT operation, key_id, result FROM audit ORDER BY sequence"
        )
        return [(str(one), str(two), str(three)) for one, two, three in found]


@pytest.mark.parametrize("lies", [False, True])
@pytest.mark.parametrize("seed", range(12))
async def test_the_trail_has_each_key_that_was_given(
    seed: int, monkeypatch: pytest.MonkeyPatch, *, lies: bool
) -> None:
    monkeypatch.setattr(deferred_rows, "BUFFERED_ROWS", 9)
    walk = Walk(seed, lies=lies)
    await walk.play()
    audit_trail.check(walk.server.platter.databases["keys"], walk.server.vault)
    destroyed, told = set[str](), Counter[str]()
    for operation, key, result in walk.trail():
        if operation == "Get" and result == "Success":
            assert key not in destroyed
            told[key] += 1
        if operation == "Destroy" and result == "Success":
            destroyed.add(key)
    for key in walk.keys:
        assert told[key] >= walk.given[key]
        assert lies or not walk.all_answered or told[key] == walk.given[key]
    assert sum(walk.given.values()) > 3
    for work in walk.server.node.works:
        work.cancel()
