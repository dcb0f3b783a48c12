"""Create, Register and Get: the keys themselves, as bytes or as a structure.

A Transparent Symmetric Key is a structure with the bytes in it (KMIP 1.4 section 2.1.7.1).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any, Final, cast

from protocol import attributes as core
from protocol.crypto import wrap
from protocol.errors import (
    EncodingOptionError,
    FeatureNotSupported,
    InvalidField,
    InvalidMessage,
    ItemNotFound,
    KeyCompressionTypeNotSupported,
    KeyFormatTypeNotSupported,
)
from protocol.kmip import payloads as p
from protocol.kmip.algorithms import (
    CryptographicAlgorithm,
    EncodingOption,
    KeyFormatType,
    WrappingMethod,
)
from protocol.kmip.compiler import encoder_of
from protocol.kmip.enums import ObjectType
from protocol.kmip.objects import (
    KeyBlock,
    KeyValue,
    KeyWrappingData,
    KeyWrappingSpecification,
    SymmetricKey,
    TemplateAttribute,
)
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type, encode
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.endpoints.kmip import values
from services.kms.endpoints.kmip.values import code_of, name_of
from services.kms.objects import request_types as r

ALGORITHM, LENGTH = "Cryptographic Algorithm", "Cryptographic Length"
MASK: Final = "Cryptographic Usage Mask"
_UNWRAPPED: Final = (1, 2)  # Key Wrap Type: Not Wrapped, As Registered


def create(payload: p.CreateRequest) -> r.Create:
    """The core's request; algorithm, length and usage mask are required."""
    _symmetric(payload.object_type)
    facts, others = _template(payload.template_attribute)
    return r.Create(
        algorithm=_fact(facts, ALGORITHM, str),
        length=_fact(facts, LENGTH, int),
        usage_mask=_fact(facts, MASK, int),
        attributes=others,
    )


def create_response(context: Any, done: r.Created) -> p.CreateResponse:
    """The id of the key."""
    return p.CreateResponse(
        object_type=ObjectType.SYMMETRIC_KEY, unique_identifier=done.unique_identifier
    )


def register(payload: p.RegisterRequest) -> r.Register:
    """The core's request; key block and template must agree."""
    _symmetric(payload.object_type)
    if not isinstance(payload.object, SymmetricKey):
        raise InvalidField("Register: there is no Symmetric Key in it")
    block = payload.object.key_block
    facts, others = _template(payload.template_attribute)
    if block.cryptographic_algorithm is not None:
        _check_agreement(
            facts, ALGORITHM, name_of(CryptographicAlgorithm, block.cryptographic_algorithm)
        )
    if block.cryptographic_length is not None:
        _check_agreement(facts, LENGTH, block.cryptographic_length)
    material = _material(block)
    return r.Register(
        algorithm=_fact(facts, ALGORITHM, str),
        length=_fact(facts, LENGTH, int),
        usage_mask=_fact(facts, MASK, int),
        attributes=others,
        material=material,
        digest=_digest(block, material),
    )


def register_response(context: Any, done: r.Created) -> p.RegisterResponse:
    """The id of the key."""
    return p.RegisterResponse(unique_identifier=done.unique_identifier)


def rekey(payload: p.ReKeyRequest) -> r.ReKey:
    """The core's request; kind and length in the template must be those of the key."""
    facts, others = _template(payload.template_attribute or TemplateAttribute())
    same = [core.Attribute(name=name, value=value) for name, value in facts.items()]
    named = payload.unique_identifier
    return r.ReKey(
        unique_identifier=None if named is None else KeyId(named),
        offset=payload.offset,
        attributes=(*same, *others),
    )


def get(payload: p.GetRequest) -> r.Get:
    """The core's request, with the requested form of the key."""
    if payload.key_format_type not in (None, *_FORMATS):
        raise KeyFormatTypeNotSupported
    if payload.key_compression_type is not None:
        raise KeyCompressionTypeNotSupported
    specification = payload.key_wrapping_specification
    wrap = payload.key_wrap_type
    if wrap is not None and (wrap.type is not Type.ENUMERATION or wrap.value not in _UNWRAPPED):
        raise FeatureNotSupported("Key Wrap Type: keys are not wrapped when they are registered")
    named = payload.unique_identifier
    return r.Get(
        unique_identifiers=None if named is None else (KeyId(named),),
        required=True,
        wrapping=None
        if specification is None
        else _wrapping(specification, payload.key_format_type),
    )


def get_response(context: Any, found: r.Got) -> p.GetResponse:
    """The key."""
    [key] = found.keys
    if key.material is None:  # the request has required the material
        raise ItemNotFound
    kind = context.payload.key_format_type or code_of(KeyFormatType, key.format)
    return p.GetResponse(
        object_type=ObjectType.SYMMETRIC_KEY,
        unique_identifier=key.unique_identifier,
        object=SymmetricKey(
            key_block=KeyBlock(
                key_format_type=kind,
                key_value=_value(context, key, _FORMATS[kind](key.material)),
                cryptographic_algorithm=code_of(CryptographicAlgorithm, key.algorithm),
                cryptographic_length=key.length,
                key_wrapping_data=_wrapping_data(context.payload.key_wrapping_specification),
            )
        ),
    )


def _wrapping(specification: KeyWrappingSpecification, kind: int | None) -> r.KeyWrapping:
    """The wrapping key and its parameters; ``FeatureNotSupported`` for a signature."""
    under = specification.encryption_key_information
    if specification.wrapping_method != WrappingMethod.ENCRYPT or under is None:
        raise FeatureNotSupported("Wrapping Method: keys are encrypted, and not signed")
    if specification.mac_signature_key_information is not None:
        raise FeatureNotSupported("Wrapping Method: keys are encrypted, and not signed")
    if specification.encoding_option == EncodingOption.NO_ENCODING and specification.attribute_name:
        raise EncodingOptionError("bytes alone have no attributes")
    given_ = under.cryptographic_parameters
    return r.KeyWrapping(
        key_id=KeyId(under.unique_identifier),
        parameters=None if given_ is None else values.parameters(given_),
        names=specification.attribute_name,
        alone=specification.encoding_option == EncodingOption.NO_ENCODING,
        format=None if kind is None else name_of(KeyFormatType, kind),
    )


def _value(context: Any, key: r.GotKey, material: KeyMaterial | TtlvItem) -> KeyValue | KeyMaterial:
    """The value in the key block: in clear or wrapped, as bytes or as a structure."""
    clear = KeyValue(
        key_material=material, attribute=values.write_known(key.attributes, context.minor)
    )
    if key.wrapping_key is None:
        return clear
    if context.payload.key_wrapping_specification.encoding_option != EncodingOption.NO_ENCODING:
        body = encoder_of(KeyValue)(clear)
        inner = KeyMaterial(_HEAD.pack(Tag.KEY_VALUE << 8 | Type.STRUCTURE, len(body)) + body)
    else:
        inner = cast(KeyMaterial, material)  # the core has refused to wrap a structure in this form
    return KeyMaterial(wrap.wrap_key(key.wrapping_key, inner))


def _wrapping_data(specification: KeyWrappingSpecification | None) -> KeyWrappingData | None:
    if specification is None:
        return None
    return KeyWrappingData(
        wrapping_method=specification.wrapping_method,
        encryption_key_information=specification.encryption_key_information,
        encoding_option=specification.encoding_option,
    )


_HEAD: Final = struct.Struct(">II")


def _symmetric(kind: int) -> None:
    if kind != ObjectType.SYMMETRIC_KEY:
        raise InvalidField("Object Type: symmetric keys are kept here, and nothing else")


def _template(
    template: TemplateAttribute,
) -> tuple[dict[str, core.Value], tuple[core.Attribute, ...]]:
    """The fixed facts of a key by name, and its other attributes."""
    if template.name:
        raise ItemNotFound("there is no template of that name: templates are not kept here")
    facts: dict[str, core.Value] = {}
    others: list[core.Attribute] = []
    for one in map(values.read, template.attribute):
        if one.name not in (ALGORITHM, LENGTH, MASK):
            others.append(one)
        elif one.name in facts:
            raise InvalidField(f"{one.name} is given twice")
        else:
            facts[one.name] = one.value
    return facts, tuple(others)


def _fact(facts: dict[str, core.Value], name: str, kind: type) -> Any:
    if name not in facts:
        raise InvalidMessage(f"{name} is missing")
    if type(facts[name]) is not kind:
        raise InvalidField(f"{name}: that is no value of its type")
    return facts[name]


def _check_agreement(facts: dict[str, core.Value], name: str, value: core.Value) -> None:
    if facts.setdefault(name, value) != value:
        raise InvalidField(f"{name}: the key block and the template differ")


def _material(block: KeyBlock) -> KeyMaterial:
    if block.key_format_type not in _FORMATS:
        raise KeyFormatTypeNotSupported
    if block.key_compression_type is not None:
        raise KeyCompressionTypeNotSupported
    if block.key_wrapping_data is not None or isinstance(block.key_value, KeyMaterial):
        raise FeatureNotSupported("keys are not wrapped here")
    if block.key_value is None:
        raise InvalidField("Key Value: there is none")
    if block.key_value.attribute:
        raise FeatureNotSupported("attributes of a key come in its template here")
    material = block.key_value.key_material
    if block.key_format_type != KeyFormatType.RAW and isinstance(material, TtlvItem):
        inner = [KeyMaterial(one.value) for one in material.items() if _is_key(one)]
        if len(inner) == 1 == len(material.items()):
            return inner[0]
    elif block.key_format_type == KeyFormatType.RAW and isinstance(material, KeyMaterial):
        return material
    raise InvalidField("Key Material: it is not of its Key Format Type")


def _is_key(node: TtlvItem) -> bool:
    return node.tag == Tag.KEY and node.type is Type.BYTE_STRING


def _transparent(material: KeyMaterial) -> TtlvItem:
    key = TtlvItem(Tag.KEY, Type.BYTE_STRING, material.reveal())
    return TtlvItem(Tag.KEY_MATERIAL, Type.STRUCTURE, (key,))


_FORMATS: Final[dict[int, Callable[[KeyMaterial], KeyMaterial | TtlvItem]]] = {
    KeyFormatType.RAW: lambda material: material,
    KeyFormatType.TRANSPARENT_SYMMETRIC_KEY: _transparent,
}
"""Key formats, and how each stores its material."""


def _digest(block: KeyBlock, material: KeyMaterial) -> core.ObjectDigest | None:
    """The digest of a structure is over its bytes on the wire (KMIP 1.4 section 3.17)."""
    if block.key_format_type == KeyFormatType.RAW:
        return None
    structure = encode(_transparent(material))
    return core.ObjectDigest(
        digest=hashlib.sha256(structure).digest(),
        format=name_of(KeyFormatType, block.key_format_type),
    )
