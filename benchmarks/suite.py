"""The project's own tests, which take too long to run inside a benchmark."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.benchmark import Bar, Benchmark, Figures, NotMeasured, Report, Sense


class OwnTests(Benchmark):
    """Listed, so that the bar is not forgotten."""

    name: ClassVar[str] = "test-suite"
    measures: ClassVar[str] = "linters, types, contracts and tests"
    unit: ClassVar[str] = "min"
    bar: ClassVar[Bar] = Bar(Sense.BELOW, 15.0)

    async def run(self, report: Report) -> Figures:
        raise NotMeasured("time ./keystead test")
