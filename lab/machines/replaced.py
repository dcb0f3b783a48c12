"""Bundles that were replaced by newer ones: what they held is not let in at the brokers any more.

Whoever writes a bundle (``issuing``) gives its machine new nkeys, in the lab's folder; it may be
another process. The supervisor sees that there is another bundle, and has the brokers read their
lists of users again, which ends the connections of those that are not in it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from lab.errors import KeysteadError
from lab.machines.admission import issued
from lab.machines.machine import Machine

LOOK_EVERY_S: Final = 0.3
AGAIN_S: Final = 2.0  # after a broker that did not read its list


class Replaced:
    """Of the lab in ``folder``; ``reload`` has the brokers read their lists of users."""

    def __init__(
        self,
        folder: Path,
        machines: Mapping[str, Machine],
        reload: Callable[[], Awaitable[None]],
        warn: Callable[[str], None],
    ) -> None:
        self._folder, self._machines = folder, machines
        self._reload, self._warn = reload, warn
        self._changed = 0
        self._known: dict[str, str] = {}

    async def watch(self) -> None:
        """Until cancelled."""
        self._look()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if names := self._look():
                await self.let_go(names)

    def _look(self) -> list[str]:
        """Machines whose bundle is another one than it was."""
        try:
            changed = (self._folder / "bundles").stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if changed == self._changed:
            return []
        found, all_read = [], True
        for name in self._machines:
            try:
                bundle = issued(self._folder, name)
            except (OSError, msgspec.DecodeError):
                all_read = False
                continue
            if bundle is not None:
                if self._known.get(name, bundle.id) != bundle.id:
                    found.append(name)
                self._known[name] = bundle.id
        if all_read:  # one that is not readable at this moment is looked at again
            self._changed = changed
        return found

    async def let_go(self, names: list[str]) -> None:
        """End what earlier agents of these machines say, as often as it takes."""
        while True:
            try:
                await self._reload()
                break
            except (KeysteadError, OSError) as error:
                self._warn(f"what older bundles held is not refused yet: {error}")
                await asyncio.sleep(AGAIN_S)
        for name in names:
            self._machines[name].lose("has got a new bundle")
