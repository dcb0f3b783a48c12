"""Deadlines broken: a request that comes after its deadline is carried out."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from services.runtime.rpc import serving
from tests.mutations.bugs.planting import plant


def _patient(original: Any) -> Any:
    def decode(payload: bytes) -> Any:
        return msgspec.structs.replace(original(payload), deadline=math.inf)

    return decode


plant(serving, "decode_envelope", _patient)
