"""An answer beside the one that a conversation expects.

Every field that is expected has to be there, with its value; what the answer has beside them is
not judged, but in a batch, whose items have to be as many. Values that only a run knows are told
apart by kind:

- a variable that has no value yet takes that of the answer, and must be the same from then on
- dates, texts for people, the server's own identification and material of keys that a server
  makes are there and of the right type
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from protocol.kmip.cases import NOW, CaseMessage
from protocol.kmip.enums import Operation
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import Node, Type, tag_name

OF_ANY_VALUE: Final = frozenset(
    {
        Tag.TIME_STAMP,
        Tag.RESULT_MESSAGE,
        Tag.VENDOR_IDENTIFICATION,
        Tag.SERVER_INFORMATION,
        Tag.LEASE_TIME,
    }
)
"""Tags of values that are a server's own."""

DRAWN: Final = frozenset({Tag.DIGEST_VALUE, Tag.KEY_MATERIAL, Tag.IV_COUNTER_NONCE})
"""Tags of bytes that follow from what a server draws; judged when the client brought them."""

UNORDERED: Final = frozenset(
    {
        Tag.ATTRIBUTE,
        Tag.ATTRIBUTE_NAME,
        Tag.OBJECT_TYPE,
        Tag.OPERATION,
        Tag.PROTOCOL_VERSION,
        Tag.UNIQUE_IDENTIFIER,
    }
)
"""Tags of items that a payload has many of, in an order that is the server's."""
NEAR_S: Final = 60
"""Seconds by which a moment that the client has named may be passed."""

_YEARS_S: Final = 2 * 366 * 86_400


class Differs(Exception):
    """The answer is not the one that is expected; the text says where."""


class Known:
    """What a run knows of a conversation: values of variables, and what the client has sent."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self._now, self._drawn = 0, False
        self._unbound: dict[str, str] = {}
        self._bytes: set[bytes] = set()
        self._dates: set[int] = set()

    def at(self, now: float) -> None:
        """It is that time, in Unix seconds."""
        self._now = int(now)
        self.variables[NOW] = str(self._now)

    def ahead(self) -> int | None:
        """Seconds to the next date that the client has named; None when there is none."""
        dates = [
            date - self._now for date in self._dates if self._now < date < self._now + _YEARS_S
        ]
        return min(dates, default=None)

    def request(self, message: CaseMessage) -> Node:
        """The request with its variables; ``CaseError`` for one that no answer has given."""
        node = message.node(self.variables)
        self._sent(node)
        return node

    def expected(self, message: CaseMessage) -> Node:
        """The response with its variables, and marks where one has no value yet."""
        for name in message.variables():
            if name not in self.variables:
                self._unbound[name.encode().hex()] = name
        marks = {name: mark for mark, name in self._unbound.items()}
        return message.node({**marks, **self.variables})

    def bind(self, expected: Node, found: Node) -> bool:
        """Give the variable that is expected its value; False when none is."""
        raw = isinstance(expected.value, bytes)
        mark = expected.value.hex() if raw else expected.value
        name = self._unbound.get(mark) if isinstance(mark, str) else None
        if name is None:
            return False
        value: str = found.value.hex() if raw else found.value
        return self.variables.setdefault(name, value) == value

    def is_drawn(self, node: Node) -> bool:
        """Whether these bytes may follow from a key that the server has made."""
        return self._drawn and node.value not in self._bytes

    def is_moment(self, node: Node) -> bool:
        """Whether the client has named this date, or it is meant from the present on.

        Other dates are those of the day on which somebody wrote the conversation down.
        """
        return node.value in self._dates or abs(node.value - self._now) < _YEARS_S

    def _sent(self, node: Node) -> None:
        for child in node.items():
            self._sent(child)
        if node.type is Type.BYTE_STRING:
            self._bytes |= {node.value, hashlib.sha256(node.value).digest()}
        if node.type is Type.DATE_TIME:
            self._dates.add(node.value)
        if node.tag == Tag.OPERATION and node.value in (Operation.CREATE, Operation.RE_KEY):
            self._drawn = True


def compare(expected: Node, found: Node, known: Known, where: str = "") -> None:
    """``Differs`` at the first difference."""
    where = f"{where}/{tag_name(expected.tag)}" if where else tag_name(expected.tag)
    if expected.type is not found.type:
        raise Differs(f"{where}: {expected.type.label} is expected, {found.type.label} is there")
    if expected.type is Type.STRUCTURE:
        _structure(expected, found, known, where)
    elif expected.tag in OF_ANY_VALUE:
        return
    elif expected.type is Type.DATE_TIME:
        if known.is_moment(expected) and abs(expected.value - found.value) > NEAR_S:
            raise Differs(f"{where}: another moment than the one that was named")
    elif expected.tag in DRAWN and known.is_drawn(expected):
        if not known.bind(expected, found) and len(expected.value) != len(found.value):
            raise Differs(f"{where}: {len(expected.value)} bytes are expected")
    elif expected.value != found.value:
        if not known.bind(expected, found):
            raise Differs(f"{where}: {expected!r} is expected, {found!r} is there")


def _structure(expected: Node, found: Node, known: Known, where: str) -> None:
    if expected.tag == Tag.RESPONSE_MESSAGE:
        _same_number(expected.items(), found.items(), where)
    left = list(_meant(found.items()))
    for child in _meant(expected.items()):
        _take(child, left, known, where)


def _same_number(expected: Sequence[Node], found: Sequence[Node], where: str) -> None:
    if len(expected) != len(found):
        text = f"{where}: {len(expected) - 1} items are expected, {len(found) - 1} are there"
        raise Differs(text)


def _meant(items: Sequence[Node]) -> Iterator[Node]:
    """Without an Attribute Index of 0, which says no more than none."""
    for item in items:
        if not (item.tag == Tag.ATTRIBUTE_INDEX and item.value == 0):
            yield item


def _take(child: Node, left: list[Node], known: Known, where: str) -> None:
    """Take the item that is expected out of those that are left; ``Differs`` when none is it."""
    alike = [one for one in left if one.tag == child.tag]
    if child.tag not in UNORDERED:
        if not alike:
            raise Differs(f"{where}/{tag_name(child.tag)} is missing")
        compare(child, alike[0], known, where)
        left.remove(alike[0])
        return
    shown = child.items()[0] if child.items() else child
    why = Differs(f"{where}/{tag_name(child.tag)}: {shown!r} is missing")
    for one in alike:
        if child.items() and one.items()[:1] != child.items()[:1]:
            continue
        try:
            compare(child, one, known, where)
        except Differs as difference:
            why = difference if child.items() or len(alike) == 1 else why
        else:
            left[:] = [other for other in left if other is not one]
            return
    raise why
