"""All that is wrong with the content of a Lab file, in words that name what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from chaos.experiment.field_docs import models_in
from lab.topology.model import LabFields
from lab.topology.references import Misfit, did_you_mean
from protocol.printable import quote_if_needed

FAULTS_SHOWN: Final = 100  # of a file; nobody reads more
_QUOTED: Final = re.compile(r"'([^']*)'")
Path = tuple[str | int, ...]


def find_misfits(data: Mapping[str, Any], validate: Callable[[Any], object]) -> list[Misfit]:
    """What ``validate`` refuses of ``data``, each with its place.

    Names that lead nowhere can only be found in a file whose values are right each for itself. So
    what is wrong is left out and the rest is judged again, but for what stands around or inside of
    it: that may be a consequence.
    """
    first = _list_misfits(data, validate)
    if not first:
        return []
    rest = deepcopy(dict(data))
    for found in first:
        _leave_out(rest, found.path)
    later = [
        found
        for found in _list_misfits(rest, validate)
        if not any(_is_around(found.path, known.path) for known in first)
    ]
    return [*first, *later][:FAULTS_SHOWN]


def _list_misfits(data: Mapping[str, Any], validate: Callable[[Any], object]) -> list[Misfit]:
    try:
        validate(data)
    except ValidationError as error:
        return [
            Misfit(detail["loc"], _describe(detail, data))
            for detail in error.errors(include_url=False)[:FAULTS_SHOWN]
        ]
    return []


def _describe(detail: Any, data: Mapping[str, Any]) -> str:
    """The message of pydantic, or one that names what is known."""
    path: Path = detail["loc"]
    match detail["type"]:
        case "extra_forbidden":
            known = _fields_at(path[:-1])
            near = did_you_mean(str(path[-1]), known)
            return f"there is no such field{near or '; there are ' + ', '.join(known)}"
        case "missing":
            return "it is missing"
        case "literal_error" | "enum":
            known = _QUOTED.findall(detail["ctx"]["expected"])
            value = str(detail["input"])
            return f"{quote_if_needed(value[:80])} is none of {', '.join(known)}" + (
                did_you_mean(value, known)
            )
        case _:
            return str(detail["msg"]).removeprefix("Value error, ")


def _fields_at(path: Path) -> list[str]:
    """The fields of the map at ``path`` of a Lab file."""
    models: list[type[BaseModel]] = [LabFields]
    for step in path:
        if isinstance(step, str):
            hints = [m.model_fields[step].annotation for m in models if step in m.model_fields]
            models = [inner for hint in hints for inner in models_in(hint)]
    return [info.alias or name for m in models for name, info in m.model_fields.items()]


def _leave_out(data: Any, path: Path) -> None:
    """Remove the value at ``path``; places of a list stay what they are."""
    for step in path[:-1]:
        try:
            data = data[step]
        except (LookupError, TypeError):
            return
    if path and isinstance(data, dict):
        data.pop(path[-1], None)


def _is_around(path: Path, other: Path) -> bool:
    """Whether one of the two is inside of the other."""
    least = min(len(path), len(other))
    return path[:least] == other[:least]
