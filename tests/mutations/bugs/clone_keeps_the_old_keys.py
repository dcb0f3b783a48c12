"""CLN-01 broken: a clone that is to have new keys has those of its source."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import clone
from tests.mutations.bugs.planting import plant


def _as_it_is(original: Any) -> Any:
    async def under_a_new_key(host: Any, message: Any, made: Any, keys: Any) -> Any:
        return made, keys

    return under_a_new_key


plant(clone, "_under_a_new_key", _as_it_is)
