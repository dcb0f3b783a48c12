"""Hypothesis strategies for every message of the registry, made from its struct's types."""

from __future__ import annotations

import types
import typing
from enum import Enum
from functools import cache, partial
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

import protocol.messages.agent
import protocol.messages.attestation
import protocol.messages.host
import protocol.messages.keyprovider
import protocol.messages.kms
import protocol.messages.vcenter  # noqa: F401
from protocol.messages.base import Message, Sealed, registry
from protocol.tpm.structures import PCR_COUNT, PcrSelection

PRODUCT = sorted(
    (cls for cls in registry().values() if cls.__module__.startswith("protocol.")),
    key=lambda cls: cls.__name__,
)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False),
    str: st.text(max_size=20),
    bytes: st.binary(max_size=20),
    bool: st.booleans(),
    type(None): st.none(),
    msgspec.UnsetType: st.just(msgspec.UNSET),
    Any: PLAIN,
    object: PLAIN,
    msgspec.Raw: PLAIN.map(lambda value: msgspec.Raw(msgspec.msgpack.encode(value))),
    Sealed: st.integers(0, 100).map(Sealed.in_box),
    PcrSelection: st.sets(st.integers(0, PCR_COUNT - 1), min_size=1).map(
        lambda pcrs: PcrSelection(tuple(sorted(pcrs)))
    ),
}


@cache
def structs(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Instances of a struct; the fields as their types say, constraints included."""
    return st.deferred(
        lambda: st.fixed_dictionaries(
            {field.name: values(field.type) for field in msgspec.structs.fields(cls)}
        ).map(lambda fields: cls(**fields))
    )


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type hint."""
    kind = getattr(kind, "__supertype__", kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return _constrained(inner[0], inner[1:])
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values, inner))
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return st.lists(values(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, inner))
    if origin in (list, frozenset):
        return st.lists(values(inner[0]), max_size=3).map(origin)
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=3)
    if kind in SCALARS:
        return SCALARS[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return structs(kind)
    if isinstance(kind, typing.TypeVar):
        return PLAIN
    raise TypeError(f"no strategy for {kind}")


def _constrained(kind: Any, metas: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    made = values(kind)
    for meta in metas:
        if isinstance(meta, msgspec.Meta):
            made = made.filter(partial(_is_within, meta))
    return made


def _is_within(meta: msgspec.Meta, value: Any) -> bool:
    try:
        msgspec.convert(value, typing.Annotated[type(value), meta])
    except msgspec.ValidationError:
        return False
    return True


def messages() -> st.SearchStrategy[Message]:
    """Any message of the product."""
    return st.sampled_from(PRODUCT).flatmap(structs)
