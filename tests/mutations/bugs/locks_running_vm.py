"""LOCK-04 broken: a VM that runs is judged as if it did not."""

from __future__ import annotations

import dataclasses
from typing import Any

from services.vcenter import locks
from services.vcenter.hosts import judgement
from tests.mutations.bugs.planting import plant


def _stern(original: Any) -> Any:
    def decide(facts: Any) -> Any:
        return original(dataclasses.replace(facts, running=False))

    return decide


plant(judgement, "decide", _stern)
plant(locks, "decide", _stern)
