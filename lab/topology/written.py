"""A Lab file as text, with a comment on each field: what `keystead lab new` writes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel

from chaos.experiment.field_docs import field_docs, models_in
from lab.topology.model import LabFields

SCHEMA_FILE: Final = "lab.schema.json"
_WIDTH: Final = 100  # characters of a comment
_HEAD: Final = """\
# yaml-language-server: $schema={schema}
# {about}
#
# keystead lab lint {file}    lists its errors
# keystead up {file}          starts it; options change it: keystead up --help
# keystead explain sites      explains a field; the last line of a section lists further fields
"""


def format_lab_file(data: Mapping[str, Any], file: str, about: str) -> str:
    """The Lab file of ``data``, for a ``file`` of that name; ``about``: what lab it is."""
    lines = [_HEAD.format(schema=SCHEMA_FILE, file=file, about=about).rstrip()]
    docs = field_docs(LabFields)
    for name, value in data.items():
        lines.append("")
        lines += _comment(docs.get(name, ""), "")
        lines += _field(LabFields, name, value, "", commented=True)
    lines += ["", *_others(LabFields, data, "")]
    return "\n".join(lines) + "\n"


def _field(
    model: type[BaseModel], name: str, value: Any, indent: str, *, commented: bool
) -> Iterator[str]:
    inner = next(models_in(model.model_fields[name].annotation), None)
    if inner is None or not value or not isinstance(value, dict | list):
        yield f"{indent}{name}: {_flow(value)}"
        return
    yield f"{indent}{name}:"
    if isinstance(value, dict):
        yield from _map(inner, value, indent + "  ", commented=commented)
        return
    for place, item in enumerate(value):
        first, *more = _map(inner, item, indent + "    ", commented=commented and place == 0)
        yield f"{indent}  - {first.lstrip()}"
        yield from more


def _map(
    model: type[BaseModel], value: Mapping[str, Any], indent: str, *, commented: bool
) -> Iterator[str]:
    """The lines of a map; the first one is a field, so that a list can begin with it."""
    docs = field_docs(model)
    for place, (name, item) in enumerate(value.items()):
        if commented and place and name in docs:
            yield from _comment(docs[name], indent)
        yield from _field(model, name, item, indent, commented=commented)
    if commented:
        yield from _others(model, value, indent)


def _others(model: type[BaseModel], value: Mapping[str, Any], indent: str) -> list[str]:
    """Which fields could stand here too."""
    others = [name for name in model.model_fields if name not in value]
    return _comment(f"Also: {', '.join(others)}.", indent) if others else []


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_on_hyphens=False,
    )


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, width=1 << 20, sort_keys=False)
    return text.strip()[1:-1]
