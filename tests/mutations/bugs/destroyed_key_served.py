"""KMIP broken: a destroyed key keeps its material, and Get gives it as if it were active."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.terms import KmipState
from services.kms import performing, store
from tests.mutations.bugs.planting import plant

_DEAD = (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED)


def _undead(original: Any) -> Any:
    def moved(work: Any, request: Any, step: Any, row: Any) -> Any:
        after = original(work, request, step, row)
        if after.state in _DEAD:
            after = msgspec.structs.replace(after, wrapped=row.wrapped)
        return after

    return moved


def _found(original: Any) -> Any:
    def find(connection: Any, vault: Any, key_id: Any) -> Any:
        row = original(connection, vault, key_id)
        if row is not None and row.state in _DEAD:
            return msgspec.structs.replace(row, state=KmipState.ACTIVE)
        return row

    return find


plant(performing, "_transition", _undead)
plant(store, "find", _found)
