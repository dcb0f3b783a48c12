"""The JSON schema of an experiment's file, for editors: made of the models that read it.

An editor completes and underlines by it. What a schema cannot say (names of a lab, budgets, the
order of times) is the linter's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from chaos.actions import ACTIONS
from chaos.actions.base import Action
from chaos.checks import CHECKS
from chaos.experiment.model import (
    OF_ACTIONS,
    OF_FAULTS,
    Checks,
    FinalPhase,
    Guards,
    Heading,
    Load,
    NegativeControl,
    Offered,
    Probed,
    RandomEntry,
    Recover,
    Requires,
    ScheduleEntry,
    TopologyUse,
)
from chaos.faults import FAULTS
from chaos.faults.base import Fault
from chaos.fields import field_docs, format_s, models_in
from chaos.hypotheses.probes import PROBES
from chaos.workload import OPERATIONS

_SCALARS: Final = ("string", "number", "boolean")
_NUMBERS: Final = ("integer", "number")
_PARAMETER: Final = {"type": "string", "pattern": r"^\$\{[^{}]*\}$"}
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
        "load": shape_of(Offered),
        "hypothesis": {
            "type": "object",
            "properties": {**dict.fromkeys(PHASES, probes), "recover": shape_of(Recover)},
            "additionalProperties": False,
        },
        "guards": shape_of(Guards),
        "final": shape_of(FinalPhase),
        "negative_control": shape_of(NegativeControl),
        "schedule": {"type": "array", "items": {"anyOf": _entries()}},
        "with": {"type": "object", "additionalProperties": {"type": list(_SCALARS)}},
        "checks": {**shape_of(Checks), "properties": {"add": checks}},
    }
    return {
        **heading,
        "title": "An experiment of keystead",
        "properties": {**heading["properties"], **_with_parameters(sections)},
        "required": [*heading["required"], "topology", "schedule"],
    }


def _with_parameters(shape: Any) -> Any:
    """The shape of what has parameters in it: any number may be one."""
    if isinstance(shape, list):
        return [_with_parameters(item) for item in shape]
    if not isinstance(shape, dict):
        return shape
    made = {key: _with_parameters(item) for key, item in shape.items()}
    return {"anyOf": [made, _PARAMETER]} if shape.get("type") in _NUMBERS else made


def shape_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema without references, so that it can stand anywhere."""
    made = model.model_json_schema(by_alias=True)
    _describe(made, model)
    for kind in _models_below(model):
        _describe(made.get("$defs", {}).get(kind.__name__, {}), kind)
    shape: dict[str, Any] = _inline(made, made.pop("$defs", {}))
    return shape


def _models_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for info in model.model_fields.values():
        for inner in models_in(info.annotation):
            yield inner
            yield from _models_below(inner)


def _describe(shape: dict[str, Any], model: type[BaseModel]) -> None:
    """Each field with its text: an editor shows it."""
    docs = field_docs(model)
    for name, info in model.model_fields.items():
        field = shape.get("properties", {}).get(info.alias or name)
        if field is not None and name in docs and "description" not in field:
            field["description"] = docs[name]


def _inline(value: Any, definitions: dict[str, Any]) -> Any:
    """``value`` with what each ``$ref`` leads to in its place, and defaults as a file has them."""
    if isinstance(value, dict):
        if "$ref" in value:
            return _inline(definitions[value["$ref"].rsplit("/", 1)[-1]], definitions)
        made = {key: _inline(item, definitions) for key, item in value.items()}
        if made.get("type") == "string" and "default" in made:
            made["default"] = _format_default(made["default"])
        return made
    return [_inline(item, definitions) for item in value] if isinstance(value, list) else value


def _format_default(default: Any) -> Any:
    """The default of a text: a model has a time in seconds, a file with its unit."""
    match default:
        case float():
            return format_s(default)
        case {"mean": float(mean), "drawn": drawn}:
            return f"exp({format_s(mean)})" if drawn else format_s(mean)
        case _:
            return default


def _naming(model: type[BaseModel], field: str, names: list[str]) -> dict[str, Any]:
    """A section whose ``field`` is one of these names."""
    shape = shape_of(model)
    return {**shape, "properties": {**shape["properties"], field: {"enum": names}}}


def _entries() -> list[dict[str, Any]]:
    """One shape for each fault and action, and that of faults that are drawn."""
    swarm = shape_of(RandomEntry)
    faults = [_entry("fault", kind, OF_ACTIONS | {"do"}) for kind in FAULTS]
    actions = [_entry("do", action, OF_FAULTS | {"fault"}) for action in ACTIONS.values()]
    return [*faults, *actions, swarm]


def _entry(field: str, what: type[Fault] | Action, others: frozenset[str]) -> dict[str, Any]:
    """An entry of a schedule with this fault or action: the fields of every entry without those
    of ``others``, and its own; ``rolling`` stands for ``on``."""
    every, own = shape_of(ScheduleEntry), shape_of(what.params)
    names = {name.rstrip("_") for name in others}
    shared = {name: shape for name, shape in every["properties"].items() if name not in names}
    required = [field, *(name for name in own.get("required", []) if name != "on")]
    properties = {**shared, **own.get("properties", {}), field: {"const": what.kind}}
    made: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    if not isinstance(what, Action) and what.at_point:
        del properties["on"]
        made["required"] = [*required, "point"]
    elif "on" in own.get("required", []):
        made["anyOf"] = [{"required": ["on"]}, {"required": ["rolling"]}]
    return made
