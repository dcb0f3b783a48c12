"""``matrix``: play the truth table and print it as a grid of letters, disagreements first."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from lab.cli.arguments import assignments
from lab.cli.explain import as_written
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import console, document, hint, is_document, pairs, plain, say, show, whole
from lab.cli.progress import Style, telling
from lab.schema.tables import field

if TYPE_CHECKING:
    from lab.schema.answers.matrix import Matrix, Outside

SIGNS = {"agree": "✔", "disagree": "✗", "void": "∅"}
CODES = {"agree": 0, "disagree": 1, "void": 2}
COLOURS = {"agree": "green", "disagree": "bold red", "void": "yellow"}


def play(
    *,
    block: Annotated[list[str] | None, Parameter(help="S00 to N1x. Default: all.")] = None,
    fault: Annotated[list[str] | None, Parameter(help="F0 to F8. Default: all.")] = None,
    event: Annotated[list[str] | None, Parameter(help="E1 to E12. Default: all.")] = None,
    mode: Annotated[Literal["sim", "lab"], Parameter(help="Virtual time or processes.")] = "sim",
    tpm: Annotated[
        Literal["model", "libtpms"] | None, Parameter(help="TPM implementation.")
    ] = None,
    transport: Annotated[
        Literal["bus", "kmip"], Parameter(help="How clients reach the key servers.")
    ] = "bus",
    isolate: Annotated[bool, Parameter(help="Play each event in a lab of its own.")] = False,
    variants: Annotated[bool, Parameter(help="Play each fault in all its variants.")] = False,
    outside: Annotated[
        bool, Parameter(negative="", help="Play the rows outside of the grid instead, X01 to X20.")
    ] = False,
    row: Annotated[
        list[str] | None, Parameter(help="Rows outside of the grid. Default: all.")
    ] = None,
    knob: Annotated[
        list[str] | None, Parameter(help="Set a knob, NAME=VALUE, and list the cells that change.")
    ] = None,
    seed: Annotated[int, Parameter(help="Seed of the simulation.")] = 1,
    jobs: Annotated[int, Parameter(help="Number of parallel labs; 0: by number of cores.")] = 0,
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Play the truth table: observe what survives which fault, and compare with the rules.

        keystead matrix --block S00 --block S10 --fault F1 -o json
        keystead matrix --block T10 --fault F1 --knob kps_primary_key_cache=true
        keystead matrix --block S11 --transport kmip

    For each cell the command builds a lab, injects the fault and triggers the event. The observed
    letter is then compared with the table. With --knob it lists the cells that change. Ctrl-C and
    SIGTERM stop all labs and report the cells so far. Exit codes: 0 all agree, 1 a cell disagrees
    or changed, 2 a cell is void, 130 interrupted.
    """
    from lab.local.matrix import matrix
    from lab.local.matrix import outside as play_rows
    from protocol.messages.agent import TpmBackend
    from services.kms.settings.config import KmsTransport

    style, wanted = Style.NONE if options.quiet else progress, assignments("--knob", knob or ())
    chosen = None if tpm is None else TpmBackend(tpm)
    by = KmsTransport(transport)
    how: Any = {"mode": mode, "tpm": chosen, "seed": seed, "jobs": jobs, "transport": by}
    if outside or row:
        _check_rows_alone(block or fault or event or isolate or variants or knob)
        with telling(style, "matrix") as report, _interrupt_on(signal.SIGTERM):
            rows = play_rows(row or (), report=report, **how)
        return _show_rows(rows, options)
    how |= {"isolate": isolate, "variants": variants, "knobs": wanted}
    with telling(style, "matrix") as report, _interrupt_on(signal.SIGTERM):
        answer = matrix(block or (), fault or (), event or (), report=report, **how)
    _show(answer, options)
    return answer.exit_code


def _check_rows_alone(beside: object) -> None:
    """Raise KS-USE-003 when options ``beside`` those of rows outside of the grid are given."""
    from lab.schema.errors import KeysteadError

    if beside:
        text = "--outside plays rows: name them with --row, and no cells, ways or knobs"
        raise KeysteadError("KS-USE-003", text)


@contextmanager
def _interrupt_on(number: signal.Signals) -> Iterator[None]:
    """Treat the signal like Ctrl-C."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def explain(
    block: str,
    fault: str,
    event: str,
    *,
    run: Annotated[str, Parameter(help="Stored run. Default: the last one with the cell.")] = "",
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Explain a cell: setup, actions, observations, reasons, evidence.

        keystead matrix explain S11 F1 E4
        keystead matrix explain S00 F7 E3 -o json

    The evidence comes from the last run of the matrix with this cell. Without such a run the cell
    is played now, in the simulation.
    """
    from lab.local.matrix import story

    with telling(Style.NONE if options.quiet else Style.AUTO, "matrix") as report:
        told = story(block, fault, event, run=run, report=report)
    if is_document(options.output):
        document(told, options.output)
        return CODES[told.cell.verdict]
    cell = told.cell
    plain(f"{cell.block} {cell.fault} {cell.event}: {SIGNS[cell.verdict]} {cell.verdict}")
    pairs(
        [
            ("block", told.block),
            ("fault", told.fault),
            ("event", told.event),
            ("expected", f"{cell.expected} (tag {cell.tag})"),
            ("observed", f"{cell.observed}: {cell.why}"),
            *((f"part {name}", value) for name, value in cell.parts.items()),
            *(("reason", text) for text in told.reasons.values()),
            *((f"witness R{w.reason}", w.seen if w.held else "none") for w in cell.witness),
            *([("finding", cell.finding)] if cell.finding else []),
        ]
    )
    for evidence in cell.evidence:
        plain(f"\n{evidence.staging}, run {evidence.run}; seconds after the fault began:")
        for line in told.stagings[evidence.staging]:
            plain(f"  {line.at:>9.1f}  {line.text}  [{line.record}]")
    return CODES[cell.verdict]


def _show(answer: Matrix, options: LabOptions) -> None:
    if is_document(options.output):
        document(answer, options.output)
        return
    wrong = [row for row in answer.items if row.verdict != "agree"]
    match options.output:
        case Format.NAME:
            for row in answer.items:
                plain(f"{row.block} {row.fault} {row.event}")  # as `matrix explain` takes it
        case Format.WIDE:
            names = ("block", "fault", "event", "expected", "observed", "verdict", "why", "finding")
            show(answer, options.output, tuple(map(field, names)), key="event")
        case _:
            shown = [row for row in wrong if row.verdict == "void"] if answer.knobs else wrong
            for row in shown:
                _line(row)
            _print_moved_cells(answer)
            _grid(answer)
    for control in answer.controls:
        if not control.held:
            say(f"{control.block}: it does not hold that {control.what}: {control.seen}")
    if answer.not_played:
        cells = answer.not_played + len(answer.items)
        say(f"interrupted: {answer.not_played} of {cells} cells were not played")
    say(
        f"{answer.agree} agree, {answer.disagree} disagree, {answer.void} void; "
        f"run {answer.run}, {answer.mode}, {_labs(answer)}, {answer.seconds:g} s"
    )
    if wrong:
        place = f"{wrong[0].block} {wrong[0].fault} {wrong[0].event}"
        hint(f"keystead matrix explain {place}{_usual(answer)}")


def _labs(answer: Matrix | Outside) -> str:
    """The transport and the TPM of the labs."""
    by = "" if answer.transport == "bus" else f"key servers by {answer.transport}, "
    return f"{by}tpm {answer.tpm}"


def _usual(answer: Matrix) -> str:
    """The options that ``matrix explain`` needs for a run with unusual labs."""
    return f" --run {answer.run}" if answer.knobs or answer.transport != "bus" else ""


def _print_moved_cells(answer: Matrix) -> None:
    """Print the cells that changed under knobs that are not at their defaults."""
    if not answer.knobs:
        return
    for one in answer.moved:
        change = f"{one.was} -> {one.now}" if one.was != one.now else "the cause is another one"
        plain(f"moved {one.block} {one.fault} {one.event}: {change} ({one.why})")
    knobs = ", ".join(f"{name}={as_written(value)}" for name, value in answer.knobs.items())
    cells = "cells move" if len(answer.moved) != 1 else "cell moves"
    plain(f"{knobs}: {len(answer.moved)} of {len(answer.items)} {cells}")


def _show_rows(answer: Outside, options: LabOptions) -> int:
    """Print a line per row and per disagreeing cell, and return the exit code."""
    if is_document(options.output):
        document(answer, options.output)
        return answer.exit_code
    for row in answer.items:
        if options.output is Format.NAME:
            plain(row.id)
            continue
        seen = " ".join(f"{cell.event} {cell.observed}" for cell in row.cells)
        plain(f"{row.id} {SIGNS[row.verdict]} {row.verdict}: {row.title}: {seen}")
        for cell in row.cells:
            if cell.verdict != "agree":
                _line(cell)
    left = f", {answer.not_played} not played" if answer.not_played else ""
    say(
        f"{len(answer.items)} rows{left}; run {answer.run}, {answer.mode}, "
        f"{_labs(answer)}, {answer.seconds:g} s"
    )
    return answer.exit_code


def _line(row: Any) -> None:
    """Describe a cell that disagrees."""
    from rich.text import Text

    head = f"{SIGNS[row.verdict]} {row.block} {row.fault} {row.event} {row.verdict}"
    _print(Text(f"{head}: {row.why}", style=COLOURS[row.verdict]))
    if row.finding:
        _print(Text(f"  finding: {row.finding}"))


def _grid(answer: Matrix) -> None:
    """Print a table per block: a row per fault, a column per event, letters with a sign."""
    from rich.table import Table
    from rich.text import Text

    head = "" if os.environ.get("NO_COLOR") else "bold"
    for block, rows in groupby(answer.items, key=lambda row: row.block):
        found = {(row.fault, row.event): row for row in rows}
        events = list(dict.fromkeys(event for _, event in found))
        made = Table(box=None, pad_edge=False, show_edge=False, header_style=head)
        made.add_column(str(block))
        for event in events:
            made.add_column(str(event))
        for fault in dict.fromkeys(fault for fault, _ in found):
            made.add_row(Text(str(fault)), *(_cell(found.get((fault, event))) for event in events))
        whole(made)


def _cell(row: Any) -> Any:
    from rich.text import Text

    if row is None:
        return Text("--", style="dim")
    return Text(f"{row.observed} {SIGNS[row.verdict]}", style=COLOURS[row.verdict])


def _print(what: Any) -> None:
    import sys

    console(sys.stdout).print(what)


table = App(name="matrix", help_format="plaintext")
table.default(play)
table.command(explain)
