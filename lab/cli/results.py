"""A command is given, and its answer printed: as a table, a message, a page or a document."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lab.cli.asked import Asked, Format
from lab.cli.connect import call
from lab.cli.listing import Listing
from lab.cli.output import document, is_document, say, show, show_one
from lab.schema.commands import Command, answer_type
from lab.schema.tables import ColumnTable, table_of

if TYPE_CHECKING:
    from lab.cli.options import LabOptions, View


def run(command: Command[Any], options: LabOptions) -> int:
    """Give a command, print its answer, and return the exit code."""
    answer = call(options, command)
    return print_answer(command, answer, options)


def look(
    command: Command[Any], names: Sequence[str], options: Asked, view: View | None = None
) -> int:
    """The same of a list, of which ``names`` are shown as ``view`` says."""
    answer = Listing(table_for(type(command))).get(command, names, options, view)
    return 0 if answer is None else _report(answer, options)


def print_answer(command: Command[Any], answer: Any, options: LabOptions) -> int:
    """Print an answer, and what there is to say besides; the exit code."""
    _print(command, answer, options)
    return _report(answer, options)


def table_for(command: type[Command[Any]]) -> ColumnTable:
    """The table of a command's answer; ``TypeError`` when it has none."""
    answer = answer_type(command)
    if (table := command.table or table_of(answer)) is None:
        raise TypeError(f"{answer.__name__} has neither a table nor a page")
    return table


def _print(command: Command[Any], answer: Any, options: LabOptions) -> None:
    if is_document(options.output):
        document(answer, options.output)
        return
    from lab.cli.pages import PAGES

    text = command.message(answer)
    if text and options.output is not Format.NAME:
        say(text)
        return
    page = PAGES.get(type(answer))
    if page and not (options.output is Format.NAME and table_of(type(answer))):
        page(answer, options)
        return
    table = table_for(type(command))
    if hasattr(answer, "items"):
        show(answer, options.output, table.columns, table.wide, key=table.key)
    else:
        show_one(answer, options.output, table.columns, table.wide, key=table.key)


def _report(answer: Any, options: Asked) -> int:
    if not is_document(options.output):
        for text in answer.remarks():
            say(text)
    of_lab = "" if options.name == "default" else f" --name {options.name}"
    for text in answer.errors(of_lab):
        say(text)
    sys.stdout.flush()
    code: int = answer.exit_code
    return code
