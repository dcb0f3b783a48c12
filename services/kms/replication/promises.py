"""Changes of keys that are answered when the peer of a pair has them, or is marked as down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from protocol.terms import KeyId
from services.kms.commit.unit_of_work import KeyChange


class _Promise:
    """One change that somebody waits for."""

    def __init__(self) -> None:
        self._done = asyncio.Event()
        self._error: OSError | None = None

    def keep(self, error: OSError | None = None) -> None:
        """It has come to that; or could not, for ``error``."""
        self._error = error
        self._done.set()

    async def wait(self) -> None:
        """Return when it has; raises the error otherwise."""
        await self._done.wait()
        if self._error is not None:
            raise self._error


class Promises:
    """The open ones, by key and by the number of its change."""

    def __init__(self) -> None:
        self._open: dict[KeyId, dict[int, _Promise]] = {}

    def give(self, changes: Sequence[KeyChange]) -> None:
        """Promise that the peer shall have these changes, or be marked as not having them.

        A change may be told again while somebody waits for it: it is one promise.
        """
        for key_id, changed in changes:
            self._open.setdefault(key_id, {}).setdefault(changed, _Promise())

    async def wait_for(self, changes: Sequence[KeyChange]) -> None:
        """Return when it has come to that for all of them; ``OSError`` when it could not."""
        for key_id, changed in changes:
            promise = self._open.get(key_id, {}).get(changed)
            if promise is not None:
                await promise.wait()

    def keep(self, changes: Sequence[KeyChange]) -> None:
        """The peer has these changes, and so every earlier one of the same keys."""
        for key_id, told in changes:
            promises = self._open.get(key_id, {})
            for changed in [changed for changed in promises if changed <= told]:
                promises.pop(changed).keep()
            if not promises:
                self._open.pop(key_id, None)

    def keep_all(self, error: OSError | None = None) -> None:
        """Nobody waits any longer: the peer has it all, is marked, or neither, for ``error``."""
        given, self._open = self._open, {}
        for promises in given.values():
            for promise in promises.values():
                promise.keep(error)
