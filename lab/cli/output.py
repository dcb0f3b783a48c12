"""Printing: results on stdout in the format asked for, messages on stderr."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from lab.cli.options import Format

API = "keystead/v1"
Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], Any]]

_stdout = Console(soft_wrap=True, highlight=False)
_stderr = Console(stderr=True, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """A message for people, on stderr."""
    _stderr.print(text, markup=False)


def plain(text: str) -> None:
    """A line of a result, on stdout, as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def hint(text: str) -> None:
    """What one may do next; on a terminal only."""
    if sys.stderr.isatty():
        say(f"next: {text}")


def field(name: str, title: str = "") -> Column:
    """A column that shows a field as it is."""
    return title or name.replace("_", " ").upper(), lambda row: row.get(name)


def show(
    answer: Row, output: Format, columns: Sequence[Column], wide: Sequence[Column] = (), *, key: str
) -> None:
    """Print a list answer (``kind``, ``items``); ``key`` is the field that names an item."""
    match output:
        case Format.JSON | Format.YAML:
            document(answer, output)
        case Format.NAME:
            for item in answer["items"]:
                plain(str(item[key]))
        case Format.TABLE | Format.WIDE:
            chosen = [*columns, *(wide if output is Format.WIDE else ())]
            table(chosen, answer["items"])


def table(columns: Sequence[Column], items: Sequence[Row]) -> None:
    if not items:
        say("nothing to show")
        return
    made = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for title, _ in columns:
        made.add_column(title, overflow="fold", no_wrap=not sys.stdout.isatty())
    for item in items:
        made.add_row(*[text(value(item)) for _, value in columns])
    # Into a pipe a row is one line, however long: tools read it.
    width = None if sys.stdout.isatty() else 4000
    Console(soft_wrap=True, highlight=False, width=width).print(made)


def text(value: Any) -> str:
    """A cell. Meaning is never by colour alone."""
    match value:
        case None | "":
            return "-"
        case True:
            return "yes"
        case False:
            return "no"
        case float():
            return f"{value:.3f}"
        case list() | tuple():
            return ",".join(text(v) for v in value) or "-"
        case dict():
            return ",".join(f"{k}={text(v)}" for k, v in value.items()) or "-"
        case _:
            return str(value)


def document(answer: Row, output: Format) -> None:
    """A JSON or YAML document of version ``keystead/v1``."""
    whole = {"apiVersion": API, **answer}
    if output is Format.YAML:
        plain(yaml.safe_dump(json.loads(_json(whole)), sort_keys=False, allow_unicode=True))
    else:
        plain(_json(whole))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=_bytes)


def _bytes(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def json_line(value: Row) -> None:
    """One line of a stream (events, progress)."""
    plain(json.dumps({"apiVersion": API, **value}, ensure_ascii=False, default=_bytes))


def pairs(rows: Sequence[tuple[str, Any]]) -> None:
    """Two columns without headings: a description."""
    made = Table(box=None, pad_edge=False, show_edge=False, show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(f"{name}:", text(value))
    _stdout.print(made)
