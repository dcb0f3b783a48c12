"""What ``esxcli`` prints, in its own form or in that of ``--formatter``. Pure.

A command returns records with the product's field names. The form decides the rest:

| form | one record | several |
|---|---|---|
| (none) | ``   Name: value`` | a table, or a record under each title |
| csv | a line of names, a line of values, in order of the names | a line each |
| keyvalue | ``VersionInfo.Build.string=...`` | ``VirtualMachine[0].Name.string=...`` |
| json | an object | a list of objects |
| xml | a structure | a list of structures |
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never
from xml.sax.saxutils import escape, quoteattr

Value = bool | int | str
_XMLNS: Final = "http://www.vmware.com/Products/ESX/5.0/esxcli/"
_INDENT: Final = "   "


class Formatter(StrEnum):
    """Values of ``--formatter``."""

    CSV = "csv"
    JSON = "json"
    KEYVALUE = "keyvalue"
    XML = "xml"


@dataclass(frozen=True)
class OutputRecord:
    """Fields by name, as the console shows them. The console's own form shows ``title`` above
    them."""

    fields: tuple[tuple[str, Value], ...]
    title: str = ""


@dataclass(frozen=True)
class Output:
    """The result of a command. ``kind`` is the product's name of the structure. ``listed``: there
    may be several records. ``table``: the console's own form shows them as rows under one
    header."""

    kind: str
    records: tuple[OutputRecord, ...]
    listed: bool = False
    table: bool = False


def one(kind: str, *fields: tuple[str, Value]) -> Output:
    """Exactly one record."""
    return Output(kind, (OutputRecord(fields),))


def render(output: Output, formatter: Formatter | None) -> str:
    """The text on the console."""
    match formatter:
        case None:
            return _render_text(output)
        case Formatter.CSV:
            return _render_csv(output.records)
        case Formatter.JSON:
            found = [{_without_blanks(n): v for n, v in sorted(r.fields)} for r in output.records]
            return json.dumps(found if output.listed else found[0], indent=2)
        case Formatter.KEYVALUE:
            return "\n".join(_render_keyvalue(output))
        case Formatter.XML:
            return _render_xml(output)
        case _:
            assert_never(formatter)


def _render_text(output: Output) -> str:
    if output.table:
        return _render_table(output.records)
    return "\n\n".join(
        "\n".join(
            [
                *([r.title] if r.title else []),
                *(f"{_INDENT}{n}: {_format_value(v)}" for n, v in r.fields),
            ]
        )
        for r in output.records
    )


def _render_table(records: Sequence[OutputRecord]) -> str:
    if not records:
        return ""
    head = [name for name, _ in records[0].fields]
    rows = [[_format_value(value) for _, value in record.fields] for record in records]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head) - 1)]
    widths.append(len(head[-1]))  # the last column is not padded
    dashes = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, dashes, *rows]
    )


def _render_csv(records: Sequence[OutputRecord]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, record in enumerate(records):
        fields = sorted(record.fields)
        if number == 0:
            writer.writerow([*(_without_blanks(name) for name, _ in fields), ""])
        writer.writerow([*(_format_value(value) for _, value in fields), ""])
    return text.getvalue().rstrip("\n")


def _render_keyvalue(output: Output) -> list[str]:
    return [
        f"{output.kind}{f'[{number}]' if output.listed else ''}."
        f"{_without_blanks(name)}.{_type_name(value)}={_format_value(value)}"
        for number, record in enumerate(output.records)
        for name, value in sorted(record.fields)
    ]


def _render_xml(output: Output) -> str:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f'<output xmlns="{_XMLNS}">', "<root>"]
    if output.listed:
        lines.append('<list type="structure">')
    for record in output.records:
        lines.append(f"<structure typeName={quoteattr(output.kind)}>")
        for name, value in sorted(record.fields):
            element = f"<{_type_name(value)}>{escape(_format_value(value))}</{_type_name(value)}>"
            lines.append(f"<field name={quoteattr(_without_blanks(name))}>{element}</field>")
        lines.append("</structure>")
    if output.listed:
        lines.append("</list>")
    return "\n".join([*lines, "</root>", "</output>"])


def _without_blanks(name: str) -> str:
    """A field's name without blanks."""
    return name.replace(" ", "")


def _type_name(value: Value) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case str():
            return "string"
        case _:
            assert_never(value)


def _format_value(value: Value) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
