"""Conversations in KMIP's XML, each played against a fresh key server, through bytes; each answer
is compared with the one that the conversation expects.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lab.building.course import Report
from lab.kmip.alone import Alone
from lab.schema.answers.kmip import PlayedCase
from protocol.kmip.algorithms import KeyFormatType
from protocol.kmip.cases import NOW, CaseError, CaseMessage, Exchange, read_case
from protocol.kmip.enums import Code, ObjectGroupMember, ObjectType, Operation
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type, encode, parse, tag_name
from services.kms.access.authorization import KeyServerCaller
from services.kms.endpoints.kmip.messages import Messages
from services.kms.endpoints.kmip.operations import SPOKEN
from services.kms.settings.config import KmsConfig, KmsRole
from services.runtime.real.clock_and_rng import PacedClock

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


SHIPPED: Final = Path(__file__).with_name("conversations")
"""Conversations that come with keystead, one for each subject."""
OWNER: Final = KeyServerCaller("cases", KmsRole.OWNER, "default")
_UNENCODED: Final = "it expects bytes without attributes or encoding, and has asked for both"
ASTRAY: Final = {
    "TC-SK-CREATE-ENCRYPT-DECRYPT-DESTROY": (
        "it has a key encrypt that is Pre-Active (KMIP 1.2 section 3.22)"
    ),
    "TC_92_10_Existing_Key_Expired_Re_key_with_Same_Life_cycle": (
        "its key has another Deactivation Date than the one that it sets"
    ),
    "TC_142_11_Key_Wrapping_using_AES_Key_Wrap_with_Attributes": _UNENCODED,
    "TC_142_12_Key_Wrapping_using_AES_Key_Wrap_with_Attributes": _UNENCODED,
    "CS-BC-M-6-13": (
        "its ciphertext is not that of its key and plaintext (FIPS 197, as CS-BC-M-6-14 has it)"
    ),
    "TC-CS-CORVAL-1-14": "it makes a key without a usage mask (KMIP 1.4 section 4.1)",
    "SKFF_O_6_11_SymmetricKeyOptional_6": (
        "it expects the Object Group of a key that nobody has put into one (KMIP 1.1 section 3.33)"
    ),
}
"""Conversations whose answers a key server gives that is not by the standard, and why."""

FORMATS: Final = (KeyFormatType.RAW, KeyFormatType.TRANSPARENT_SYMMETRIC_KEY)
NOT_KEPT: Final = frozenset(
    {
        "Archive Date",
        "Key Value Location",
        "Key Value Present",
        "Operation Policy Name",
    }
)
"""Attributes that no key here has, or that have no effect here: policies are not enforced."""

_MAKING: Final = {
    Operation.CREATE,
    Operation.REGISTER,
    Operation.RE_KEY,
    Operation.ENCRYPT,
    Operation.DECRYPT,
}
"""Operations whose answers may have a value that nobody knows before."""


async def play(folder: Path, report: Report) -> tuple[PlayedCase, ...]:
    """Every ``*.xml`` below ``folder``, in the order of their names."""
    played: list[PlayedCase] = []
    files = sorted(folder.rglob("*.xml"))
    for number, file in enumerate(files, 1):
        name = file.relative_to(folder).as_posix()
        report(name, number, len(files))
        played.append(await play_case(file, name))
    return tuple(played)


async def play_case(file: Path, name: str) -> PlayedCase:
    """One conversation, called ``name`` in the answer."""
    try:
        exchanges = read_case(file.read_text("utf-8"))
        why = ASTRAY.get(file.stem) or _not_built(exchanges)
        if why:
            return PlayedCase(file=name, result="skipped", why=why)
        await converse(exchanges)
    except (CaseError, Differs, UnicodeDecodeError) as error:
        return PlayedCase(file=name, result="failed", why=str(error))
    return PlayedCase(file=name, result="passed")


async def converse(exchanges: tuple[Exchange, ...]) -> None:
    """One conversation with a key server that has nothing yet; ``Differs``, ``CaseError``."""
    if not exchanges:
        raise CaseError("a conversation without messages")
    with tempfile.TemporaryDirectory(prefix="keystead-case-") as where:
        server = Alone(Path(where) / "disk", KmsConfig())
        await server.start()
        try:
            messages = Messages(server.service.core, server.clock)
            await _converse(exchanges, messages, server.clock)
        finally:
            await server.stop()


async def _converse(exchanges: tuple[Exchange, ...], messages: Messages, clock: PacedClock) -> None:
    """Who asks the very same again waits meanwhile: for the next date that it has named."""
    known, before = ConversationState(), b""
    for number, exchange in enumerate(exchanges, 1):
        known.at(clock.now())
        request = encode(known.request(exchange.request))
        if request == before:
            clock.skew_s += known.ahead() or 0
            known.at(clock.now())
        before = request
        answer = parse(await messages.answer(OWNER, request))
        known.record_answer(answer)
        expected = known.build_expected(exchange.response)
        try:
            compare(expected, answer, known)
        except Differs as difference:
            raise Differs(f"message {number}, {difference}{_reason(answer)}") from None


def _reason(answer: TtlvItem) -> str:
    """What the server says of it, when it has refused."""
    said = [node.value for node in _walk(answer) if node.tag == Tag.RESULT_MESSAGE]
    return f" ({'; '.join(said)})" if said else ""


# ---- what is not built ------------------------------------------------------------------------


def _not_built(exchanges: tuple[Exchange, ...]) -> str:
    """The first thing that a conversation needs and that is not built; empty: nothing."""
    made: set[str] = set()
    for exchange in exchanges:
        asked, answered = _mark_variables(exchange.request), _mark_variables(exchange.response)
        for node in _walk(asked):
            why = _missing(node) or _arrives_wrapped(node)
            if why:
                return why
        for node in _walk(answered):
            why = _missing(node)
            if why:
                return f"{why}, which is expected in an answer"
        operations = {node.value for node in _walk(asked) if node.tag == Tag.OPERATION}
        new = set(exchange.response.variables()) - made - {NOW}
        if new and operations.isdisjoint(_MAKING):
            return f"it begins with {min(new)}, of a conversation before it"
        made |= new
    return ""


def _mark_variables(message: CaseMessage) -> TtlvItem:
    return message.readable({name: "00" for name in message.variables()} | {NOW: "0"})


def _missing(node: TtlvItem) -> str:
    match node.tag:
        case Tag.OPERATION if node.value not in SPOKEN:
            return f"operation {_label(Operation, node.value)}"
        case Tag.OBJECT_TYPE if node.value != ObjectType.SYMMETRIC_KEY:
            return f"object type {_label(ObjectType, node.value)}"
        case Tag.ASYNCHRONOUS_INDICATOR if node.value:
            return "asynchronous answers"
        case Tag.TEMPLATE_ATTRIBUTE if any(one.tag == Tag.NAME for one in node.items()):
            return "templates"
        case Tag.KEY_FORMAT_TYPE if node.value not in FORMATS:
            return f"key format {_label(KeyFormatType, node.value)}"
        case Tag.CORRELATION_VALUE | Tag.INIT_INDICATOR | Tag.FINAL_INDICATOR:
            return "data in several pieces"
        case Tag.OBJECT_GROUP_MEMBER if node.value != ObjectGroupMember.GROUP_MEMBER_FRESH:
            return "default members of groups"
        case Tag.EXTENSION_INFORMATION:
            return "extensions of a vendor"
        case Tag.PROFILE_INFORMATION:
            return "claims of a profile"
        case Tag.VALIDATION_INFORMATION:
            return "validations by an authority"
        case Tag.CLIENT_REGISTRATION_METHOD:
            return "registration of clients"
        case Tag.ATTRIBUTE_NAME if node.value in NOT_KEPT:
            return f"attribute {node.value}"
    return ""


def _arrives_wrapped(node: TtlvItem) -> str:
    wrapped = any(one.tag == Tag.KEY_WRAPPING_DATA for one in node.items())
    return "keys that arrive wrapped" if node.tag == Tag.KEY_BLOCK and wrapped else ""


def _label(cls: type[Code], value: int) -> str:
    return cls(value).label if value in list(cls) else f"0x{value:08X}"
