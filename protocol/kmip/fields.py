"""What a structure of KMIP is made of: a class of ``Fields`` is the schema of its bytes.

A field's name is its tag (``batch_count`` is Batch Count), the order of fields is that of the
wire, and its annotation says the rest:

==============================  ==============================================================
``Integer``, ``LongInteger``,   a number of that type; ``DateTime`` is Unix seconds
``Interval``, ``DateTime``
``str``, ``bytes``, ``bool``    Text String, Byte String, Boolean
``KeyMaterial``, ``Password``   Byte String and Text String that nobody is shown
a ``Code | int``                Enumeration; a vendor's own value is a plain ``int``
another ``Fields``              Structure
``TtlvItem``                    any type, as a tree; in a union, whatever is not another member
``A | B``                       one or the other: by type, and in a ``ManagedObject`` by tag
``... | None = None``           may be absent
``tuple[..., ...] = ()``        any number, zero too
==============================  ==============================================================

``Chosen(by, table)`` in an annotation: an earlier field says which class the structure is, and
what is not read that way is an ``Unread``. ``Named(...)``: an earlier text says it.
``compiler`` turns a class into functions; nothing else is to be written for a new field.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from protocol.kmip.enums import Code, ResultReason
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type
from protocol.secret import KeyMaterial


class Fields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A structure of KMIP; see this module."""


class Unread(msgspec.Struct, frozen=True, gc=False):
    """A structure that is well formed and not what its class says, or has no class here.

    ``reason`` and ``text`` are what a server answers about it; ``node`` encodes to its bytes.
    """

    node: TtlvItem
    reason: ResultReason
    text: str


@dataclass(frozen=True, eq=False)  # in an annotation, which hashes it
class Chosen:
    """The field ``by`` decides: ``table`` has the class for its value.

    ``otherwise``: the reason for a value that the table does not have.
    """

    by: str
    table: Mapping[int, type[Fields]]
    otherwise: ResultReason


@dataclass(frozen=True, eq=False)  # in an annotation, which hashes it
class Named:
    """The text of the field ``by`` decides: ``table`` has the annotation; others are trees."""

    by: str
    table: Mapping[str, Any]


Integer = Annotated[int, Type.INTEGER]
LongInteger = Annotated[int, Type.LONG_INTEGER]
Interval = Annotated[int, Type.INTERVAL]
DateTime = Annotated[int, Type.DATE_TIME]
Password = Annotated[KeyMaterial, Type.TEXT_STRING]

_PLAIN: Final[dict[Any, Type]] = {
    str: Type.TEXT_STRING,
    bytes: Type.BYTE_STRING,
    bool: Type.BOOLEAN,
    KeyMaterial: Type.BYTE_STRING,
}


@dataclass(frozen=True)
class Form:
    """One way in which a field may lie on the wire.

    ``python`` is the class of its value; ``tag`` None is any tag, ``type`` None any type, which
    only a tree has. ``rule`` is there for a structure whose class, or value whose type, another
    field decides.
    """

    python: type
    tag: Tag | None
    type: Type | None
    rule: Chosen | Named | None = None


@dataclass(frozen=True)
class KmipField:
    """A field of a class: ``name`` as in Python, its ``forms``, how often it may be there."""

    name: str
    forms: tuple[Form, ...]
    optional: bool
    many: bool

    @property
    def label(self) -> str:
        """How people are told of it: by the first tag that it may have."""
        return next(form.tag.label for form in self.forms if form.tag is not None)


class ManagedObject:
    """Marks a field whose tag is that of its class, as an object's in Register and Get."""


def fields_of(cls: type[Fields]) -> tuple[KmipField, ...]:
    """The fields of ``cls`` in the order of the wire; ``TypeError`` for what has no place there."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(_field(name, hints[name]) for name in cls.__struct_fields__)


def forms_of(hint: Any, tag: Tag | None) -> tuple[Form, ...]:
    """The ways in which a value with this annotation may lie on the wire."""
    rule = None
    given: Type | None = None
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        rule = next((n for n in notes if isinstance(n, Chosen | Named)), None)
        given = next((n for n in notes if isinstance(n, Type)), None)
        if ManagedObject in notes:
            return tuple(form for one in get_args(hint) for form in forms_of(one, _own_tag(one)))
    if rule is not None:
        kind = Type.STRUCTURE if isinstance(rule, Chosen) else None
        return (Form(object, tag, kind, rule),)
    if get_origin(hint) in (Union, types.UnionType):
        members = [one for one in get_args(hint) if one is not int]  # a Code's other values
        return tuple(form for one in members for form in forms_of(one, tag))
    if given is not None or hint in _PLAIN:
        return (Form(hint, tag, given or _PLAIN[hint]),)
    if hint is TtlvItem:
        return (Form(TtlvItem, tag, None),)
    if isinstance(hint, type) and issubclass(hint, Code):
        return (Form(hint, tag, Type.ENUMERATION),)
    if isinstance(hint, type) and issubclass(hint, Fields):
        return (Form(hint, tag, Type.STRUCTURE),)
    raise TypeError(f"{hint} is no annotation of a field of KMIP")


def _own_tag(cls: Any) -> Tag | None:
    return None if cls is TtlvItem else next(tag for tag in Tag if tag.label == cls.__name__)


def _field(name: str, hint: Any) -> KmipField:
    optional = many = False
    tag = Tag.__members__.get(name.upper())
    if get_origin(hint) is tuple:
        hint, many = get_args(hint)[0], True
    elif get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
        optional = True
        left = [one for one in get_args(hint) if one is not type(None)]
        hint = left[0] if len(left) == 1 else Union[tuple(left)]  # noqa: UP007 - made of a list
    return KmipField(name, forms_of(hint, tag), optional, many)
