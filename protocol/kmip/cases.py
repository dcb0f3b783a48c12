"""Conversations as OASIS publishes them: requests and expected responses in KMIP's XML.

A file has one root ``KMIP`` with messages in turn, and a line ``# TIME n`` before those of a step.
Values that only a run knows are variables (``$UNIQUE_IDENTIFIER_0``, ``$NOW-3600``), so a message
becomes a tree when somebody gives them (KMIP Profiles 1.x, XML encoding). Files have names of
attributes with several spaces where one is meant, which are one here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import IntFlag
from typing import Final
from xml.etree import ElementTree

import msgspec

from protocol.kmip import algorithms, enums
from protocol.kmip.enums import Code
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type

NOW: Final = "NOW"
"""The variable of the present, Unix seconds; a text may add to it."""

_TAGS: Final = {tag.label: tag for tag in Tag}
_TYPES: Final = {kind.label: kind for kind in Type}
_VARIABLE: Final = re.compile(r"\$([A-Z_0-9]+)\Z")
_PRESENT: Final = re.compile(rf"\${NOW}([+-][0-9]+)\Z")
_STEP: Final = re.compile(r"#\s*TIME\s+([0-9]+)")
_CODES: Final[dict[str, type[Code]]] = {
    name: value
    for module in (enums, algorithms)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Code)
} | {"MaskGeneratorHashingAlgorithm": algorithms.HashingAlgorithm}
_MASKS: Final[dict[str, type[IntFlag]]] = {
    cls.__name__: cls for cls in (algorithms.CryptographicUsageMask, enums.StorageStatusMask)
}


class CaseError(ValueError):
    """A file that is no conversation, or a message that cannot be had: the text says why."""


class CaseMessage:
    """A message of a conversation, with its variables still in it."""

    def __init__(self, element: ElementTree.Element) -> None:
        self._element = element

    def node(self, variables: Mapping[str, str]) -> TtlvItem:
        """The message with these values, given as XML has them; ``CaseError``."""
        return _node(self._element, "", variables)

    def readable(self, variables: Mapping[str, str]) -> TtlvItem:
        """The message without what cannot be read; 0 stands for an unknown word."""
        return _node(self._element, "", variables, strict=False)

    def variables(self) -> tuple[str, ...]:
        """Names of variables in it, each once, in order."""
        found = [
            match[1]
            for element in self._element.iter()
            for match in [re.match(r"\$([A-Z_0-9]+)", element.get("value", ""))]
            if match
        ]
        return tuple(dict.fromkeys(found))


class Exchange(msgspec.Struct, frozen=True):
    """One request and what it is to be answered; ``time`` is the number of its step."""

    time: int
    request: CaseMessage
    response: CaseMessage


def read_case(text: str) -> tuple[Exchange, ...]:
    """The exchanges of a conversation, in order; ``CaseError``."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - a file that its user has chosen
    except ElementTree.ParseError as error:
        raise CaseError(f"no XML: {error}") from None
    names = [element.tag for element in root]
    if root.tag != "KMIP" or names != ["RequestMessage", "ResponseMessage"] * (len(names) // 2):
        raise CaseError("no conversation: <KMIP> with requests and responses in turn")
    return tuple(_exchanges(root))


def _exchanges(root: ElementTree.Element) -> Iterator[Exchange]:
    time, before = 0, root.text
    for request, response in zip(root[::2], root[1::2], strict=True):
        step = _STEP.search(before or "")
        time = int(step[1]) if step else time
        yield Exchange(time, CaseMessage(request), CaseMessage(response))
        before = response.tail


def _node(
    element: ElementTree.Element,
    attribute: str,
    variables: Mapping[str, str],
    *,
    strict: bool = True,
) -> TtlvItem:
    """``attribute``: the name in front of it, when it is an Attribute Value."""
    tag, kind = _tag(element), _TYPES.get(element.get("type", "Structure"))
    if kind is None:
        raise CaseError(f"{element.tag}: {element.get('type')} is no type")
    if kind is Type.STRUCTURE:
        return TtlvItem(tag, kind, tuple(_children(element, variables, strict)))
    text = _text(element, kind, variables)
    meaning = attribute.replace(" ", "").replace(".", "") if attribute else element.tag
    try:
        value = _value(text, kind, meaning)
    except ValueError:
        value = None
    if value is None and kind is Type.ENUMERATION and not strict:
        value = 0
    if value is None:
        raise CaseError(f"{element.tag}: {text!r} is no {kind.label} of {meaning}")
    return TtlvItem(tag, kind, value)


def _children(
    element: ElementTree.Element, variables: Mapping[str, str], strict: bool
) -> Iterator[TtlvItem]:
    name = ""
    for child in element:
        attribute = name if child.tag == "AttributeValue" else ""
        try:
            yield _node(child, attribute, variables, strict=strict)
        except CaseError:
            if strict:
                raise
        name = " ".join(child.get("value", "").split()) if child.tag == "AttributeName" else name


def _tag(element: ElementTree.Element) -> int:
    given = element.get("tag", "")
    if element.tag == "TTLV" and re.fullmatch("0x[0-9A-Fa-f]{6}", given):
        return int(given, 16)
    if element.tag not in _TAGS:
        raise CaseError(f"{element.tag} is no tag of KMIP 1.x")
    return _TAGS[element.tag]


def _text(element: ElementTree.Element, kind: Type, variables: Mapping[str, str]) -> str:
    text = element.get("value", "")
    present = _PRESENT.match(text)
    variable = _VARIABLE.match(text)
    name = NOW if present else variable[1] if variable else None
    if name is None:
        return text
    if name not in variables:
        raise CaseError(f"{element.tag}: ${name} is not known")
    return str(int(variables[name]) + int(present[1])) if present else variables[name]


def _value(text: str, kind: Type, meaning: str) -> object:
    """None or ``ValueError`` for a text that is none of this type."""
    match kind:
        case Type.TEXT_STRING:
            return " ".join(text.split()) if meaning == Tag.ATTRIBUTE_NAME.label else text
        case Type.BYTE_STRING | Type.BIG_INTEGER:
            return bytes.fromhex(text)
        case Type.BOOLEAN:
            return {"true": True, "false": False}.get(text)
        case Type.ENUMERATION:
            if text[:2] == "0x" or text.isdecimal():
                return int(text, 0)
            member = _CODES[meaning].find_by_label(text) if meaning in _CODES else None
            return None if member is None else int(member)
        case Type.DATE_TIME if not text.lstrip("-").isdecimal():
            at = datetime.fromisoformat(text)
            return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
        case Type.INTEGER if meaning in _MASKS and not text.isdecimal():
            return sum(_bit(_MASKS[meaning], word) for word in re.split(r"[\s|]+", text.strip()))
        case _:
            return int(text)


def _bit(cls: type[IntFlag], word: str) -> int:
    """A bit by its name in XML; ``ValueError``."""
    for member in cls:
        if str(member.name).replace("_", "").lower() == word.lower():
            return int(member)
    raise ValueError(word)
