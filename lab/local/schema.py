"""The JSON schema of every command and answer, and of the files that people write; what stands in
it several times is written once, under ``$defs``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from chaos.experiment.plan import Plan
from chaos.experiment.schema import experiment_schema, shape_of
from lab.schema.answers.experiments import EXPERIMENTS, FUZZ
from lab.schema.answers.lab import LoggedEvent, LogLine
from lab.schema.answers.local import LOCAL
from lab.schema.tables import API
from lab.schema.wire import Progress
from lab.serve.table import COMMANDS
from lab.topology.lab_file import LabFile
from services.knobs import table

LEAST: Final = 60  # characters of a shape for which a reference is worth while
_ONE: Final = ("items", "additionalProperties")
_SEVERAL: Final = ("anyOf", "allOf", "oneOf")


def share_repeated_parts(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, in which each shape that occurs twice or more is a definition.

    A definition has the name of the field that it stands at first.
    """
    counts: Counter[str] = Counter()

    def count(shape: dict[str, Any], name: str) -> dict[str, Any]:
        key = json.dumps(shape, sort_keys=True)
        counts[key] += 1
        return shape if counts[key] > 1 else _inside(shape, name, count)

    _inside(schema, "", count)
    names: dict[str, str] = {}
    definitions: dict[str, Any] = {}

    def share(shape: dict[str, Any], name: str) -> dict[str, Any]:
        key = json.dumps(shape, sort_keys=True)
        if counts[key] < 2 or len(key) < LEAST:
            return _inside(shape, name, share)
        if key not in names:
            names[key] = _free(name or "part", definitions)
            definitions[names[key]] = {}  # taken, before those inside of it
            definitions[names[key]] = _inside(shape, name, share)
        return {"$ref": f"#/$defs/{names[key]}"}

    made = _inside(schema, "", share)
    return {**made, "$defs": definitions} if definitions else made


Visit = Callable[[dict[str, Any], str], dict[str, Any]]


def _inside(shape: dict[str, Any], name: str, visit: Visit) -> dict[str, Any]:
    """``shape`` with what ``visit`` makes of each shape right inside of it."""
    made = dict(shape)
    if isinstance(properties := shape.get("properties"), dict):
        made["properties"] = {field: visit(inner, field) for field, inner in properties.items()}
    for keyword in _ONE:
        if isinstance(inner := shape.get(keyword), dict):
            made[keyword] = visit(inner, name)
    for keyword in _SEVERAL:
        if isinstance(several := shape.get(keyword), list):
            made[keyword] = [visit(inner, name) for inner in several]
    return made


def _free(name: str, taken: dict[str, Any]) -> str:
    number = next(n for n in range(1, len(taken) + 2) if _number(name, n) not in taken)
    return _number(name, number)


def _number(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


_OTHER: tuple[type[msgspec.Struct], ...] = (LoggedEvent, LogLine, Progress, Plan)
"""Documents of one line each (``events``, ``logs``, long steps), and a plan before its run."""
_STRUCT = "#/$defs/{name}"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema of the api; a JSON value of a command validates against it.

    ``commands`` has, by name, the command's struct in ``$defs``, its answer in ``answers``, and
    whether it changes the lab. ``answers`` are documents, a struct with ``apiVersion`` and
    ``kind``; some are of this machine, given without asking a lab.
    """
    served = sorted(COMMANDS.values(), key=lambda s: s.name)
    answers = sorted(
        {*(s.answer for s in served), *LOCAL, *FUZZ, *EXPERIMENTS, *_OTHER},
        key=lambda kind: kind.__name__,
    )
    structs = [*(s.command for s in served), *answers]
    _, definitions = msgspec.json.schema_components(structs, ref_template=_STRUCT)
    made = {
        "$schema": _DIALECT,
        "title": "Commands and answers of a keystead lab",
        "apiVersion": API,
        "oneOf": [_struct(s.command) for s in served],
        "commands": {
            s.name: {
                "command": _struct(s.command),
                "answer": {"$ref": f"#/answers/{s.answer.__name__}"},
                "changes": s.changes,
            }
            for s in served
        },
        "answers": {kind.__name__: _document(kind) for kind in answers},
        "$defs": dict(sorted(definitions.items())),
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
    return plain


def file_schema(of: Literal["lab", "experiment"]) -> dict[str, Any]:
    """The schema of a Lab file or of an experiment's file, for editors."""
    lab = _lab_file()
    made = lab if of == "lab" else experiment_schema(lab)
    return {"$schema": _DIALECT, **share_repeated_parts(made)}


def _lab_file() -> dict[str, Any]:
    """Each knob with its text, range and default."""
    shape = shape_of(LabFile)
    knobs = {
        row.name: {
            "description": f"{row.text} {row.values}",
            "default": msgspec.to_builtins(row.default),
        }
        for row in table().values()
    }
    every = {"type": "object", "additionalProperties": False, "properties": knobs}
    properties = {**shape["properties"], "knobs": every}
    return {**shape, "title": "A lab of keystead", "properties": properties}


def _struct(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _STRUCT.format(name=kind.__name__)}


def _document(kind: type[msgspec.Struct]) -> dict[str, Any]:
    head = {"apiVersion": {"const": API}, "kind": {"const": kind.__name__}}
    return {"allOf": [_struct(kind)], "properties": head, "required": list(head)}
