"""The JSON schema of an experiment's file, for editors: made of the models that read it.

An editor completes and underlines by it. What a schema cannot say (names of a lab, budgets, the
order of times) is the linter's.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from chaos.checks import CHECKS
from chaos.experiment.model import (
    Checks,
    FinalPhase,
    Guards,
    Heading,
    Load,
    Probed,
    Recover,
    Requires,
    ScheduleEntry,
    TopologyUse,
)
from chaos.faults import FAULTS
from chaos.faults.base import Fault
from chaos.hypotheses.probes import PROBES
from chaos.workload import OPERATIONS

PHASES: Final = ("before", "during", "after")


def experiment_schema(lab: dict[str, Any]) -> dict[str, Any]:
    """The schema; ``lab`` is that of a Lab file, which a topology may be."""
    heading = shape_of(Heading)
    probes = {"type": "array", "items": _naming(Probed, "probe", list(PROBES))}
    checks = {"type": "array", "items": {"enum": list(CHECKS)}}
    sections = {
        "topology": {"anyOf": [shape_of(TopologyUse), lab]},
        "requires": shape_of(Requires),
        "workload": {"type": "array", "items": _naming(Load, "op", list(OPERATIONS))},
        "hypothesis": {
            "type": "object",
            "properties": {**dict.fromkeys(PHASES, probes), "recover": shape_of(Recover)},
            "additionalProperties": False,
        },
        "guards": shape_of(Guards),
        "final": shape_of(FinalPhase),
        "schedule": {"type": "array", "items": {"anyOf": [_entry(kind) for kind in FAULTS]}},
        "checks": {**shape_of(Checks), "properties": {"add": checks}},
    }
    return {
        **heading,
        "title": "An experiment of keystead",
        "properties": {**heading["properties"], **sections},
        "required": [*heading["required"], "topology", "schedule"],
    }


def shape_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema without references, so that it can stand anywhere."""
    made = model.model_json_schema(by_alias=True)
    shape: dict[str, Any] = _inlined(made, made.pop("$defs", {}))
    return shape


def _inlined(value: Any, definitions: dict[str, Any]) -> Any:
    """``value`` with what each ``$ref`` leads to in its place."""
    if isinstance(value, dict):
        if "$ref" in value:
            return _inlined(definitions[value["$ref"].rsplit("/", 1)[-1]], definitions)
        return {key: _inlined(item, definitions) for key, item in value.items()}
    return [_inlined(item, definitions) for item in value] if isinstance(value, list) else value


def _naming(model: type[BaseModel], field: str, names: list[str]) -> dict[str, Any]:
    """A section whose ``field`` is one of these names."""
    shape = shape_of(model)
    return {**shape, "properties": {**shape["properties"], field: {"enum": names}}}


def _entry(kind: type[Fault]) -> dict[str, Any]:
    """An entry of a schedule with this fault: the fields of every entry, and its own."""
    every, own = shape_of(ScheduleEntry), shape_of(kind.params)
    return {
        "type": "object",
        "properties": {
            **every["properties"],
            **own.get("properties", {}),
            "fault": {"const": kind.kind},
        },
        "required": ["fault", *own.get("required", [])],
        "additionalProperties": False,
    }
