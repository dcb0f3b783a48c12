"""Attributes as they lie on the wire and as the core has them (KMIP 1.4 section 3).

One table says for each class of value how it is read and written. What KMIP can say and the core
has no place for is ``FeatureNotSupported``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from protocol import attributes as core
from protocol.errors import FeatureNotSupported, InvalidField
from protocol.kmip import structures as wire
from protocol.kmip.algorithms import (
    BlockCipherMode,
    CryptographicAlgorithm,
    DigitalSignatureAlgorithm,
    HashingAlgorithm,
    KeyFormatType,
    KeyRoleType,
    PaddingMethod,
)
from protocol.kmip.attributes import ATTRIBUTES, SINCE, Attribute
from protocol.kmip.code import Code
from protocol.kmip.enums import (
    LinkType,
    NameType,
    ObjectType,
    RevocationReasonCode,
    State,
    UsageLimitsUnit,
)
from protocol.kmip.fields import DateTime
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import Node, Type
from protocol.terms import RevocationReason
from services.kms.doors.kmip.words import code_of, given

EXPOSURE: Final = {
    "Sensitive": False,
    "Always Sensitive": False,
    "Extractable": True,
    "Never Extractable": False,
}
"""How far material may leave (KMIP 1.4 sections 3.48 to 3.51), the same for every key: whoever may
Get a key gets it in clear. A client cannot ask for anything else."""

DATES: Final = frozenset(name for name, kind in ATTRIBUTES.items() if kind == DateTime)
"""Names of attributes that are a moment."""

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


def parameters(found: wire.CryptographicParameters) -> core.CryptographicParameters:
    """These parameters; ``FeatureNotSupported`` for those of other ciphers."""
    values: dict[str, Any] = {}
    for field in found.__struct_fields__:
        value = getattr(found, field)
        if value is None:
            continue
        if field not in _PARAMETERS:
            raise FeatureNotSupported(f"{Tag[field.upper()].label}: nothing here uses it")
        cls = _PARAMETERS[field]
        values[field] = value if cls is None else given(cls, value)
    return core.CryptographicParameters(**values)


def revocation(found: wire.RevocationReason) -> core.Revocation:
    """Why a key is revoked; ``InvalidField`` for a reason of a vendor."""
    name = given(RevocationReasonCode, found.revocation_reason_code)
    if name not in list(RevocationReason):
        raise InvalidField(f"Revocation Reason Code: {name} has no meaning here")
    return core.Revocation(code=RevocationReason(name), message=found.revocation_message or "")


def _read(name: str, value: Any) -> core.Value:
    if name in DATES:
        return float(value)
    if name in _CODES:
        return given(_CODES[name], value)
    reader = _READERS.get(type(value))
    if reader is not None:
        return reader(value)
    if isinstance(value, str | int):  # a truth value too
        return value
    raise FeatureNotSupported(f"{name[:64]}: no key here has it")


def _custom(node: Node) -> core.Value:
    if node.type in (Type.INTEGER, Type.BOOLEAN, Type.TEXT_STRING):
        value: core.Value = node.value
        return value
    if node.type not in _TYPES:
        raise FeatureNotSupported("an attribute of one's own is no structure here")
    return core.Typed(type=_TYPES[node.type], value=node.value)


def _limits(found: wire.UsageLimits) -> core.UsageLimits:
    if found.usage_limits_count not in (None, found.usage_limits_total):
        raise InvalidField("Usage Limits Count: the server counts it")
    unit = given(UsageLimitsUnit, found.usage_limits_unit)
    return core.UsageLimits(total=found.usage_limits_total, unit=unit)


_READERS: Final[dict[type, Callable[[Any], core.Value]]] = {
    wire.Name: lambda v: core.ObjectName(value=v.name_value, type=given(NameType, v.name_type)),
    wire.Link: lambda v: core.ObjectLink(
        type=given(LinkType, v.link_type), linked=v.linked_object_identifier
    ),
    wire.Digest: lambda v: core.ObjectDigest(
        digest=v.digest_value or b"",
        algorithm=given(HashingAlgorithm, v.hashing_algorithm),
        format=given(KeyFormatType, v.key_format_type or KeyFormatType.RAW),
    ),
    wire.ApplicationSpecificInformation: lambda v: core.ApplicationData(
        namespace=v.application_namespace, data=v.application_data or ""
    ),
    wire.RevocationReason: revocation,
    wire.UsageLimits: _limits,
    wire.CryptographicParameters: parameters,
    Node: _custom,
}


# ---- to the wire ----------------------------------------------------------------------------


def write(attribute: core.Attribute, minor: int) -> Attribute:
    """The attribute in a message of version 1.``minor``; an index of 0 is not said."""
    return Attribute(
        attribute_name=attribute.name,
        attribute_index=attribute.index or None,
        attribute_value=_write(attribute.name, attribute.value, minor),
    )


def written(found: Iterable[core.Attribute], minor: int) -> tuple[Attribute, ...]:
    """Those of these that such a message knows."""
    return tuple([write(one, minor) for one in found if SINCE.get(one.name, 0) <= minor])


def exposure(names: Iterable[str], minor: int) -> tuple[Attribute, ...]:
    """Those attributes of ``EXPOSURE`` that are asked for; all of them for no name."""
    chosen = tuple(names) or tuple(EXPOSURE)
    return tuple(
        [
            Attribute(attribute_name=name, attribute_value=EXPOSURE[name])
            for name in chosen
            if name in EXPOSURE and SINCE[name] <= minor
        ]
    )


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
    if name in ATTRIBUTES or isinstance(value, str):
        return int(value) if isinstance(value, float) else value
    return _own(value)


def _own(value: Any) -> Node:
    """The value of a custom attribute that is no text."""
    if isinstance(value, bool):
        return Node(Tag.ATTRIBUTE_VALUE, Type.BOOLEAN, value)
    if isinstance(value, core.Typed):
        kind = next(kind for kind, named in _TYPES.items() if named is value.type)
        return Node(Tag.ATTRIBUTE_VALUE, kind, value.value)
    kind = Type.INTEGER if value in _SMALL else Type.LONG_INTEGER
    return Node(Tag.ATTRIBUTE_VALUE, kind, value)


def _write_parameters(value: core.CryptographicParameters) -> wire.CryptographicParameters:
    fields: dict[str, Any] = {}
    for field, cls in _PARAMETERS.items():
        held = getattr(value, field)
        fields[field] = held if held is None or cls is None else code_of(cls, held)
    return wire.CryptographicParameters(**fields)


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
    core.UsageLimits: lambda v: wire.UsageLimits(
        usage_limits_total=v.total,
        usage_limits_count=v.left,
        usage_limits_unit=code_of(UsageLimitsUnit, v.unit),
    ),
    core.CryptographicParameters: _write_parameters,
}
