"""An answer beside the one that a conversation expects.

Every field that is expected has to be there, with its value; what the answer has beside them is
not judged, but in a batch, whose items have to be as many. Values that only a run knows are told
apart by kind:

- a variable that has no value yet takes that of the answer, and must be the same from then on
- dates, texts for people, what a server says of itself, and bytes that follow from a key or an IV
  that the server has drawn are there and of the right type; a later request that has the bytes of
  the file is sent with those of the server
- a variable that a request needs and no answer has named is the value of the field of that name in
  an earlier answer: ``$DATA_0`` the first Data, ``$IV_COUNTER_NONCE`` the latest
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from protocol.kmip.cases import NOW, CaseMessage
from protocol.kmip.enums import Operation
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type, tag_name

OF_ANY_VALUE: Final = frozenset(
    {
        Tag.TIME_STAMP,
        Tag.RESULT_MESSAGE,
        Tag.VENDOR_IDENTIFICATION,
        Tag.SERVER_INFORMATION,
        Tag.LEASE_TIME,
        Tag.RNG_PARAMETERS,
        Tag.STREAMING_CAPABILITY,
        Tag.ASYNCHRONOUS_CAPABILITY,
        Tag.ATTESTATION_CAPABILITY,
        Tag.BATCH_UNDO_CAPABILITY,
        Tag.BATCH_CONTINUE_CAPABILITY,
        Tag.UNWRAP_MODE,
        Tag.DESTROY_ACTION,
        Tag.SHREDDING_ALGORITHM,
        Tag.RNG_MODE,
    }
)
"""Tags of values that are a server's own; of several of the same tag one has to be there."""

GENERATOR: Final = "Random Number Generator"
"""The attribute that says what a server draws keys with; judged when the client brought it."""

DRAWN: Final = frozenset(
    {
        Tag.AUTHENTICATED_ENCRYPTION_TAG,
        Tag.DATA,
        Tag.DIGEST_VALUE,
        Tag.IV_COUNTER_NONCE,
        Tag.KEY_MATERIAL,
    }
)
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

_FIELDS: Final = {int(tag): tag.name for tag in Tag}
_YEARS_S: Final = 2 * 366 * 86_400


class Differs(Exception):
    """The answer is not the one that is expected; the text says where."""


class ConversationState:
    """What a run knows of a conversation: values of variables, and what the client has sent."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self._now, self._drawn, self._decrypting = 0, False, False
        self._unbound: dict[str, str] = {}
        self._bytes: set[bytes] = set()
        self._attributes: set[str] = set()
        self._answered: dict[str, list[str]] = {}
        self._in_place_of: dict[bytes, bytes] = {}
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

    def request(self, message: CaseMessage) -> TtlvItem:
        """The request with its variables; ``CaseError`` for one that no answer has given."""
        for name in message.variables():
            if name not in self.variables and (value := self._earlier(name)) is not None:
                self.variables[name] = value
        node = self._replace_drawn(message.node(self.variables))
        given = self._answered.get(Tag.DATA.name, [])
        self._decrypting = any(
            one.tag == Tag.DATA and one.value.hex() in given for one in _walk(node)
        )
        self._record_sent(node)
        return node

    def record_drawn(self, expected: TtlvItem, found: TtlvItem) -> None:
        """The server has drawn these bytes in place of those in the file, which later requests
        may name."""
        self._in_place_of[expected.value] = found.value

    def _replace_drawn(self, node: TtlvItem) -> TtlvItem:
        if node.type is Type.STRUCTURE:
            return TtlvItem(
                node.tag, node.type, tuple([self._replace_drawn(one) for one in node.items()])
            )
        if node.type is Type.BYTE_STRING:
            return TtlvItem(node.tag, node.type, self._in_place_of.get(node.value, node.value))
        return node

    def record_answer(self, answer: TtlvItem) -> None:
        """Keep the byte strings of an answer for requests that name them by their fields."""
        for child in answer.items():
            self.record_answer(child)
        if answer.type is Type.BYTE_STRING and answer.tag in _FIELDS:
            self._answered.setdefault(_FIELDS[answer.tag], []).append(answer.value.hex())

    def _earlier(self, variable: str) -> str | None:
        """The value of the field that a variable is called after; ``_N`` is the one after N."""
        if found := self._answered.get(variable):
            return found[-1]
        field, _, number = variable.rpartition("_")
        found = self._answered.get(field, [])
        return found[int(number)] if number.isdecimal() and int(number) < len(found) else None

    def build_expected(self, message: CaseMessage) -> TtlvItem:
        """The response with its variables, and marks where one has no value yet."""
        for name in message.variables():
            if name not in self.variables:
                self._unbound[name.encode().hex()] = name
        marks = {name: mark for mark, name in self._unbound.items()}
        node = message.node({**marks, **self.variables})
        self._drawn = self._drawn or any(
            one.tag == Tag.IV_COUNTER_NONCE and one.value not in self._bytes for one in _walk(node)
        )
        return node

    def bind(self, expected: TtlvItem, found: TtlvItem) -> bool:
        """Give the variable that is expected its value; False when none is."""
        raw = isinstance(expected.value, bytes)
        mark = expected.value.hex() if raw else expected.value
        name = self._unbound.get(mark) if isinstance(mark, str) else None
        if name is None:
            return False
        value: str = found.value.hex() if raw else found.value
        return self.variables.setdefault(name, value) == value

    def is_drawn(self, node: TtlvItem) -> bool:
        """Whether these bytes may follow from what the server has drawn.

        The plaintext of what it has encrypted itself does not.
        """
        if node.tag == Tag.DATA and self._decrypting:
            return False
        return self._drawn and node.value not in self._bytes

    def is_own(self, node: TtlvItem) -> bool:
        """Whether it is an attribute whose value is the server's own."""
        name = node.items()[0].value if node.tag == Tag.ATTRIBUTE and node.items() else None
        return name == GENERATOR and GENERATOR not in self._attributes

    def is_moment(self, node: TtlvItem) -> bool:
        """Whether the client has named this date, or it is meant from the present on.

        Other dates are those of the day on which somebody wrote the conversation down.
        """
        return node.value in self._dates or abs(node.value - self._now) < _YEARS_S

    def _record_sent(self, node: TtlvItem) -> None:
        for child in node.items():
            self._record_sent(child)
        if node.type is Type.BYTE_STRING:
            self._bytes |= {node.value, hashlib.sha256(node.value).digest()}
        if node.type is Type.DATE_TIME:
            self._dates.add(node.value)
        if node.tag == Tag.ATTRIBUTE and node.items():
            self._attributes.add(node.items()[0].value)
        if node.tag == Tag.OPERATION and node.value in (Operation.CREATE, Operation.RE_KEY):
            self._drawn = True


def _walk(node: TtlvItem) -> Iterator[TtlvItem]:
    yield node
    for child in node.items():
        yield from _walk(child)


def compare(expected: TtlvItem, found: TtlvItem, known: ConversationState, where: str = "") -> None:
    """``Differs`` at the first difference."""
    where = f"{where}/{tag_name(expected.tag)}" if where else tag_name(expected.tag)
    if expected.type is not found.type:
        raise Differs(f"{where}: {expected.type.label} is expected, {found.type.label} is there")
    if expected.tag in OF_ANY_VALUE or known.is_own(expected):
        return
    if expected.type is Type.STRUCTURE:
        _structure(expected, found, known, where)
    elif expected.type is Type.DATE_TIME:
        if known.is_moment(expected) and abs(expected.value - found.value) > NEAR_S:
            raise Differs(f"{where}: another moment than the one that was named")
    elif expected.tag in DRAWN and known.is_drawn(expected):
        if known.bind(expected, found):
            return
        if len(expected.value) != len(found.value):
            raise Differs(f"{where}: {len(expected.value)} bytes are expected")
        known.record_drawn(expected, found)
    elif expected.value != found.value:
        if not known.bind(expected, found):
            raise Differs(f"{where}: {expected!r} is expected, {found!r} is there")


def _structure(expected: TtlvItem, found: TtlvItem, known: ConversationState, where: str) -> None:
    if expected.tag == Tag.RESPONSE_MESSAGE:
        _same_number(expected.items(), found.items(), where)
    left, taken = list(_skip_zero_index(found.items())), set[int]()
    for child in _skip_zero_index(expected.items()):
        if child.tag not in OF_ANY_VALUE or child.tag not in taken:
            _take(child, left, known, where)
        taken.add(child.tag)


def _same_number(expected: Sequence[TtlvItem], found: Sequence[TtlvItem], where: str) -> None:
    if len(expected) != len(found):
        text = f"{where}: {len(expected) - 1} items are expected, {len(found) - 1} are there"
        raise Differs(text)


def _skip_zero_index(items: Sequence[TtlvItem]) -> Iterator[TtlvItem]:
    """Without an Attribute Index of 0, which says no more than none."""
    for item in items:
        if not (item.tag == Tag.ATTRIBUTE_INDEX and item.value == 0):
            yield item


def _take(child: TtlvItem, left: list[TtlvItem], known: ConversationState, where: str) -> None:
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
