"""Histograms of latency: HdrHistogram's, of microseconds, right to a thousandth of each value."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any, Final

from hdrh.histogram import HdrHistogram

_LONGEST_US: Final = 24 * 3600 * 1_000_000
_DIGITS: Final = 3


def histogram(seconds: Iterable[float]) -> Any:
    """An ``HdrHistogram`` of microseconds, right to a thousandth of each value."""
    made = HdrHistogram(1, _LONGEST_US, _DIGITS)
    for took in seconds:
        made.record_value(max(1, min(_LONGEST_US, round(took * 1e6))))
    return made


def decoded(text: str) -> Any:
    """The histogram of an operation of a report."""
    return HdrHistogram.decode(text)


def percentile_file(made: Any) -> bytes:
    """HdrHistogram's percentile text (``.hgrm``), in microseconds."""
    written = BytesIO()
    made.output_percentile_distribution(written, 1.0)
    return written.getvalue()


def value_ms(made: Any, percentile: float) -> float | None:
    """Milliseconds; 100 is the longest; None of an empty one."""
    if not made.get_total_count():
        return None
    found = made.get_max_value() if percentile >= 100 else made.get_value_at_percentile(percentile)
    return round(float(found) / 1000, 3)
