"""Serving broken: a request that came to its turn after its deadline is carried out."""

from __future__ import annotations

from typing import Any

import msgspec

from services.runtime.node import NodeRunner
from tests.mutations.bugs.planting import plant


def _patient(original: Any) -> Any:
    async def served(self: NodeRunner, served: Any, incoming: Any, name: str) -> Any:
        return await original(self, served, msgspec.structs.replace(incoming, deadline=0.0), name)

    return served


plant(NodeRunner, "_run_handler", _patient)
