"""Attributes and enumerated values on the wire and in the core (KMIP 1.4 sections 3 and 9.1.3).

The core uses names; the name of a vendor's own value is its hexadecimal number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, TypeVar

from protocol import attributes as core
from protocol.errors import FeatureNotSupported, InvalidField
from protocol.kmip import objects as wire
from protocol.kmip.algorithms import (
    BlockCipherMode,
    CryptographicAlgorithm,
    DigitalSignatureAlgorithm,
    DRBGAlgorithm,
    FIPS186Variation,
    HashingAlgorithm,
    KeyFormatType,
    KeyRoleType,
    PaddingMethod,
    RecommendedCurve,
    RNGAlgorithm,
)
from protocol.kmip.enums import (
    EXTENSIONS,
    AlternativeNameType,
    Code,
    LinkType,
    NameType,
    ObjectType,
    RevocationReasonCode,
    State,
    UsageLimitsUnit,
)
from protocol.kmip.fields import DateTime, Fields
from protocol.kmip.objects import ATTRIBUTES, SINCE, Attribute
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type
from protocol.terms import RevocationReason

C = TypeVar("C", bound=Code)

_SPELLED: Final[dict[type[Code], dict[str, str]]] = {
    CryptographicAlgorithm: {"DES3": "3DES"},
    HashingAlgorithm: {f"SHA_{size}": f"SHA-{size}" for size in (1, 224, 256, 384, 512)},
}
_APART: Final = (
    ObjectType,
    State,
    RevocationReasonCode,
    LinkType,
    NameType,
    AlternativeNameType,
)
"""Enumerations whose words are titles; those of cryptography are spelled as in XML."""


@cache
def _names(cls: type[Code]) -> dict[int, str]:
    spelled = _SPELLED.get(cls, {})
    apart = cls in _APART
    return {int(code): spelled.get(code.name, code.title if apart else code.label) for code in cls}


@cache
def _codes(cls: type[C]) -> dict[str, C]:
    return {name: cls(code) for code, name in _names(cls).items()}


def name_of(cls: type[C], code: C | int) -> str:
    """The core's name of a value; ``InvalidField`` for a number without a meaning."""
    name = _names(cls).get(code)
    if name is not None:
        return name
    if code not in EXTENSIONS:
        raise InvalidField(f"{cls.__name__}: {code} has no meaning")
    return f"0x{code:08X}"


def code_of(cls: type[C], name: str) -> C | int:
    """The number of a name; ``InvalidField`` when there is none."""
    found: C | None = _codes(cls).get(name)
    if found is not None:
        return found
    try:
        number = int(name, 16) if len(name) == 10 else -1
    except ValueError:
        number = -1
    if number not in EXTENSIONS:
        raise InvalidField(f"{cls.__name__}: there is no {name[:64]}")
    return number


DATES: Final = frozenset(name for name, kind in ATTRIBUTES.items() if kind == DateTime)
"""Names of attributes that are times."""

_CODES: Final[dict[str, type[Code]]] = {
    "Object Type": ObjectType,
    "Cryptographic Algorithm": CryptographicAlgorithm,
    "State": State,
}
_PARAMETERS: Final[dict[str, type[Code] | None]] = {
    "block_cipher_mode": BlockCipherMode,
    "padding_method": PaddingMethod,
    "hashing_algorithm": HashingAlgorithm,
    "key_role_type": KeyRoleType,
    "digital_signature_algorithm": DigitalSignatureAlgorithm,
    "cryptographic_algorithm": CryptographicAlgorithm,
    "random_iv": None,
    "iv_length": None,
    "tag_length": None,
    "fixed_field_length": None,
    "invocation_field_length": None,
    "counter_length": None,
    "initial_counter_value": None,
}
"""Fields of Cryptographic Parameters that the core has, with their enumerations."""

_GENERATOR: Final[dict[str, type[Code] | None]] = {
    "rng_algorithm": RNGAlgorithm,
    "cryptographic_algorithm": CryptographicAlgorithm,
    "cryptographic_length": None,
    "hashing_algorithm": HashingAlgorithm,
    "drbg_algorithm": DRBGAlgorithm,
    "recommended_curve": RecommendedCurve,
    "fips186_variation": FIPS186Variation,
    "prediction_resistance": None,
}
"""Fields of Random Number Generator, in the same form."""

_TYPES: Final = {
    Type.LONG_INTEGER: core.ItemType.LONG_INTEGER,
    Type.BIG_INTEGER: core.ItemType.BIG_INTEGER,
    Type.ENUMERATION: core.ItemType.ENUMERATION,
    Type.BYTE_STRING: core.ItemType.BYTE_STRING,
    Type.DATE_TIME: core.ItemType.DATE_TIME,
    Type.INTERVAL: core.ItemType.INTERVAL,
}
_SMALL: Final = range(-(2**31), 2**31)


# ---- from the wire --------------------------------------------------------------------------


def read(attribute: Attribute) -> core.Attribute:
    """The attribute; ``InvalidField``, ``FeatureNotSupported``."""
    name, value = attribute.attribute_name, attribute.attribute_value
    if value is None:
        raise InvalidField(f"{name[:64]}: there is no value")
    return core.Attribute(name=name, index=attribute.attribute_index or 0, value=_read(name, value))


def parameters(found: wire.CryptographicParameters) -> core.CryptographicParametersValue:
    """These parameters; ``FeatureNotSupported`` for those of other ciphers."""
    return core.CryptographicParametersValue(**_read_fields(found, _PARAMETERS))


def _read_fields(found: Fields, known: dict[str, type[Code] | None]) -> dict[str, Any]:
    """The fields that are set, with the core's names for numbers."""
    values: dict[str, Any] = {}
    for field in found.__struct_fields__:
        value = getattr(found, field)
        if value is None:
            continue
        if field not in known:
            raise FeatureNotSupported(f"{Tag[field.upper()].label}: nothing here uses it")
        cls = known[field]
        values[field] = value if cls is None else name_of(cls, value)
    return values


def revocation(found: wire.RevocationReason) -> core.Revocation:
    """The revocation reason; ``InvalidField`` for a reason of a vendor."""
    name = name_of(RevocationReasonCode, found.revocation_reason_code)
    if name not in list(RevocationReason):
        raise InvalidField(f"Revocation Reason Code: {name} has no meaning here")
    return core.Revocation(code=RevocationReason(name), message=found.revocation_message or "")


def _read(name: str, value: Any) -> core.Value:
    if name in DATES:
        return float(value)
    if name in _CODES:
        return name_of(_CODES[name], value)
    reader = _READERS.get(type(value))
    if reader is not None:
        return reader(value)
    if isinstance(value, str | int):  # includes booleans
        return value
    raise FeatureNotSupported(f"{name[:64]}: no key here has it")


def _custom(node: TtlvItem) -> core.Value:
    if node.type is not Type.STRUCTURE:
        return _plain(node)
    if any(field.type is Type.STRUCTURE for field in node.items()):
        raise InvalidField("a custom attribute that is a structure has no structures in it")
    fields = [core.StructureField(field.tag, _plain(field)) for field in node.items()]
    return core.Structure(fields=tuple(fields))


def _plain(node: TtlvItem) -> str | int | bool | core.Typed:
    if node.type in _TYPES:
        return core.Typed(type=_TYPES[node.type], value=node.value)
    value: str | int | bool = node.value
    return value


def _limits(found: wire.UsageLimits) -> core.UsageLimitsValue:
    if found.usage_limits_count not in (None, found.usage_limits_total):
        raise InvalidField("Usage Limits Count: the server counts it")
    unit = name_of(UsageLimitsUnit, found.usage_limits_unit)
    return core.UsageLimitsValue(total=found.usage_limits_total, unit=unit)


_READERS: Final[dict[type, Callable[[Any], core.Value]]] = {
    wire.Name: lambda v: core.ObjectName(value=v.name_value, type=name_of(NameType, v.name_type)),
    wire.Link: lambda v: core.ObjectLink(
        type=name_of(LinkType, v.link_type), linked=v.linked_object_identifier
    ),
    wire.Digest: lambda v: core.ObjectDigest(
        digest=v.digest_value or b"",
        algorithm=name_of(HashingAlgorithm, v.hashing_algorithm),
        format=name_of(KeyFormatType, v.key_format_type or KeyFormatType.RAW),
    ),
    wire.AlternativeName: lambda v: core.AlternativeNameValue(
        value=v.alternative_name_value, type=name_of(AlternativeNameType, v.alternative_name_type)
    ),
    wire.RNGParameters: lambda v: core.RandomNumberGenerator(**_read_fields(v, _GENERATOR)),
    wire.ApplicationSpecificInformation: lambda v: core.ApplicationData(
        namespace=v.application_namespace, data=v.application_data or ""
    ),
    wire.RevocationReason: revocation,
    wire.UsageLimits: _limits,
    wire.CryptographicParameters: parameters,
    TtlvItem: _custom,
}


# ---- to the wire ----------------------------------------------------------------------------


def write(attribute: core.Attribute, minor: int) -> Attribute:
    """The attribute in a message of version 1.``minor``; an index of 0 is omitted."""
    return Attribute(
        attribute_name=attribute.name,
        attribute_index=attribute.index or None,
        attribute_value=_write(attribute.name, attribute.value, minor),
    )


def write_known(found: Iterable[core.Attribute], minor: int) -> tuple[Attribute, ...]:
    """Those of these attributes that the version has."""
    return tuple([write(one, minor) for one in found if SINCE.get(one.name, 0) <= minor])


def _write(name: str, value: core.Value, minor: int) -> Any:
    if isinstance(value, str) and name in _CODES:
        return code_of(_CODES[name], value)
    writer = _WRITERS.get(type(value))
    if writer is not None:
        return writer(value)
    if isinstance(value, core.ObjectDigest):
        return wire.Digest(
            hashing_algorithm=code_of(HashingAlgorithm, value.algorithm),
            digest_value=value.digest,
            key_format_type=code_of(KeyFormatType, value.format) if minor else None,
        )
    if name in ATTRIBUTES:
        return int(value) if isinstance(value, float) else value
    return _own(value)


def _own(value: Any, tag: int = Tag.ATTRIBUTE_VALUE) -> TtlvItem:
    """The value of a custom attribute, or of a field in one."""
    if isinstance(value, core.Structure):
        return TtlvItem(
            tag, Type.STRUCTURE, tuple([_own(one.value, one.tag) for one in value.fields])
        )
    if isinstance(value, core.Typed):
        kind = next(kind for kind, named in _TYPES.items() if named is value.type)
        return TtlvItem(tag, kind, value.value)
    if isinstance(value, str):
        return TtlvItem(tag, Type.TEXT_STRING, value)
    if isinstance(value, bool):
        return TtlvItem(tag, Type.BOOLEAN, value)
    return TtlvItem(tag, Type.INTEGER if value in _SMALL else Type.LONG_INTEGER, value)


def _write_fields(value: core.Value, known: dict[str, type[Code] | None]) -> dict[str, Any]:
    """The inverse of ``_read_fields``."""
    fields: dict[str, Any] = {}
    for field, cls in known.items():
        held = getattr(value, field)
        fields[field] = held if held is None or cls is None else code_of(cls, held)
    return fields


def generator(value: core.RandomNumberGenerator) -> wire.RNGParameters:
    """A generator as RNG Parameters."""
    return wire.RNGParameters(**_write_fields(value, _GENERATOR))


_WRITERS: Final[dict[type, Callable[[Any], Any]]] = {
    core.ObjectName: lambda v: wire.Name(name_value=v.value, name_type=code_of(NameType, v.type)),
    core.ObjectLink: lambda v: wire.Link(
        link_type=code_of(LinkType, v.type), linked_object_identifier=v.linked
    ),
    core.ApplicationData: lambda v: wire.ApplicationSpecificInformation(
        application_namespace=v.namespace, application_data=v.data or None
    ),
    core.Revocation: lambda v: wire.RevocationReason(
        revocation_reason_code=code_of(RevocationReasonCode, v.code),
        revocation_message=v.message or None,
    ),
    core.UsageLimitsValue: lambda v: wire.UsageLimits(
        usage_limits_total=v.total,
        usage_limits_count=v.left,
        usage_limits_unit=code_of(UsageLimitsUnit, v.unit),
    ),
    core.CryptographicParametersValue: lambda v: wire.CryptographicParameters(
        **_write_fields(v, _PARAMETERS)
    ),
    core.AlternativeNameValue: lambda v: wire.AlternativeName(
        alternative_name_value=v.value,
        alternative_name_type=code_of(AlternativeNameType, v.type),
    ),
    core.RandomNumberGenerator: generator,
}
