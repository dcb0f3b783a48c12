"""Probes broken: a guest that does not answer is taken for one that works."""

from __future__ import annotations

import dataclasses
from typing import Any

from chaos.observe.guests import Guests
from tests.mutations.bugs.planting import plant


def _kindly(original: Any) -> Any:
    async def challenge(self: Guests, vm: Any, host: Any) -> Any:
        asked = await original(self, vm, host)
        return asked if asked.right is not None else dataclasses.replace(asked, right=True)

    return challenge


plant(Guests, "challenge", _kindly)
