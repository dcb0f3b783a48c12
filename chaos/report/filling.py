"""Templates filled: every text is escaped by the engine, and a page asks no network.

A policy in the page's head lets the browser run the one script whose digest stands there, and load
nothing.
"""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from chaos.report.shapes import Picture, moment, span
from chaos.report.timeline import SIGNS
from protocol.printable import one_line, printable

MOST_DATA: Final = 700
"""Letters of a record's data that a page shows: faults and looks of a large lab name all hosts."""
RESULTS: Final = {"pass": "✔", "fail": "✗", "unknown": "?", "error": "!", "interrupted": "⏹"}
"""Verdicts and results with their signs; any other word has the sign of an error."""
_FOLDER: Final = Path(__file__).parent / "templates"


def fill_template(template: str, values: dict[str, Any], *, title: str) -> str:
    """A page: the template with these values, the style sheet and the script."""
    script = _text("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _engine()
        .get_template(template)
        .render(
            values,
            page_title=title,
            style=_style("colours.css", "style.css", "blocks.css"),
            script=Markup(script),  # noqa: S704 - a file of ours
            script_digest=digest,
        )
    )


def fill_part(template: str, macro: str, *values: Any) -> str:
    """A part of a page: a macro of a template with these values."""
    return str(getattr(_engine().get_template(template).module, macro)(*values))


def fill(template: str, values: dict[str, Any]) -> str:
    """A page whose styles and scripts are files of their own (``read_asset``)."""
    return _engine().get_template(template).render(values)


def read_asset(*names: str) -> str:
    """Style sheets or scripts, one after another."""
    return "\n".join(map(_text, names))


def drawing(picture: Picture) -> str:
    """The picture as an SVG file of its own; it follows the light or dark theme."""
    style = _style("colours.css", "blocks.css")
    return _engine().get_template("drawing.svg").render(picture=picture, style=style)


def data_line(data: dict[str, Any]) -> str:
    """What a record has, in one line; of a long one the beginning, and how long it is."""
    said = one_line(", ".join(f"{name}: {_value(value)}" for name, value in data.items()))
    more = len(said) - MOST_DATA
    return said if more <= 0 else f"{said[:MOST_DATA]} … and {more} letters more"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _style(*names: str) -> Markup:
    return Markup(read_asset(*names))  # noqa: S704 - files of ours


def _text(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8").strip()


@cache
def _engine() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "plain": printable,
        "data": data_line,
        "share": lambda part: "" if part is None else f"{math.floor(part * 1000) / 10:g} %",
        "moment": moment,
        "span": lambda seconds: "" if seconds is None else span(seconds),
        "sign": lambda word: RESULTS.get(str(word), "!"),
        "state_sign": lambda state: SIGNS[state],
        "px": lambda value: f"{value:.2f}".rstrip("0").rstrip("."),
    }
    return made
