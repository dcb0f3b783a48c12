"""Hypotheses broken: what could not be measured counts as what held."""

from __future__ import annotations

import math
from typing import Any

from chaos.hypotheses.probes import Measured
from chaos.playing.measure import Hypotheses
from tests.mutations.bugs.planting import plant


def _sure(original: Any) -> Any:
    def judged(self: Hypotheses, probe: Any, found: Measured) -> Any:
        if math.isnan(found.value):
            found = Measured(probe.is_.limit, found.detail)
        return original(self, probe, found)

    return judged


plant(Hypotheses, "judge", _sure)
