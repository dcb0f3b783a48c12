"""SC-16 broken: a key that is removed by force leaves the hosts, and vCenter goes on knowing it."""

from __future__ import annotations

from typing import Any

from services.vcenter.tasks import keys
from tests.mutations.bugs.planting import plant


def _known(original: Any) -> Any:
    def note_key(key: Any, *, forgotten: bool = False, **how: Any) -> Any:
        return original(key, **{**how, "listed": True}, forgotten=False)

    return note_key


plant(keys, "note_key", _known)
