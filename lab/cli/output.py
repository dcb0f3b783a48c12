"""Printing: results on stdout in the format asked for, messages on stderr."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import msgspec

from lab.cli.invocation import Format
from lab.cli.streams import flush
from lab.schema.tables import Column, Row, document_of, text, value_of
from protocol.printable import one_line, printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console

PROSE, GAP = 24, 2  # characters of a column of prose at the least, and between two columns


def console(file: IO[str], width: int | None = None) -> Console:
    """A console without colours of its own; rich knows NO_COLOR and FORCE_COLOR."""
    from rich.console import Console

    return Console(file=file, soft_wrap=True, highlight=False, width=width)


def say(text: str) -> None:
    """A message for people, on stderr."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def plain(text: str) -> None:
    """Lines of a result, on stdout; what a terminal would obey is escaped."""
    _write(printable(text))


def _write(lines: str) -> None:
    sys.stdout.write(lines if lines.endswith("\n") else lines + "\n")


def hint(text: str) -> None:
    """What one may do next; on a terminal only."""
    if sys.stderr.isatty():
        say(f"next: {text}")


def fields_of(row: msgspec.Struct) -> dict[str, Any]:
    """A struct's fields by name, in order."""
    return {name: getattr(row, name) for name in row.__struct_fields__}


def show(
    answer: Row,
    output: Format,
    columns: Sequence[Column],
    wide: Sequence[Column] = (),
    *,
    key: str,
    headers: bool = True,
) -> None:
    """Print a list answer (``kind``, ``items``); ``key`` is the field that names an item."""
    match output:
        case Format.JSON | Format.YAML:
            document(answer, output)
        case Format.NAME:
            for item in value_of(answer, "items"):
                plain(str(value_of(item, key)))
        case Format.TABLE | Format.WIDE:
            chosen = [*columns, *(wide if output is Format.WIDE else ())]
            table(chosen, value_of(answer, "items"), headers=headers)


def show_one(
    answer: Row,
    output: Format,
    columns: Sequence[Column],
    wide: Sequence[Column] = (),
    *,
    key: str,
) -> None:
    """Print one object: as a document, or as a table of one row."""
    if output in (Format.JSON, Format.YAML):
        document(answer, output)
    else:
        show({"items": [answer]}, output, columns, wide, key=key)


def table(columns: Sequence[Column], items: Sequence[Row], *, headers: bool = True) -> None:
    """Columns under headings. Into a pipe a row is one line, however long: tools read it. On a
    terminal only columns of prose are folded, to ``PROSE`` characters at the least; where that is
    not enough the terminal breaks its lines, and ids and names stay whole."""
    if not items:
        say("nothing to show")
        return
    titles = [title for title, _ in columns]
    rows = [[one_line(text(value(item))) for _, value in columns] for item in items]
    if not _put_simple([titles, *rows] if headers else rows, headers):
        _put_folded(titles, rows, headers)


def _put_simple(lines: Sequence[Sequence[str]], headers: bool) -> bool:
    """Print columns without rich, whose import takes as long as the answer of a lab; False, and
    nothing is printed, where a terminal is too narrow or a character is wider than others."""
    if not all(cell.replace("…", "").isascii() for line in lines for cell in line):
        return False
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    terminal = sys.stdout.isatty()
    if terminal and sum(widths) + GAP * (len(widths) - 1) > shutil.get_terminal_size().columns:
        return False
    bold = headers and _has_colours(terminal)
    for number, line in enumerate(lines):
        cells = (cell.ljust(width + GAP) for cell, width in zip(line, widths, strict=True))
        whole = "".join(cells).rstrip()
        _write(f"\x1b[1m{whole}\x1b[0m" if bold and number == 0 else whole)
    return True


def _has_colours(terminal: bool) -> bool:
    """By the conventions that rich follows."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return terminal or bool(os.environ.get("FORCE_COLOR"))


def _put_folded(titles: Sequence[str], rows: Sequence[Sequence[str]], headers: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    pipe = not sys.stdout.isatty()
    style = "" if os.environ.get("NO_COLOR") else "bold"
    made = Table(box=None, pad_edge=False, show_edge=False, header_style=style, show_header=headers)
    least = 0
    for place, title in enumerate(titles):
        width = max(len(title), *(len(row[place]) for row in rows))
        prose = any(" " in row[place] for row in rows)
        least += (min(width, PROSE) if prose else width) + GAP
        made.add_column(title, overflow="fold", no_wrap=pipe or not prose)
    for row in rows:
        made.add_row(*map(Text, row))  # as Text: brackets in a value are no markup
    _put(made, pipe or least - GAP > console(sys.stdout).width)


def whole(made: Any) -> None:
    """Print a table of rich with no cell shortened, however narrow the terminal is."""
    own = console(sys.stdout)
    _put(
        made, not sys.stdout.isatty(), max(own.width, console(own.file, 4000).measure(made).maximum)
    )


def _put(made: Any, pipe: bool, width: int | None = None) -> None:
    """Without the spaces that fill the last column up."""
    out = console(sys.stdout, 4000 if pipe else width)
    with out.capture() as taken:
        out.print(made)
    for line in taken.get().splitlines():
        _write(line.rstrip())  # with colours of our own; cells have none of theirs


def document(answer: msgspec.Struct, output: Format) -> None:
    """A JSON or YAML document of version ``keystead/v1``."""
    whole = document_of(answer)
    if output is Format.YAML:
        import yaml

        plain(yaml.safe_dump(json.loads(_json(whole)), sort_keys=False, allow_unicode=True))
    else:
        _write(_json(whole))


def is_document(output: Format) -> bool:
    """Whether a document is wanted instead of something for people."""
    return output in (Format.JSON, Format.YAML)


def _json(value: Any) -> str:
    return printable_json(json.dumps(value, indent=2, ensure_ascii=False, default=_bytes))


def _bytes(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def json_line(value: msgspec.Struct, file: IO[str] | None = None) -> None:
    """One line of a stream (events, lines of logs, progress): a document like any other."""
    line = json.dumps(document_of(value), ensure_ascii=False, default=_bytes)
    (file or sys.stdout).write(printable_json(line) + "\n")
    if file is None:
        flush()


def pairs(rows: Sequence[tuple[str, Any]]) -> None:
    """Two columns without headings: a description."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, show_edge=False, show_header=False)
    made.add_column(no_wrap=True)
    pipe = not sys.stdout.isatty()
    made.add_column(overflow="fold", no_wrap=pipe)
    for name, value in rows:
        made.add_row(Text(one_line(f"{name}:")), Text(printable(text(value))))
    _put(made, pipe)


def as_typed(line: str) -> str:
    """A command line as this user types it: ``./keystead`` tells under which name it was called."""
    return os.environ.get("KEYSTEAD_COMMAND", "keystead") + line.removeprefix("keystead")
