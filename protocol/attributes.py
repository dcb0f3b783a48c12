"""Values of KMIP attributes, as the core of a key server and messages about keys have them.

An *attribute* is a name, an index and a value (KMIP 1.4 section 2.1.1). Names are those of KMIP
(KMIP 1.4 section 3), with spaces; names that begin with ``x-`` are a client's, with ``y-`` a
server's. A value is a text, a number or a truth value. A KMIP structure, or a type that msgpack
cannot tell from another one, is a struct of this module. Dates are Unix seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from protocol.terms import RevocationReason

RAW: Final = "Raw"
"""The format of key material that is plain bytes (KMIP 1.4 section 9.1.3.2.3)."""


GRANTED_SCOPE: Final = "x-keystead-granted-scope"
"""A custom attribute of a key: another scope that may get the key. A key has one instance per
scope."""


class ItemType(StrEnum):
    """Types of a custom attribute beyond text, integer and truth value (KMIP 1.4 9.1.1.2)."""

    LONG_INTEGER = "Long Integer"
    BIG_INTEGER = "Big Integer"
    ENUMERATION = "Enumeration"
    BYTE_STRING = "Byte String"
    DATE_TIME = "Date-Time"
    INTERVAL = "Interval"


class _Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """A value with parts."""


class ObjectName(_Value, frozen=True, tag="name"):
    """A value of ``Name`` (KMIP 1.4 section 3.2), unique among the objects of a scope."""

    value: str
    type: str = "Uninterpreted Text String"


class AlternativeNameValue(_Value, frozen=True, tag="alternative"):
    """A value of ``Alternative Name`` (KMIP 1.4 section 3.40), which need not be unique."""

    value: str
    type: str = "Uninterpreted Text String"


class RandomNumberGenerator(_Value, frozen=True, tag="generator"):
    """A value of ``Random Number Generator``: RNG Parameters (KMIP 1.4 section 2.1.18).

    None: not specified. Lengths are in bits.
    """

    rng_algorithm: str = "Unspecified"
    cryptographic_algorithm: str | None = None
    cryptographic_length: int | None = None
    hashing_algorithm: str | None = None
    drbg_algorithm: str | None = None
    recommended_curve: str | None = None
    fips186_variation: str | None = None
    prediction_resistance: bool | None = None


class ObjectLink(_Value, frozen=True, tag="link"):
    """A value of ``Link`` (KMIP 1.4 section 3.35): the relation to the object ``linked``."""

    type: str
    linked: str


class ObjectDigest(_Value, frozen=True, tag="digest"):
    """A value of ``Digest`` (KMIP 1.4 section 3.17): of the key's bytes."""

    digest: bytes
    algorithm: str = "SHA-256"
    format: str = RAW


class ApplicationData(_Value, frozen=True, tag="application"):
    """A value of ``Application Specific Information`` (KMIP 1.4 section 3.36)."""

    namespace: str
    data: str


class Revocation(_Value, frozen=True, tag="revocation"):
    """A value of ``Revocation Reason`` (KMIP 1.4 section 3.31)."""

    code: RevocationReason
    message: str = ""


class UsageLimitsValue(_Value, frozen=True, tag="limits"):
    """A value of ``Usage Limits`` (KMIP 1.4 section 3.21): ``total`` bytes or objects.

    ``spent``: how much each server has granted of it; only servers write it.
    """

    total: int
    unit: str
    spent: tuple[tuple[str, int], ...] = ()

    @property
    def left(self) -> int:
        """Usage Limits Count. Not below 0, even if separated servers have granted more than the
        total."""
        return max(0, self.total - sum(amount for _, amount in self.spent))

    @property
    def fits(self) -> bool:
        """Whether a client may set this value."""
        return 0 < self.total in _LONG and self.unit in ("Byte", "Object") and not self.spent


class CryptographicParametersValue(_Value, frozen=True, tag="parameters"):
    """How a key is used (KMIP 1.4 section 3.6). None: not specified. Tag lengths are in bytes, IV
    lengths in bits."""

    block_cipher_mode: str | None = None
    padding_method: str | None = None
    hashing_algorithm: str | None = None
    key_role_type: str | None = None
    digital_signature_algorithm: str | None = None
    cryptographic_algorithm: str | None = None
    random_iv: bool | None = None
    iv_length: int | None = None
    tag_length: int | None = None
    fixed_field_length: int | None = None
    invocation_field_length: int | None = None
    counter_length: int | None = None
    initial_counter_value: int | None = None


class Typed(_Value, frozen=True, tag="typed"):
    """A value of a custom attribute that is neither text, integer nor truth value."""

    type: ItemType
    value: int | bytes

    @property
    def fits(self) -> bool:
        """Whether the value is one of its type (KMIP 1.4 section 9.1.1.4)."""
        if isinstance(self.value, bytes):
            whole = len(self.value) > 0 and len(self.value) % 8 == 0
            big = self.type is ItemType.BIG_INTEGER and whole
            return big or self.type is ItemType.BYTE_STRING
        return self.type in _NUMBERS and self.value in _NUMBERS[self.type]


class StructureField(msgspec.Struct, frozen=True, array_like=True):
    """A field of ``Structure``: the number of its tag, and its value."""

    tag: int
    value: str | int | bool | Typed

    @property
    def fits(self) -> bool:
        """Whether KMIP can encode it."""
        held = self.value
        if isinstance(held, Typed):
            value_fits = held.fits
        else:
            value_fits = not isinstance(held, int) or held in INTEGERS
        return self.tag in _TAGS and value_fits


class Structure(_Value, frozen=True, tag="structure"):
    """A value of a custom attribute that is a structure without nested structures (KMIP 1.4 section
    3.39)."""

    fields: tuple[StructureField, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether KMIP can encode it."""
        return all(field.fits for field in self.fields)


INTEGERS: Final = range(-(2**31), 2**31)
"""Values of KMIP's Integer."""

_LONG, _UNSIGNED = range(-(2**63), 2**63), range(2**32)
_TAGS: Final = range(2**24)
_NUMBERS: Final = {
    ItemType.LONG_INTEGER: _LONG,
    ItemType.DATE_TIME: _LONG,
    ItemType.ENUMERATION: _UNSIGNED,
    ItemType.INTERVAL: _UNSIGNED,
}


Value = (
    str
    | int
    | float
    | bool
    | ObjectName
    | ObjectLink
    | ObjectDigest
    | ApplicationData
    | Revocation
    | CryptographicParametersValue
    | UsageLimitsValue
    | AlternativeNameValue
    | RandomNumberGenerator
    | Typed
    | Structure
)


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of an attribute. ``index`` 0 is the first; most attributes have no other."""

    name: str
    index: int = 0
    value: Value


class Stamped(msgspec.Struct, frozen=True, array_like=True):
    """All instances of one attribute by index, and which server wrote them last, and when.

    Without instances: the attribute was deleted, or its value is kept elsewhere.
    """

    name: str
    at: float
    by: str
    instances: tuple[tuple[int, Value], ...] = ()


def format_value(value: Value) -> str:
    """The value as text for people; bytes in hex."""
    match value:
        case ObjectName() | AlternativeNameValue():
            return value.value
        case ObjectLink():
            return f"{value.type} {value.linked}"
        case ObjectDigest():
            return f"{value.algorithm} {value.digest.hex()}"
        case ApplicationData():
            return f"{value.namespace}: {value.data}"
        case Revocation():
            return f"{value.code}: {value.message}" if value.message else str(value.code)
        case CryptographicParametersValue() | RandomNumberGenerator():
            given = msgspec.to_builtins(value)
            told = [f"{name}={given[name]}" for name in given if name != "kind"]
            return ", ".join(told) or RandomNumberGenerator().rng_algorithm
        case Structure():
            return ", ".join(
                f"0x{field.tag:06X}={format_value(field.value)}" for field in value.fields
            )
        case UsageLimitsValue():
            return f"{value.left} of {value.total} ({value.unit})"
        case Typed():
            return value.value.hex() if isinstance(value.value, bytes) else str(value.value)
        case _:
            return str(value)
