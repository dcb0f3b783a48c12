"""The command ``keystead bench``: which benchmarks run, and how their figures are shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Benchmark
from benchmarks.order import select_benchmarks
from benchmarks.runner import exit_code, list_benchmarks, row, run
from benchmarks.scale.building import Growth, picture
from lab.cli.options import LabOptions
from lab.cli.output import document, fields_of, is_document, pairs, plain, say, show
from lab.schema.answers.local import BenchmarkReport, BenchmarkRow
from lab.schema.errors import KeysteadError
from lab.schema.tables import Column, field

LONGEST = 100  # repeats


def bench(
    names: tuple[str, ...],
    *,
    quick: bool,
    repeat: int | None,
    svg: Path | None,
    list_: bool,
    options: LabOptions,
) -> int:
    """See ``lab.cli.running.doctor.bench``."""
    if repeat is not None and not 1 <= repeat <= LONGEST:
        raise KeysteadError("KS-USE-003", f"--repeat {repeat}: 1 to {LONGEST}")
    wanted = select_benchmarks(names)
    if svg is not None:
        _check_picture(svg, wanted)
    if list_:
        columns = tuple(field(n) for n in ("benchmark", "measures", "bar", "unit"))
        show(list_benchmarks(wanted), options.output, columns, key="benchmark")
        return 0
    made = [b(quick=quick) for b in wanted]
    results, machine = asyncio.run(run(made, repeat, say))
    items = tuple(row(r) for r in results)
    if svg is not None:
        _draw(svg, items)
    _print(BenchmarkReport(quick=quick, repeat=repeat, machine=machine, items=items), options)
    return exit_code(results)


def _check_picture(path: Path, wanted: tuple[type[Benchmark], ...]) -> None:
    """KS-USE-003 for a picture that there would be nothing for, or no place."""
    if Growth not in wanted:
        raise KeysteadError("KS-USE-003", f"--svg draws {Growth.name}: name it, or scale")
    if path.is_dir() or not path.parent.is_dir():
        raise KeysteadError("KS-USE-003", f"--svg {path}: a file in a folder that is there")


def _draw(path: Path, items: tuple[BenchmarkRow, ...]) -> None:
    for item in items:
        if item.benchmark == Growth.name and item.details:
            path.write_bytes(picture(item.details))
            say(f"drawn: {path}")


def _print(report: BenchmarkReport, options: LabOptions) -> None:
    if is_document(options.output):
        document(report, options.output)
        return
    columns: tuple[Column, ...] = (
        field("benchmark"),
        field("measures"),
        *((name.upper(), _figure(name)) for name in ("min", "median", "max")),
        field("unit"),
        field("bar"),
        ("MET", _format_outcome),
    )
    wide: tuple[Column, ...] = (("DETAILS", _details),)
    show(report, options.output, columns, wide, key="benchmark")
    if options.output.value != "name":
        plain("")
        machine = fields_of(report.machine)
        pairs([(name.replace("_", " "), str(value)) for name, value in machine.items()])


def _figure(name: str) -> Any:
    def format_figure(item: BenchmarkRow) -> str | None:
        value = getattr(item, name)
        return None if value is None else f"{value:.4g}" if value < 1000 else f"{value:.0f}"

    return format_figure


def _format_outcome(item: BenchmarkRow) -> str:
    match item.met, item.met_at_best:
        case None, _:
            return f"{item.outcome}: {item.text}"
        case True, _:
            return "yes"
        case False, True:
            return "no (at best)"
        case _:
            return "no"


def _details(item: BenchmarkRow) -> dict[str, str]:
    return {name: f"{value:.4g}" for name, value in item.details.items()}
