"""The JSON schema of every command and answer, and of the files that people write."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from chaos.experiment.plan import Plan
from chaos.experiment.schema import experiment_schema, shape_of
from lab.local.schema_parts import share_repeated_parts
from lab.schema.answers.experiments import EXPERIMENTS
from lab.schema.answers.fuzz import FUZZ
from lab.schema.answers.lab import LoggedEvent, LogLine
from lab.schema.answers.local import LOCAL
from lab.schema.documents import API
from lab.schema.wire import Progress
from lab.serve.table import COMMANDS
from lab.topology.lab_file import LabFile
from services.knobs import table

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
