"""Any struct of the schema, made from what the schema says of itself."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from protocol.kmip.enums import Code
from protocol.kmip.fields import Chosen, Fields, Form, KmipField, Named, fields_of, forms_of
from protocol.kmip.message import (
    RequestHeader,
    RequestItem,
    RequestMessage,
    ResponseHeader,
    ResponseItem,
    ResponseMessage,
)
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type
from protocol.secret import KeyMaterial

WORDS = st.text("aZ-7\u00e9\u20ac\U0001f511", max_size=17)
NUMBERS = {
    Type.INTEGER: st.integers(-(2**31), 2**31 - 1),
    Type.INTERVAL: st.integers(0, 2**32 - 1),
    Type.LONG_INTEGER: st.integers(-(2**63), 2**63 - 1),
    Type.DATE_TIME: st.integers(-(2**63), 2**63 - 1),
}
EXTENSION = 0x8000_0001


def structs(cls: type[Fields]) -> st.SearchStrategy[Any]:
    """Structs of ``cls`` with any of its fields."""
    return st.deferred(lambda: _chosen(cls))


def _chosen(cls: type[Fields]) -> st.SearchStrategy[Any]:
    fields = fields_of(cls)
    by = next((f for f in fields if isinstance(f.forms[0].rule, Chosen | Named)), None)
    if by is None:
        return st.builds(cls, **{f.name: _field(f) for f in fields})
    rule = by.forms[0].rule
    assert isinstance(rule, Chosen | Named)
    names = [*rule.table] if isinstance(rule, Chosen) else [*rule.table, "x-Mine", "x-\u20ac"]
    others = [f for f in fields if f.name not in (rule.by, by.name)]

    def of(name: Any) -> st.SearchStrategy[Any]:
        value = _rest(rule, name, by.forms[0].tag)
        return st.builds(
            cls, **{rule.by: st.just(name), by.name: value}, **{f.name: _field(f) for f in others}
        )

    return st.sampled_from(names).flatmap(of)


def _rest(rule: Chosen | Named, name: Any, tag: Tag | None) -> st.SearchStrategy[Any]:
    if isinstance(rule, Chosen):
        return structs(rule.table[name])
    if name in rule.table:
        return _form(forms_of(rule.table[name], tag)[0])
    return WORDS | _tree(tag)


def _field(field: KmipField) -> st.SearchStrategy[Any]:
    value = st.one_of([_form(form) for form in field.forms])
    if field.many:
        return st.lists(value, max_size=2).map(tuple)
    return st.none() | value if field.optional else value


def _form(form: Form) -> st.SearchStrategy[Any]:
    match form.type:
        case None:
            return _tree(form.tag)
        case Type.STRUCTURE:
            return structs(form.python)
        case Type.ENUMERATION:
            return st.sampled_from(_members(form.python)) | st.just(EXTENSION)
        case Type.BOOLEAN:
            return st.booleans()
        case Type.TEXT_STRING if form.python is KeyMaterial:
            return WORDS.map(lambda text: KeyMaterial(text.encode()))
        case Type.TEXT_STRING:
            return WORDS
        case Type.BYTE_STRING:
            raw = st.binary(max_size=70)
            return raw.map(KeyMaterial) if form.python is KeyMaterial else raw
        case kind:
            return NUMBERS[kind]


def _members(cls: Any) -> list[Code]:
    return list(cls)


def _tree(tag: Tag | None) -> st.SearchStrategy[TtlvItem]:
    """A structure with one date in it; under the tag of an opaque object when any may stand."""
    number = TtlvItem(0x540001, Type.DATE_TIME, 7)
    return st.just(TtlvItem(int(tag or Tag.OPAQUE_OBJECT), Type.STRUCTURE, (number,)))


def requests() -> st.SearchStrategy[RequestMessage]:
    """Messages of up to three operations."""
    return st.lists(structs(RequestItem), max_size=3).flatmap(
        lambda items: structs(RequestHeader).map(
            lambda header: RequestMessage(
                request_header=_counted(header, items), batch_item=tuple(items)
            )
        )
    )


def responses() -> st.SearchStrategy[ResponseMessage]:
    """Messages of up to three answers."""
    return st.lists(structs(ResponseItem), max_size=3).flatmap(
        lambda items: structs(ResponseHeader).map(
            lambda header: ResponseMessage(
                response_header=_counted(header, items), batch_item=tuple(items)
            )
        )
    )


def _counted(header: Any, items: list[Any]) -> Any:
    return msgspec.structs.replace(header, batch_count=len(items))
