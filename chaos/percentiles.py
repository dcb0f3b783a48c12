"""Percentiles of the nearest rank: the smallest value that this share of all does not exceed."""

from __future__ import annotations

import math
from collections.abc import Sequence


def nearest_rank(count: int, percentile: float) -> int:
    """The rank from 1, of ``count`` values, of a percentile from 0 to 100."""
    return max(1, math.ceil(round(count * percentile / 100, 6)))


def value_at(ordered: Sequence[float], percentile: float) -> float | None:
    """The value of the nearest rank of values in ascending order; None without values."""
    return ordered[nearest_rank(len(ordered), percentile) - 1] if ordered else None
