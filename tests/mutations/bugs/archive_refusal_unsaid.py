"""Durable before acknowledged, broken: a save that a full device refused counts as made."""

from __future__ import annotations

import errno
from typing import Any

from services.esxi.configuration.archive import Archive
from tests.mutations.bugs.planting import plant


def _silent(original: Any) -> Any:
    async def write(self: Any, sections: Any) -> None:
        try:
            await original(self, sections)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    return write


plant(Archive, "_write", _silent)
