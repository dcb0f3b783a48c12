"""What the fields of a file's models mean: the text that stands below each in the source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel


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
