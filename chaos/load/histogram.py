"""Histograms of latency: HdrHistogram's, of microseconds, right to a thousandth of each value."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any, Final

from chaos.percentiles import nearest_rank

_LONGEST_US: Final = 24 * 3600 * 1_000_000
_DIGITS: Final = 3


def histogram(seconds: Iterable[float]) -> Any:
    """An ``HdrHistogram`` of microseconds, right to a thousandth of each value."""
    from hdrh.histogram import HdrHistogram

    made = HdrHistogram(1, _LONGEST_US, _DIGITS)
    for took in seconds:
        made.record_value(max(1, min(_LONGEST_US, round(took * 1e6))))
    return made


def decode_histogram(text: str) -> Any:
    """The histogram of an operation of a report."""
    from hdrh.histogram import HdrHistogram

    return HdrHistogram.decode(text)


def percentile_file(made: Any) -> bytes:
    """HdrHistogram's percentile text (``.hgrm``), in microseconds."""
    written = BytesIO()
    made.output_percentile_distribution(written, 1.0)
    return written.getvalue()


def value_us(made: Any, percentile: float) -> float:
    """Microseconds that so many of a hundred took at most, of one that is not empty; 100 is the
    longest.

    The value of the nearest rank, which is the next one where it is broken: the library rounds it,
    so that it would take the sixth of seven for the 90th percentile.
    """
    if percentile >= 100:
        return float(made.get_max_value())
    total = made.get_total_count()
    rank = nearest_rank(total, percentile)
    return float(made.get_value_at_percentile(100 * rank / total))


def value_ms(made: Any, percentile: float) -> float | None:
    """``value_us`` in milliseconds; None of an empty one."""
    return round(value_us(made, percentile) / 1000, 3) if made.get_total_count() else None
