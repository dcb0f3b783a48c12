"""Durable before acknowledged, broken: a key server answers although its disk refused."""

from __future__ import annotations

from functools import partial
from typing import Any

from services.kms.commits import Commits, DoneMessage
from services.kms.work import Written
from tests.mutations.bugs.planting import plant


def _silent(original: Any) -> Any:
    async def carry(self: Any, group: Any) -> Any:
        loads, ran = self.unwritten.loads(), list[DoneMessage[Any]]()
        for message in group:
            message.begin()

        def run(connection: Any) -> Any:
            ran[:] = self._run(loads, group, [], connection)
            return ran

        try:
            await self._database.transact(run, partial(self._finish_group, loads, group))
        except OSError:
            for message, done in zip(group, ran, strict=False):
                message.done = DoneMessage(done.value, Written())
        return self._answer(group)

    return carry


plant(Commits, "_carry", _silent)
