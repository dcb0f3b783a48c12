"""ATT-06 broken: the configuration is sealed to the booted image too."""

from __future__ import annotations

from typing import Any

from protocol.tpm.structures import PcrSelection
from services.esxi.configuration import sealing
from services.esxi.measure import PCR_MODULES
from tests.mutations.bugs.planting import plant


def _all(original: Any) -> Any:
    def sealing_selection(*facts: Any, **how: Any) -> PcrSelection:
        return PcrSelection.of((*original(*facts, **how).pcrs, PCR_MODULES))

    return sealing_selection


plant(sealing, "sealing_selection", _all)
