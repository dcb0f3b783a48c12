"""``lab new``, ``lab lint``: files that describe a lab."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.names import COMPLETERS
from lab.cli.options import PRINTED, Printed
from lab.cli.output import document, hint, is_document, plain, say
from lab.cli.running.labs import SHIPPED, FileName, Shape
from lab.cli.values import assignments
from lab.schema.errors import KeysteadError

BAD_FILE: Final = 4
AS_SHIPPED: Final = Shape()
_QUESTIONS: Final = (
    ("hosts", "Hosts in each cluster", int),
    ("vms", "Encrypted VMs in each cluster", int),
    ("kms", "Key servers of the provider: 1, or 2 that replicate", int),
    ("key_persistence", "Key persistence from the start: yes or no", bool),
    ("pace", "Lab seconds that pass in one second", float),
)


def new(
    name: str,
    *,
    from_: Annotated[
        str,
        Parameter(
            name="--from",
            help=f"The Lab file to begin with: {SHIPPED}.",
            completer=COMPLETERS["lab"],
        ),
    ] = "default",
    shape: Shape = AS_SHIPPED,
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative="", help="KNOB=VALUE, any number of times."),
    ] = (),
    options: Printed = PRINTED,
) -> None:
    """Write a commented Lab file, NAME.yaml, here; on a terminal it asks what no option says.

    keystead lab new mylab
    keystead lab new mylab --from edge --hosts 8 --key-persistence

    The schema that editors complete it by is written beside it: lab.schema.json.
    """
    from lab.local.lab_files import new as write_new

    if shape == AS_SHIPPED and not set_ and sys.stdin.isatty() and options == PRINTED:
        shape = _ask(shape)
    changes = shape.changes()
    if knobs := assignments("--set", set_):
        changes["knobs"] = knobs
    made = write_new(name, Path.cwd(), from_, changes)
    if is_document(options.output):
        document(made, options.output)
        return
    plain(made.file)
    hint(f"keystead up {Path(made.file).name}")


def lint(
    file: FileName,
    *,
    options: Printed = PRINTED,
) -> int:
    """Check a Lab file: all that is wrong with it, each with its line; exit code 4 then.

    keystead lab lint mylab.yaml
    keystead lab lint mylab.yaml -o json
    """
    from lab.local.lab_files import lint as look_through

    report = look_through(file)
    if is_document(options.output):
        document(report, options.output)
    elif options.output is Format.NAME:
        for problem in report.items:
            plain(problem)
    elif report.items:
        for problem in report.items:
            say(problem)
        say("1 error" if len(report.items) == 1 else f"{len(report.items)} errors")
    else:
        plain(f"{Path(report.file).name}: no errors")
    return BAD_FILE if report.items else 0


def _ask(shape: Shape) -> Shape:
    """What a person at the terminal wants; an empty answer leaves it as the file has it."""
    given: dict[str, Any] = {}
    say("Enter keeps what the shipped file says.")
    for field, question, kind in _QUESTIONS:
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        if not answer:
            continue
        try:
            value = _YES_NO[answer.lower()] if kind is bool else kind(answer)
        except (KeyError, ValueError):
            raise KeysteadError("KS-USE-003", f"{question}: not {answer}") from None
        given[field] = value
    return replace(shape, **given)


_YES_NO: Final = {"yes": True, "y": True, "no": False, "n": False}
