"""Faults broken as they once were: the end of a kill powers on whatever has gone down since."""

from __future__ import annotations

from typing import Any

from chaos.faults.proc_kill import ProcKill
from tests.mutations.bugs.planting import plant


def _all(original: Any) -> Any:
    async def fell(self: Any, lab: Any, notes: Any) -> list[str]:
        return list(notes.get("all", {}))

    return fell


plant(ProcKill, "_fell", _all)
