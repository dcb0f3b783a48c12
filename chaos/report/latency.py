"""How long operations took, from the invoke of the history to their ok, fail or info.

Arrivals are drawn before the run and wait for no answer, so that a slow one delays none that come
after it: the figures need no correction for what a waiting client would have left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.history import Record
from chaos.load.histogram import histogram, percentile_file, value_us
from chaos.report.phases import RunPhase, RunPhases, phases

ENDS: Final = ("ok", "fail", "info")
PERCENTILES: Final = (50.0, 90.0, 99.0)


@dataclass(frozen=True, kw_only=True)
class OperationSample:
    """One operation, begun at ``t`` in ``phase``; ``end`` is how it ended, empty when nothing tells
    (``seconds`` is None then)."""

    op: str
    node: str
    t: float
    phase: RunPhase
    seq: int
    end: str = ""
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class LatencyFigures:
    """The operations of one kind that began in one phase.

    ``ends`` counts them by how they ended (the empty word: unknown); seconds are of those that
    ended ok, and None when none did.
    """

    op: str
    phase: RunPhase
    ends: dict[str, int]
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.ends.values())


def samples(records: Sequence[Record]) -> tuple[OperationSample, ...]:
    """Every operation that was invoked, in order; answers to what nobody invoked are left out."""
    when = phases(records)
    open_: dict[tuple[str, str, int], Record] = {}
    ended: dict[int, Record] = {}
    for record in records:
        key = (record.op, record.node, int(record.data.get("n", 0)))
        if record.type == "invoke":
            open_[key] = record
        elif record.type in ENDS and key in open_:
            ended[open_.pop(key).seq] = record
    return tuple(
        _sample(record, ended.get(record.seq), when)
        for record in records
        if record.type == "invoke"
    )


def _sample(invoke: Record, end: Record | None, when: RunPhases) -> OperationSample:
    return OperationSample(
        op=invoke.op,
        node=invoke.node,
        t=invoke.t,
        phase=when.of(invoke.t),
        seq=invoke.seq,
        end="" if end is None else end.type,
        seconds=None if end is None else end.t - invoke.t,
    )


def figures(taken: Iterable[OperationSample]) -> tuple[LatencyFigures, ...]:
    """Figures by operation, then by phase in the order of a run; only what there was."""
    groups: dict[tuple[str, RunPhase], list[OperationSample]] = {}
    for sample in taken:
        groups.setdefault((sample.op, sample.phase), []).append(sample)
    order = list(RunPhase)
    keys = sorted(groups, key=lambda key: (key[0], order.index(key[1])))
    return tuple(_figures(op, phase, groups[op, phase]) for op, phase in keys)


def _figures(op: str, phase: RunPhase, taken: Sequence[OperationSample]) -> LatencyFigures:
    ends = dict(Counter(sample.end for sample in taken))
    good = [s.seconds for s in taken if s.end == "ok" and s.seconds is not None]
    if not good:
        return LatencyFigures(op=op, phase=phase, ends=ends)
    made = histogram(good)
    p50, p90, p99 = (value_us(made, p) / 1e6 for p in PERCENTILES)
    return LatencyFigures(op=op, phase=phase, ends=ends, p50=p50, p90=p90, p99=p99, max=max(good))


def percentile_files(taken: Iterable[OperationSample]) -> dict[tuple[str, RunPhase], bytes]:
    """HdrHistogram's percentile text (``.hgrm``) of each operation and phase, in microseconds;
    none where no operation ended ok."""
    groups: dict[tuple[str, RunPhase], list[float]] = {}
    for sample in taken:
        if sample.end == "ok" and sample.seconds is not None:
            groups.setdefault((sample.op, sample.phase), []).append(sample.seconds)
    return {key: percentile_file(histogram(groups[key])) for key in sorted(groups)}
