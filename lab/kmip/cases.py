"""Conversations in KMIP's XML, each played against a fresh key server, through bytes.

A file passes when every answer has all that is expected of it. It is skipped, with the reason,
when it asks for what is not built: an operation, another object than a symmetric key, an
attribute that no key here has. A few are skipped by their names, for what they expect is not in
the standard (``ASTRAY``). Nothing else is skipped, and what is skipped is not passed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.building.course import Report
from lab.kmip.alone import Alone
from lab.kmip.compared import ConversationState, Differs, compare
from lab.schema.answers.kmip import PlayedCase
from protocol.kmip.algorithms import KeyFormatType
from protocol.kmip.cases import NOW, CaseError, CaseMessage, Exchange, read_case
from protocol.kmip.code import Code
from protocol.kmip.enums import ObjectGroupMember, ObjectType, Operation
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, encode, parse
from services.kms.access.authorization import KeyServerCaller
from services.kms.endpoints.kmip.messages import Messages
from services.kms.endpoints.kmip.operations import SPOKEN
from services.kms.settings.config import KmsConfig, KmsRole
from services.runtime.real.clock import PacedClock

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


def _walk(node: TtlvItem) -> Iterator[TtlvItem]:
    yield node
    for child in node.items():
        yield from _walk(child)


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
