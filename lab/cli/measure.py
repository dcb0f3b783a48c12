"""``bench``: figures of this machine beside what they have to be."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from cyclopts import App, Parameter

from lab.cli.options import DEFAULTS, Options
from lab.cli.output import Column, Row, document, field, is_document, pairs, plain, say, show
from lab.errors import KeysteadError

LONGEST = 100  # repeats


def bench(
    *names: Annotated[str, Parameter(help="Benchmarks; all when left out.")],
    quick: Annotated[
        bool, Parameter(negative="", help="Less of everything: only to see that it works.")
    ] = False,
    repeat: Annotated[int, Parameter(help="How often each is run.")] = 3,
    list_: Annotated[
        bool, Parameter(name="--list", negative="", help="Only list the benchmarks.")
    ] = False,
    options: Options = DEFAULTS,
) -> int:
    """Measure how fast and how small keystead is here: `keystead bench up-3 --repeat 5`.

    A bar is met by the median of the repeats; "at best" says that only the best one met it,
    which on a machine that does other things too may be the truth. Slow is no error: exit code
    0 when everything ran, 5 when a benchmark could not.
    """
    from lab.bench.order import chosen

    if not 1 <= repeat <= LONGEST:
        raise KeysteadError("KS-USE-003", f"--repeat {repeat}: 1 to {LONGEST}")
    wanted = chosen(names)
    if list_:
        items = [
            {"benchmark": b.name, "measures": b.measures, "unit": b.unit, "bar": _bar(b)}
            for b in wanted
        ]
        columns = tuple(field(n) for n in ("benchmark", "measures", "bar", "unit"))
        show({"kind": "BenchmarkList", "items": items}, options.output, columns, key="benchmark")
        return 0
    from lab.bench.runner import exit_code, row, run

    made = [b(quick=quick) for b in wanted]
    results, machine = asyncio.run(run(made, repeat, say))
    answer = {
        "kind": "BenchmarkReport",
        "quick": quick,
        "repeat": repeat,
        "machine": machine,
        "items": [row(r) for r in results],
    }
    _print(answer, options)
    return exit_code(results)


def _bar(benchmark: Any) -> str:
    return f"{benchmark.bar.sense} {benchmark.bar.limit:g}"


def _print(answer: dict[str, Any], options: Options) -> None:
    if is_document(options.output):
        document(answer, options.output)
        return
    columns: tuple[Column, ...] = (
        field("benchmark"),
        field("measures"),
        *((name.upper(), _figure(name)) for name in ("min", "median", "max")),
        field("unit"),
        field("bar"),
        ("MET", _met),
    )
    wide: tuple[Column, ...] = (("DETAILS", _details),)
    show(answer, options.output, columns, wide, key="benchmark")
    if options.output.value != "name":
        plain("")
        pairs([(name.replace("_", " "), str(value)) for name, value in answer["machine"].items()])


def _figure(name: str) -> Any:
    def shown(item: Row) -> str | None:
        value = item[name]
        return None if value is None else f"{value:.4g}" if value < 1000 else f"{value:.0f}"

    return shown


def _met(item: Row) -> str:
    match item["met"], item["met_at_best"]:
        case None, _:
            return f"{item['outcome']}: {item['text']}"
        case True, _:
            return "yes"
        case False, True:
            return "no (at best)"
        case _:
            return "no"


def _details(item: Row) -> dict[str, str]:
    return {name: f"{value:.4g}" for name, value in item["details"].items()}


def register(app: App) -> None:
    app.command(bench)
