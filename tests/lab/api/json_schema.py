"""JSON Schema 2020-12, as far as the published schemas use it: any other keyword is a fault.

``faults_of`` judges a schema itself, ``misfits`` a value by it. Both list what is wrong, each with
its place, and nothing for what is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
SUBSCHEMA = ("items", "additionalProperties")
SUBSCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
NAMED = ("properties", "$defs")
SAID = ("title", "description", "$schema", "default", "discriminator", "contentEncoding")
"""They judge nothing here: what people read, and what other programs do with a value."""


def misfits(value: Any, schema: Schema, root: Schema | None = None, at: str = "") -> list[str]:
    """Where ``value`` is not as ``schema`` says."""
    return list(_misfits(value, schema, schema if root is None else root, at))


def _misfits(value: Any, schema: Any, root: Schema, at: str) -> Iterator[str]:
    if schema is True or schema is False:
        yield from () if schema else (f"{at}: nothing may be here",)
        return
    for keyword, said in schema.items():
        if keyword in JUDGED:
            yield from JUDGED[keyword](value, said, schema, root, at)


def _type(value: Any, said: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if not any(is_a(value, kind) for kind in _kinds(said)):
        yield f"{at}: {value!r} is no {said}"


def _kinds(said: Any) -> list[str]:
    return said if isinstance(said, list) else [said]


def is_a(value: Any, kind: str) -> bool:
    """A truth value is no number, and a number without a fraction is an integer."""
    if isinstance(value, bool) and kind in ("integer", "number"):
        return False
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[kind])


def _const(value: Any, said: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if value != said or isinstance(value, bool) != isinstance(said, bool):
        yield f"{at}: {value!r} is not {said!r}"


def _enum(value: Any, said: list[Any], schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if value not in said:
        yield f"{at}: {value!r} is none of {said}"


def _reference(value: Any, said: str, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    yield from _misfits(value, resolved(said, root), root, at)


def resolved(reference: str, root: Schema) -> Any:
    """What a reference within ``root`` leads to; ``KeyError`` for one that leads nowhere."""
    place: Any = root
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


def _any(value: Any, said: list[Any], schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if not any(_fits(value, option, root) for option in said):
        yield f"{at}: {value!r} fits none of the {len(said)} forms"


def _one(value: Any, said: list[Any], schema: Schema, root: Schema, at: str) -> Iterator[str]:
    fitting = sum(_fits(value, option, root) for option in said)
    if fitting != 1:
        yield f"{at}: {value!r} fits {fitting} of the {len(said)} forms, not one"


def _fits(value: Any, schema: Any, root: Schema) -> bool:
    return next(_misfits(value, schema, root, ""), None) is None


def _all(value: Any, said: list[Any], schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for option in said:
        yield from _misfits(value, option, root, at)


def _pattern(value: Any, said: str, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, str) and not re.search(said, value):
        yield f"{at}: {value!r} does not match {said}"


def _bound(holds: Callable[[Any, Any], bool], of: Callable[[Any], Any], kind: str) -> Any:
    def judge(value: Any, said: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
        if is_a(value, kind) and not holds(of(value), said):
            yield f"{at}: {value!r}: {said} is its bound"

    return judge


def _required(value: Any, said: list[str], schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for name in said if isinstance(value, dict) else ():
        if name not in value:
            yield f"{at}: {name} is missing"


def _properties(value: Any, said: Schema, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for name, own in said.items() if isinstance(value, dict) else ():
        if name in value:
            yield from _misfits(value[name], own, root, f"{at}.{name}")


def _others(value: Any, said: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for name in {*value} - {*schema.get("properties", ())} if isinstance(value, dict) else ():
        yield from _misfits(value[name], said, root, f"{at}.{name}")


def _items(value: Any, said: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, list):
        for place in range(len(schema.get("prefixItems", ())), len(value)):
            yield from _misfits(value[place], said, root, f"{at}[{place}]")


def _prefix(value: Any, said: list[Any], schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, list):
        for place, (item, own) in enumerate(zip(value, said, strict=False)):
            yield from _misfits(item, own, root, f"{at}[{place}]")


JUDGED: dict[str, Callable[[Any, Any, Schema, Schema, str], Iterator[str]]] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "$ref": _reference,
    "anyOf": _any,
    "oneOf": _one,
    "allOf": _all,
    "pattern": _pattern,
    "minimum": _bound(lambda a, b: a >= b, lambda v: v, "number"),
    "maximum": _bound(lambda a, b: a <= b, lambda v: v, "number"),
    "exclusiveMinimum": _bound(lambda a, b: a > b, lambda v: v, "number"),
    "exclusiveMaximum": _bound(lambda a, b: a < b, lambda v: v, "number"),
    "minLength": _bound(lambda a, b: a >= b, len, "string"),
    "maxLength": _bound(lambda a, b: a <= b, len, "string"),
    "minItems": _bound(lambda a, b: a >= b, len, "array"),
    "maxItems": _bound(lambda a, b: a <= b, len, "array"),
    "required": _required,
    "properties": _properties,
    "additionalProperties": _others,
    "items": _items,
    "prefixItems": _prefix,
}
_SHAPES: dict[str, Callable[[Any], bool]] = {
    "type": lambda said: bool(said) and all(kind in TYPES for kind in _kinds(said)),
    "enum": lambda said: isinstance(said, list) and bool(said),
    "$ref": lambda said: isinstance(said, str) and said.startswith("#/"),
    "required": lambda said: isinstance(said, list) and len(set(said)) == len(said),
    "discriminator": lambda said: {*said} == {"propertyName", "mapping"},
    **dict.fromkeys(SUBSCHEMAS, lambda said: isinstance(said, list) and bool(said)),
    **dict.fromkeys(NAMED, lambda said: isinstance(said, dict)),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        lambda said: is_a(said, "number"),
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems"),
        lambda said: is_a(said, "integer") and said >= 0,
    ),
    **dict.fromkeys(("title", "description", "$schema"), lambda said: bool(said)),
}
"""What the value of a keyword has to be."""


def faults_of(
    schema: Any, root: Schema | None = None, at: str = "#", more: Sequence[str] = ()
) -> list[str]:
    """What is wrong with a schema itself; ``more`` are keywords of its own at its top."""
    return list(_faults(schema, schema if root is None else root, at, more))


def _faults(schema: Any, root: Schema, at: str, more: Sequence[str]) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    for keyword, said in schema.items():
        here = f"{at}/{keyword}"
        if keyword not in JUDGED and keyword not in SAID and keyword not in (*NAMED, *more):
            yield f"{here}: an unknown keyword"
            continue
        if keyword in _SHAPES and not _SHAPES[keyword](said):
            yield f"{here}: {said!r} is no value for it"
            continue
        yield from _faults_in(keyword, said, root, here)
    if "default" in schema:
        yield from (f"{at}/default: {text}" for text in misfits(schema["default"], schema, root))
    if "properties" in schema:
        absent = {*schema.get("required", ())} - {*schema["properties"]}
        yield from (f"{at}/required: {name} is no property" for name in sorted(absent))


def _faults_in(keyword: str, said: Any, root: Schema, at: str) -> Iterator[str]:
    if keyword == "$ref":
        try:
            resolved(said, root)
        except (KeyError, TypeError):
            yield f"{at}: {said} leads nowhere"
    if keyword == "discriminator":
        for target in said["mapping"].values():
            yield from _faults_in("$ref", target, root, at)
    if keyword == "pattern":
        try:
            re.compile(said)
        except re.error as error:
            yield f"{at}: {error}"
    if keyword in SUBSCHEMA:
        yield from _faults(said, root, at, ())
    if keyword in SUBSCHEMAS:
        for place, own in enumerate(said):
            yield from _faults(own, root, f"{at}/{place}", ())
    if keyword in NAMED:
        for name, own in said.items():
            yield from _faults(own, root, f"{at}/{name}", ())
