"""Tolerances broken: "less than" holds for more, and "more than" for less."""

from __future__ import annotations

from typing import Any

import msgspec

from chaos.hypotheses.tolerance import Tolerance
from tests.mutations.bugs.planting import plant

_OTHER = {"<": ">", ">": "<"}


def _reversed(original: Any) -> Any:
    def holds(self: Tolerance, value: float) -> Any:
        compare = _OTHER.get(self.compare, self.compare)
        return original(msgspec.structs.replace(self, compare=compare), value)

    return holds


plant(Tolerance, "holds", _reversed)
