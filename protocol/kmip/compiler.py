"""Functions between bytes and ``Fields``, written as Python for each class and compiled once.

A decoder walks the bytes in the order of the schema and makes the structs, nothing in between; an
encoder is the way back. A class is compiled when it is first needed; ``source_of`` shows how.

In a decoder ``t`` and ``n`` are tag with type, and length, of the item at ``pos``; ``t`` is 0 at
``end``. A length that leads beyond ``end`` is found at the latest by the last check of its
structure, which is that ``pos`` is ``end``: slices beyond it are short, never wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from protocol.kmip import parts
from protocol.kmip.fields import Chosen, Fields, Form, KmipField, Named, Unread, fields_of, forms_of
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type, encode, parse_item
from protocol.secret import KeyMaterial

Decode = Callable[[bytes, int, int, int], Any]
"""(data, pos, end, depth): the struct whose items lie from ``pos`` to ``end``; the message is 1
deep. Raises what ``parts.FAILURES`` has."""
Encode = Callable[[Any], bytes]
"""The items of a struct, without the head of the structure."""

_decoders: Final[dict[type, Decode]] = {}
_encoders: Final[dict[type, Encode]] = {}


def decoder_of(cls: type[Fields]) -> Decode:
    """The decoder of a class, made when it is first asked for."""
    if cls not in _decoders:
        _decoders[cls] = _compile_function(_Decoder(cls.__name__), fields_of(cls), cls)
    return _decoders[cls]


def encoder_of(cls: type[Fields]) -> Encode:
    """The encoder of a class, made when it is first asked for."""
    if cls not in _encoders:
        _encoders[cls] = _compile_function(_Encoder(cls.__name__), fields_of(cls), cls)
    return _encoders[cls]


def source_of(cls: type[Fields]) -> str:
    """The Python of a class's decoder and encoder, for people."""
    writers: tuple[_Writer, ...] = (_Decoder(cls.__name__), _Encoder(cls.__name__))
    return "\n".join("\n".join(w.function(fields_of(cls), cls)) for w in writers)


def _compile_function(writer: _Writer, fields: tuple[KmipField, ...], cls: type | None) -> Any:
    source = "\n".join(writer.function(fields, cls))
    exec(compile(source, f"<KMIP {writer.where}>", "exec"), writer.names)  # noqa: S102 - our text
    return writer.names["function"]


def _key(form: Form) -> int:
    """Tag and type as one number, as ``parts.head`` reads them."""
    assert form.tag is not None and form.type is not None  # noqa: S101 - of a form with both
    return form.tag << 8 | form.type


def _variable(name: str) -> str:
    """A field's variable in a decoder, which has others of its own."""
    return f"f_{name}"


def _one(hint: Any, tag: Tag | None) -> tuple[KmipField, ...]:
    """A value alone, with the annotation of an attribute."""
    return (KmipField("value", forms_of(hint, tag), optional=False, many=False),)


def _indent(lines: Iterable[str]) -> Iterator[str]:
    return (f" {line}" for line in lines)


class _Writer(ABC):
    """Writes one function; ``names`` is what its text may name."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.names: dict[str, Any] = {
            name: value for name, value in vars(parts).items() if not name.startswith("_")
        }
        self.names |= {
            "parse_item": parse_item,
            "encode": encode,
            "Unread": Unread,
            "Node": TtlvItem,
            "KeyMaterial": KeyMaterial,
        }

    def bind(self, value: object) -> str:
        """A name for ``value`` in the text."""
        name = f"bound_{len(self.names)}"
        self.names[name] = value
        return name

    @abstractmethod
    def function(self, fields: tuple[KmipField, ...], cls: type | None) -> Iterator[str]:
        """The lines of the function."""


class _Decoder(_Writer):
    STEP: Final = ("if pos < end: t, n = head(data, pos)", "else: t = 0")

    def function(self, fields: tuple[KmipField, ...], cls: type | None) -> Iterator[str]:
        yield "def function(data, pos, end, depth):"
        yield from _indent(self._body(fields, cls))

    def _body(self, fields: tuple[KmipField, ...], cls: type | None) -> Iterator[str]:
        yield from self.STEP
        absent = [_variable(field.name) for field in fields if field.optional]
        if absent:
            yield f"{' = '.join(absent)} = None"
        at = 0
        while at < len(fields):
            run = at
            while run < len(fields) and (fields[run].optional or fields[run].many):
                run += 1
            yield from (f"{_variable(field.name)} = ()" for field in fields[at:run] if field.many)
            lines = [line for field in fields[at:run] for line in self._field(field)]
            if run - at > 1:  # in one step to what follows, when none of them is there
                yield self._nearly(fields[run] if run < len(fields) else None)
                yield from _indent(lines)
            else:
                yield from lines
            if run < len(fields):
                yield from self._field(fields[run])
            at = run + 1
        yield f"if pos != end: raise stray({self.where!r}, t, pos, end)"
        arguments = ", ".join(f"{field.name}={_variable(field.name)}" for field in fields)
        yield f"return {self.bind(cls)}({arguments})"

    def _nearly(self, following: KmipField | None) -> str:
        if following is None:
            return "if t:"
        return " and ".join(f"not {self._is(form)}" for form in following.forms).join(("if ", ":"))

    def _is(self, form: Form) -> str:
        if form.tag is None:
            return f"(t and t & 255 == {Type.STRUCTURE:d})"
        return f"(t == {_key(form):#x})" if form.type else f"(t >> 8 == {form.tag:#x})"

    def _field(self, field: KmipField) -> Iterator[str]:
        ways = [(self._is(form), list(self.value(form, field))) for form in field.forms]
        if field.many:
            [(there, lines)] = ways
            yield f"if {there}:"
            yield " found = []"
            yield f" while {there}:"
            taken = (*lines, *self.STEP, f"found.append({_variable(field.name)})")
            yield from _indent(_indent(taken))
            yield f" {_variable(field.name)} = tuple(found)"
            return
        for number, (there, lines) in enumerate(ways):
            yield f"{'elif' if number else 'if'} {there}:"
            yield from _indent((*lines, *self.STEP))
        if not field.optional:
            yield f"else: raise misfit({self.where!r}, {field.label!r}, t, pos)"

    def value(self, form: Form, field: KmipField) -> Iterator[str]:
        """Lines that read the item at ``pos`` and leave ``pos`` behind it."""
        to = _variable(field.name)
        bad = f"raise wrong_length({self.where!r}, {field.label!r}, pos)"
        match form.rule, form.type:
            case Chosen(), _:
                yield from self._emit_choice(form.rule, to, bad)
            case Named(), _:
                yield from self._emit_by_name(form, field)
            case _, None:
                yield f"{to}, pos = parse_item(data, pos, end, depth + 1)"
            case _, Type.STRUCTURE:
                yield "stop = pos + 8 + n"
                yield f"if stop > end or n & 7: {bad}"
                yield f"{to} = {self.bind(decoder_of(form.python))}(data, pos + 8, stop, depth + 1)"
                yield "pos = stop"
            case _, Type.TEXT_STRING | Type.BYTE_STRING:
                yield "stop = pos + 8 + n"
                text = ".decode()" if form.type is Type.TEXT_STRING else ""
                yield f"{to} = data[pos + 8:stop]{text}"
                if form.python is KeyMaterial:
                    yield f"{to} = KeyMaterial(data[pos + 8:stop])"
                yield "pos = stop + (-n & 7)"
                yield f"if pos != stop and data[stop:pos] != ZEROS[pos - stop]: {bad}"
            case _, Type.ENUMERATION:
                table, cls = self.bind(parts.codes(form.python)), self.bind(form.python)
                yield f"{to} = {table}.get(data[pos + 8:pos + 16])"
                strange = f"strange_code(data, pos, n, {cls}, {self.where!r})"
                yield f"if {to} is None or n != 4: {to} = {strange}"
                yield "pos += 16"
            case _, Type.BOOLEAN:
                yield f"{to} = BOOLEANS.get(data[pos + 8:pos + 16])"
                yield f"if {to} is None or n != 8: {bad}"
                yield "pos += 16"
            case _, Type.INTEGER | Type.INTERVAL:
                reader = "integer" if form.type is Type.INTEGER else "interval"
                yield f"{to}, padding = {reader}(data, pos + 8)"
                yield f"if n != 4 or padding: {bad}"
                yield "pos += 16"
            case _:
                yield f"if n != 8: {bad}"
                yield f"{to} = long(data, pos + 8)[0]"
                yield "pos += 16"

    def _emit_choice(self, rule: Chosen, to: str, bad: str) -> Iterator[str]:
        """By the value of an earlier field: its class, or as a tree what is none of its kind."""
        known: dict[int, Decode] = {}

        def find(code: int) -> Decode:
            known[code] = decoder_of(rule.table[code])
            return known[code]

        yield "stop = pos + 8 + n"
        yield f"if stop > end or n & 7: {bad}"
        yield f"{to} = why = None"
        yield from self._reader(known, find, rule)
        yield "if reader is not None:"
        yield f" try: {to} = reader(data, pos + 8, stop, depth + 1)"
        yield " except FAILURES as failure: why = failure"
        otherwise = self.bind(rule.otherwise)
        yield f"if {to} is None: {to} = unread(data, pos, end, depth + 1, why, {otherwise})"
        yield "pos = stop"

    def _emit_by_name(self, form: Form, field: KmipField) -> Iterator[str]:
        """By an earlier text: its annotation; of names that have none text, or a tree."""
        assert isinstance(form.rule, Named) and form.tag is not None  # noqa: S101
        known: dict[str, Any] = {}
        rule, tag = form.rule, form.tag

        def find(name: str) -> Any:
            known[name] = _compile_function(_Reader(name), _one(rule.table[name], tag), None)
            return known[name]

        to = _variable(field.name)
        yield from self._reader(known, find, rule)
        yield f"if reader is not None: {to}, pos = reader(data, pos, end, depth, t, n)"
        text = Form(str, tag, Type.TEXT_STRING)
        yield f"elif {self._is(text)}:"
        yield from _indent(self.value(text, field))
        yield f"else: {to}, pos = parse_item(data, pos, end, depth + 1)"

    def _reader(self, known: object, find: object, rule: Chosen | Named) -> Iterator[str]:
        by = _variable(rule.by)
        yield f"reader = {self.bind(known)}.get({by})"
        yield f"if reader is None and {by} in {self.bind(rule.table)}:"
        yield f" reader = {self.bind(find)}({by})"


class _Reader(_Decoder):
    """Reads one value whose type another field has said."""

    def function(self, fields: tuple[KmipField, ...], cls: type | None) -> Iterator[str]:
        [field] = fields
        [form] = field.forms
        yield "def function(data, pos, end, depth, t, n):"
        yield f" if not {self._is(form)}: raise wrong_type({self.where!r}, {field.label!r}, t, pos)"
        yield from _indent(self.value(form, field))
        yield f" return {_variable(field.name)}, pos"


class _Encoder(_Writer):
    def function(self, fields: tuple[KmipField, ...], cls: type | None) -> Iterator[str]:
        yield "def function(given):"
        yield " items = []"
        yield " add = items.append"
        for field in fields:
            lines = list(self._forms(field))
            if field.many:
                yield f" for value in given.{field.name}:"
            elif field.optional:
                yield f" value = given.{field.name}"
                yield " if value is not None:"
            else:
                yield f" value = given.{field.name}"
                lines = [line[1:] for line in lines]
            yield from _indent(lines)
        yield ' return b"".join(items)'

    def _forms(self, field: KmipField) -> Iterator[str]:
        if len(field.forms) == 1:
            yield from _indent(self.value(field.forms[0]))
            return
        yield " kind = type(value)"
        for number, form in enumerate(field.forms):
            yield f" {'elif' if number else 'if'} kind is {self.bind(form.python)}:"
            yield from _indent(_indent(self.value(form)))
        yield f" else: raise TypeError({f'{self.where}: no {field.name}'!r})"

    def value(self, form: Form) -> Iterator[str]:
        """Lines that add the item of ``value``."""
        match form.rule, form.type:
            case Chosen(), _:
                yield "kind = type(value)"
                yield "if kind is Unread: add(encode(value.node))"
                yield "else:"
                yield f" body = ({self.bind(_encoders)}.get(kind) or encoder_of(kind))(value)"
                self.names["encoder_of"] = encoder_of
                yield f" add(pack_head({_key(form):#x}, len(body)) + body)"
            case Named(), _:
                yield from self._emit_by_name(form.rule, form.tag)
            case _, None:
                yield "add(encode(value))"
            case _, Type.STRUCTURE:
                yield f"body = {self.bind(encoder_of(form.python))}(value)"
                yield f"add(pack_head({_key(form):#x}, len(body)) + body)"
            case _, Type.TEXT_STRING | Type.BYTE_STRING:
                raw = "value.reveal()" if form.python is KeyMaterial else "value"
                yield f"raw = {'value.encode()' if form.python is str else raw}"
                yield "size = len(raw)"
                key = f"({_key(form):#x}, size, raw)"
                yield f"add(PACK_BYTES[size]{key} if size < SHORT else pack_bytes{key})"
            case _, Type.BOOLEAN:
                yield f"add(pack_long({_key(form):#x}, 8, 1 if value else 0))"
            case _, Type.INTEGER:
                yield f"add(pack_integer({_key(form):#x}, 4, value, 0))"
            case _, Type.ENUMERATION | Type.INTERVAL:
                yield f"add(pack_unsigned({_key(form):#x}, 4, value, 0))"
            case _:
                yield f"add(pack_long({_key(form):#x}, 8, value))"

    def _emit_by_name(self, rule: Named, tag: Tag | None) -> Iterator[str]:
        known: dict[str, Encode] = {}

        def find(name: str) -> Encode:
            known[name] = _compile_function(_Adder(name), _one(rule.table[name], tag), None)
            return known[name]

        yield f"name = given.{rule.by}"
        yield f"writer = {self.bind(known)}.get(name)"
        yield f"if writer is None and name in {self.bind(rule.table)}:"
        yield f" writer = {self.bind(find)}(name)"
        yield "if writer is not None: add(writer(value))"
        yield "elif type(value) is str:"
        yield from _indent(self.value(Form(str, tag, Type.TEXT_STRING)))
        yield "else: add(encode(value))"


class _Adder(_Encoder):
    """Writes one value whose type another field has said."""

    def function(self, fields: tuple[KmipField, ...], cls: type | None) -> Iterator[str]:
        yield "def function(value):"
        yield " items = []"
        yield " add = items.append"
        yield from _indent(self.value(fields[0].forms[0]))
        yield " return items[0]"
