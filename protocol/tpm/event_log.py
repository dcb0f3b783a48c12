"""The crypto-agile event log of the TCG PC Client firmware profile (build, parse, replay, check),
and what firmware measures of Secure Boot: PCR 7, and the separators behind it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from protocol.tpm.structures import (
    DIGEST_SIZE,
    PCR_COUNT,
    PCR_SECURE_BOOT,
    EventType,
    MeasuredEvent,
    PcrSelection,
)

_ALG_SHA256: Final = 0x000B
_RECORD: Final = struct.Struct("<IIIH32sI")
_SPEC_ID: Final = (
    b"Spec ID Event03\0"
    # platform class (client), version 2.0, errata 0, size of UINTN in 4-byte words
    + struct.pack("<IBBBB", 0, 0, 2, 0, 2)
    + struct.pack("<IHH", 1, _ALG_SHA256, DIGEST_SIZE)
    + b"\0"  # no vendor information
)
_HEADER: Final = struct.pack("<II20sI", 0, EventType.NO_ACTION, bytes(20), len(_SPEC_ID)) + _SPEC_ID
_BODY_LIMIT: Final = 65536
DRTM_PCRS: Final = range(17, 23)
"""PCRs of a dynamic launch: ones after a start, and no boot code may extend them."""
_SEPARATORS: Final = frozenset(hashlib.sha256(each * 4).digest() for each in (b"\0", b"\xff"))
"""Digests of the event that ends what the firmware measures before it boots (EV_SEPARATOR)."""
_BODY_IS_MEASURED: Final = frozenset(
    {
        EventType.SEPARATOR,
        EventType.S_CRTM_VERSION,
        EventType.EFI_VARIABLE_DRIVER_CONFIG,
        EventType.EFI_ACTION,
        EventType.EFI_VARIABLE_AUTHORITY,
    }
)


class EventLogError(ValueError):
    """The log is malformed; the text says where."""


def event_digest(event: MeasuredEvent) -> bytes:
    """What is extended for it: its digest, or the SHA-256 of its body if it has none."""
    return event.digest or hashlib.sha256(event.body).digest()


def encode_log(events: Iterable[MeasuredEvent]) -> bytes:
    """The whole log of these events, header included."""
    parts = [_HEADER]
    for event in events:
        unmeasured = event.type is EventType.NO_ACTION
        digest = bytes(DIGEST_SIZE) if unmeasured else event_digest(event)
        head = _RECORD.pack(event.pcr, event.type, 1, _ALG_SHA256, digest, len(event.body))
        parts.append(head + event.body)
    return b"".join(parts)


def parse_log(log: bytes) -> tuple[MeasuredEvent, ...]:
    """The events of ``log``, each with its digest; ``EventLogError`` for anything unexpected."""
    if not log.startswith(_HEADER):
        raise EventLogError("no TCG2 header with SHA-256 as the one algorithm")
    at = len(_HEADER)
    events: list[MeasuredEvent] = []
    while at < len(log):
        if at + _RECORD.size > len(log):
            raise EventLogError(f"record {len(events)} at byte {at} is cut short")
        pcr, kind, count, algorithm, digest, size = _RECORD.unpack_from(log, at)
        at += _RECORD.size
        if (count, algorithm) != (1, _ALG_SHA256) or pcr >= PCR_COUNT:
            raise EventLogError(f"record {len(events)}: not one SHA-256 digest of a PCR")
        if size > _BODY_LIMIT or at + size > len(log):
            raise EventLogError(f"record {len(events)}: its body of {size} bytes is cut short")
        try:
            type_ = EventType(kind)
        except ValueError:
            raise EventLogError(f"record {len(events)}: unknown type {kind:#x}") from None
        events.append(MeasuredEvent(pcr, type_, log[at : at + size], digest))
        at += size
    return tuple(events)


def initial_pcr(pcr: int) -> bytes:
    """Value after Startup(CLEAR): zeros, but ones in the PCRs of a dynamic launch (17..22)."""
    return (b"\xff" if pcr in DRTM_PCRS else b"\x00") * DIGEST_SIZE


def extend_pcr(value: bytes, digest: bytes) -> bytes:
    """The PCR value after extending ``digest`` into one that held ``value``."""
    return hashlib.sha256(value + digest).digest()


def replay(events: Iterable[MeasuredEvent], selection: PcrSelection) -> dict[int, bytes]:
    """PCR values (32 bytes) that these events lead to from a fresh start, for ``selection``."""
    values = {pcr: initial_pcr(pcr) for pcr in selection.pcrs}
    for event in events:
        if event.pcr in values and event.type is not EventType.NO_ACTION:
            values[event.pcr] = extend_pcr(values[event.pcr], event_digest(event))
    return values


def body_mismatches(events: Sequence[MeasuredEvent]) -> tuple[int, ...]:
    """Positions of events whose digest must be that of their body, and is not."""
    return tuple(
        position
        for position, event in enumerate(events)
        if event.type in _BODY_IS_MEASURED
        and event_digest(event) != hashlib.sha256(event.body).digest()
    )


def secure_boot_on(events: Iterable[MeasuredEvent]) -> bool:
    """Whether the firmware measured the variable SecureBoot, as on each time.

    What counts is what PCR 7 holds before its separator: afterwards whoever runs may extend it, as
    anybody may tell of a register that is not quoted. An event's type is not measured. So nothing
    is proved while the body of one of them is not what was measured, for that one may be the
    variable; and where it was off, it was off under any type.
    """
    found = False
    for event in _before_separator(events):
        if event_digest(event) != hashlib.sha256(event.body).digest():
            return False
        value = _efi_value(event.body, "SecureBoot")
        if value is None:
            continue
        if value != b"\x01" or event.type is not EventType.EFI_VARIABLE_DRIVER_CONFIG:
            return False
        found = True
    return found


def _before_separator(events: Iterable[MeasuredEvent]) -> Iterator[MeasuredEvent]:
    """What the firmware has measured into PCR 7 before it let anything boot."""
    for event in events:
        if event.pcr not in PCR_SECURE_BOOT.pcrs or event.type is EventType.NO_ACTION:
            continue
        if event_digest(event) in _SEPARATORS:
            return
        yield event


_EFI_VARIABLE: Final = struct.Struct("<16sQQ")


def _efi_value(body: bytes, name: str) -> bytes | None:
    """The data of UEFI_VARIABLE_DATA when it is the variable of that name, else None."""
    if len(body) < _EFI_VARIABLE.size:
        return None
    _, characters, size = _EFI_VARIABLE.unpack_from(body)
    text = name.encode("utf-16-le")
    start = _EFI_VARIABLE.size + len(text)
    if characters != len(name) or body[_EFI_VARIABLE.size : start] != text:
        return None
    return body[start:] if len(body) == start + size else None


PCR: Final = 7
_EFI_GLOBAL: Final = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
_EFI_SECURITY: Final = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")


def secure_boot_events(on: bool) -> tuple[MeasuredEvent, ...]:
    """PCR 7: the variables that say what may boot, then a separator of each PCR of the firmware."""
    keys = b"keystead platform keys" if on else b""
    variables = (
        (_EFI_GLOBAL, "SecureBoot", b"\x01" if on else b"\x00"),
        (_EFI_GLOBAL, "PK", keys),
        (_EFI_GLOBAL, "KEK", keys),
        (_EFI_SECURITY, "db", keys),
        (_EFI_SECURITY, "dbx", b""),
    )
    events = [
        MeasuredEvent(PCR, EventType.EFI_VARIABLE_DRIVER_CONFIG, _variable(vendor, name, value))
        for vendor, name, value in variables
    ]
    separators = [MeasuredEvent(pcr, EventType.SEPARATOR, bytes(4)) for pcr in range(8)]
    return (*events, *separators)


def loader_authority() -> MeasuredEvent:
    """PCR 7, with Secure Boot on: whose signature let the boot loader run."""
    body = _variable(_EFI_SECURITY, "db", b"keystead signer of the boot loader")
    return MeasuredEvent(PCR, EventType.EFI_VARIABLE_AUTHORITY, body)


def _variable(vendor: bytes, name: str, value: bytes) -> bytes:
    """UEFI_VARIABLE_DATA: vendor GUID, lengths, name in UTF-16, value."""
    lengths = len(name).to_bytes(8, "little") + len(value).to_bytes(8, "little")
    return vendor + lengths + name.encode("utf-16-le") + value
