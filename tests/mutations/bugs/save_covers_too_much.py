"""The host broken: a save answers for changes that came while it was written, and are not in it."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration.archive import Archive
from services.esxi.configuration.sections import ConfigurationSection
from tests.mutations.bugs.planting import plant


def _generous(original: Any) -> Any:
    async def save(
        self: Archive, sections: ConfigurationSection = ConfigurationSection.ALL
    ) -> None:
        self._asked += 1
        mine = self._asked
        self._wanted |= sections
        async with self._lock:
            if self._covered >= mine:
                return
            wanted, self._wanted = self._wanted, ConfigurationSection.NOTHING
            await self._write(wanted)
            self._covered = self._asked

    return save


plant(Archive, "save", _generous)
