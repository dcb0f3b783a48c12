"""Runs benchmarks one after another, never two at once: they would measure each other."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from benchmarks.benchmark import Benchmark, CannotRun, Figures, NotMeasured, Report
from benchmarks.machine import describe, load
from benchmarks.staging import home
from lab.schema.answers.local import BenchmarkList, BenchmarkRow, KnownBenchmark, MeasuredMachine
from lab.schema.errors import KeysteadError
from services.runtime.forking.child import TRACEABLE

CANNOT_RUN = 5  # exit code


class Outcome(StrEnum):
    MEASURED = "measured"
    NOT_MEASURED = "not measured here"
    CANNOT_RUN = "cannot run"


@dataclass(frozen=True)
class BenchmarkResult:
    """A benchmark's repeats. ``runs`` is empty unless it was measured; ``text`` says why."""

    benchmark: Benchmark
    outcome: Outcome
    runs: tuple[Figures, ...] = ()
    text: str = ""

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(r.value for r in self.runs)

    @property
    def median(self) -> Figures:
        """The median of each figure for itself."""
        details = {
            name: statistics.median(r.details[name] for r in self.runs)
            for name in self.runs[0].details
        }
        return Figures(statistics.median(self.values), details)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps every bar; None when nothing was measured."""
        return self.benchmark.met_by(self.median) if self.runs else None

    @property
    def met_at_best(self) -> bool | None:
        """Whether a repeat does: what else runs on the machine only makes it worse."""
        return any(map(self.benchmark.met_by, self.runs)) if self.runs else None


async def run(
    benchmarks: Sequence[Benchmark], repeat: int | None, report: Report
) -> tuple[list[BenchmarkResult], MeasuredMachine]:
    """Every result, and the machine with its load before and after.

    ``repeat``: runs of each; None for as many as a benchmark says itself.
    """
    os.environ[TRACEABLE] = "1"  # else the kernel tells nobody what the memory of another has
    machine = describe(home())
    results = []
    for number, benchmark in enumerate(benchmarks, 1):
        report(f"[{number}/{len(benchmarks)}] {benchmark.name}: {benchmark.measures}")
        results.append(await _one(benchmark, repeat or benchmark.repeats, report))
    return results, msgspec.structs.replace(machine, load_at_end=load())


async def _one(benchmark: Benchmark, repeat: int, report: Report) -> BenchmarkResult:
    """An error of one benchmark ends that one only."""
    runs: list[Figures] = []
    try:
        for number in range(1, repeat + 1):
            made = await benchmark.run(report)
            runs.append(made)
            report(f"  {number}/{repeat}: {made.value:.4g} {benchmark.unit}")
    except NotMeasured as reason:
        return BenchmarkResult(benchmark, Outcome.NOT_MEASURED, text=str(reason))
    except Exception as error:  # whatever it is, the others still have their figures
        text = _format_error(error)
        report(f"  cannot run: {text}")
        return BenchmarkResult(benchmark, Outcome.CANNOT_RUN, text=text)
    return BenchmarkResult(benchmark, Outcome.MEASURED, tuple(runs))


def _format_error(error: BaseException) -> str:
    """The first error of a group; an error that we did not name comes with its type."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, CannotRun | KeysteadError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def exit_code(results: Sequence[BenchmarkResult]) -> int:
    """0 when every one ran, however slowly; 5 when one could not."""
    return CANNOT_RUN if any(r.outcome is Outcome.CANNOT_RUN for r in results) else 0


def row(result: BenchmarkResult) -> BenchmarkRow:
    """A result as the row of the report."""
    benchmark, values = result.benchmark, result.values
    return BenchmarkRow(
        benchmark=benchmark.name,
        measures=benchmark.measures,
        outcome=result.outcome.value,
        unit=benchmark.unit,
        min=min(values) if values else None,
        median=result.median.value if values else None,
        max=max(values) if values else None,
        bar=bar(benchmark),
        met=result.met,
        met_at_best=result.met_at_best,
        values=values,
        details=dict(result.median.details) if values else {},
        text=result.text,
    )


def list_benchmarks(benchmarks: Sequence[type[Benchmark]]) -> BenchmarkList:
    """What could be run."""
    return BenchmarkList(
        items=tuple(
            KnownBenchmark(benchmark=b.name, measures=b.measures, unit=b.unit, bar=bar(b))
            for b in benchmarks
        )
    )


def bar(benchmark: Benchmark | type[Benchmark]) -> str:
    """What the medians have to meet, as people read it."""
    others = (f"; {name} {b.sense} {b.limit:g}" for name, b in benchmark.also.items())
    return f"{benchmark.bar.sense} {benchmark.bar.limit:g}" + "".join(others)
