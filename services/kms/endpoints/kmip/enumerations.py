"""Names of enumerated values on the wire (KMIP 1.4 section 9.1.3). The core uses the names.

The name of a vendor's own value is its hexadecimal number. Every name leads back to its number.
"""

from __future__ import annotations

from functools import cache
from typing import Final, TypeVar

from protocol.errors import InvalidField
from protocol.kmip.algorithms import CryptographicAlgorithm, HashingAlgorithm
from protocol.kmip.code import EXTENSIONS, Code
from protocol.kmip.enums import (
    AlternativeNameType,
    LinkType,
    NameType,
    ObjectType,
    RevocationReasonCode,
    State,
)

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
