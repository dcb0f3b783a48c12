"""Fields of files that people write: times, shares and rates (``250ms``, ``25%``, ``0.2/s``), a
validator for each kind of name in ``protocol.names``, and the documentation that stands below
each field in the source.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Annotated, Any, Final, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from protocol.names import NameRule

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"  # ``\d`` would take the digits of every script
_TIME: Final = re.compile(rf"{_NUMBER}\s*(ms|s|m|h)")
_RATE: Final = re.compile(rf"{_NUMBER}\s*/\s*(s|m|h)")
_SHARE: Final = re.compile(rf"{_NUMBER}\s*%")
LONGEST: Final = 30 * 24 * 3600.0


def _text_schema(form: re.Pattern[str], examples: str) -> dict[str, Any]:
    """The JSON schema of a text of this form, for editors."""
    text = f"such as {examples}, or a parameter: ${{NAME}}"
    pattern = rf"^(?:{form.pattern}|\$\{{[^}}]+\}})$"
    return {"type": "string", "pattern": pattern, "description": text}


def seconds(value: object) -> float:
    """The lab seconds of ``30s``, ``250ms``, ``5m``, ``1h``; at most 30 days."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise PydanticCustomError(
            "no_unit", "a time needs a unit: write {value}s or {value}m", {"value": value}
        )
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("no_time", "no time: write 250ms, 30s, 5m or 1h")
    result = float(found[1]) * _UNITS[found[2]]
    if result > LONGEST:
        raise PydanticCustomError("no_time", "at most 30 days")
    return round(result, 9)


def format_s(value: float) -> str:
    """Lab seconds as a file has them, such as ``0.25s``: ``seconds`` reads the same again."""
    return f"{round(value, 9):.9f}".rstrip("0").rstrip(".") + "s"


def per_second(value: object) -> float:
    """The events per lab second of ``0.2/s``, ``3/m``; above 0."""
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("no_rate", "no rate: write 0.2/s, 3/m or 10/h")
    rate = float(found[1]) / _UNITS[found[2]]
    if not 0 < rate <= 10_000:
        raise PydanticCustomError("no_rate", "a rate lies above 0 and at most 10000/s")
    return rate


def share(value: object) -> float:
    """The share 0..1 of ``5%`` or ``0.05``."""
    found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is not None:
        number = float(found[1]) / 100
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise PydanticCustomError("no_share", "no share: write 5% or 0.05")
    if not 0 <= number <= 1:
        raise PydanticCustomError("no_share", "a share must be between 0 and 1 (0% and 100%)")
    return number


Seconds = Annotated[
    float, BeforeValidator(seconds), WithJsonSchema(_text_schema(_TIME, "30s, 250ms, 5m, 1h"))
]
Rate = Annotated[
    float, BeforeValidator(per_second), WithJsonSchema(_text_schema(_RATE, "0.2/s, 3/m, 10/h"))
]
Share = Annotated[
    float,
    BeforeValidator(share),
    WithJsonSchema(
        {"anyOf": [_text_schema(_SHARE, "5%"), {"type": "number", "minimum": 0, "maximum": 1}]}
    ),
]


def name_validator(rule: NameRule) -> AfterValidator:
    """A validator for texts: the value is a name of this kind."""

    def fits(value: str) -> str:
        if wrong := rule.fault(value):
            raise PydanticCustomError("name", "{text}", {"text": wrong})
        return value

    return AfterValidator(fits)


class DescribedField(NamedTuple):
    """A field of a file: its ``path`` (``clusters.hosts.tpm``) and what it means."""

    path: str
    text: str


@cache
def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """The text of each field of ``model`` that has one, by the field's name in Python.

    Read from the source only when somebody asks: pydantic's own reading of it would cost each
    command that loads a file.
    """
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            found |= _docs_in_source(kind)
    given = {name: info.description for name, info in model.model_fields.items()}
    return found | {name: text for name, text in given.items() if text}


def _docs_in_source(model: type[BaseModel]) -> dict[str, str]:
    lines = list(ast.iter_child_nodes(ast.parse(dedent(inspect.getsource(model))).body[0]))
    found: dict[str, str] = {}
    for field, doc in pairwise(lines):
        match field, doc:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = _one_line(text)
    return found


def describe_fields(model: type[BaseModel], above: str = "") -> Iterator[DescribedField]:
    """Every field of ``model`` and of the models in it. A field without a text of its own has that
    of the model that it holds, or of the one that it is a field of."""
    docs = field_docs(model)
    for name, info in model.model_fields.items():
        path = above + (info.alias or name)
        inner = list(dict.fromkeys(models_in(info.annotation)))
        text = docs.get(name) or next(
            (_one_line(m.__doc__) for m in (*inner, model) if m.__doc__), ""
        )
        yield DescribedField(path, text)
        for one in inner:
            yield from describe_fields(one, f"{path}.")


def models_in(hint: Any) -> Iterator[type[BaseModel]]:
    """The models that a field of this type can hold."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for inner in get_args(hint):
        yield from models_in(inner)


def _one_line(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].replace("``", "`").split())
