"""Attributes that no client sets one by one: they follow from a row, or from what this server does.

Most are columns of the row. Some stand in its ``attributes``, written by the server:

1. A key is *fresh* until its material has been given to a client (KMIP 1.4 section 3.34): the first
   Get ends that. It is held as long as it is so, and what is not held is not fresh, so no server
   reports a key as fresh that cannot know it.
2. A key that was made here was made on its Initial Date; of one that was brought, its client may
   say when it was made, or nobody knows (KMIP 1.4 section 3.43).
3. A key that was brought in another format than its bytes has the digest of that one too.
4. A key that was made here was drawn from the generator of this server, whose algorithm is not
   specified; of one that was brought, its client may say it (KMIP 1.4 section 3.44).
5. A key is not Sensitive and is Extractable unless its client says otherwise. It is Always
   Sensitive, or Never Extractable, when it was so from the first and ever since (KMIP 1.4 sections
   3.48 to 3.51). What is as it is by default is not held.

Every key is lent for an hour; Obtain Lease lends it again (KMIP 1.4 section 3.20).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocol.attributes import ObjectDigest, RandomNumberGenerator, Stamped, Value
from services.kms.objects.key_row import StoredKeyRow

OBJECT_TYPE: Final = "Symmetric Key"
FRESH, MADE, LEASE, DIGEST = "Fresh", "Original Creation Date", "Lease Time", "Digest"
GENERATOR: Final = "Random Number Generator"
SENSITIVE, EXTRACTABLE = "Sensitive", "Extractable"
LEASE_S: Final = 3600

OWN_GENERATOR: Final = RandomNumberGenerator()
"""The generator of keys here: the operating system's, for which KMIP has no name."""

EVER_SINCE: Final[Mapping[str, str]] = {
    SENSITIVE: "Always Sensitive",
    EXTRACTABLE: "Never Extractable",
}
"""Attributes, and those that record whether these ever differed from their defaults (rule 5)."""

BY_DEFAULT: Final[Mapping[str, bool]] = {
    FRESH: False,
    SENSITIVE: False,
    EVER_SINCE[SENSITIVE]: False,
    EXTRACTABLE: True,
    EVER_SINCE[EXTRACTABLE]: False,
}
"""Attributes that a row stores only when they differ from this."""

_UNKNOWN: Final = ""
"""In place of the unknown date on which a registered key was made."""

NAMES: Final = (
    "Unique Identifier",
    "Object Type",
    "Cryptographic Algorithm",
    "Cryptographic Length",
    "Cryptographic Usage Mask",
    DIGEST,
    "State",
    "Initial Date",
    "Destroy Date",
    "Compromise Date",
    "Last Change Date",
    FRESH,
    MADE,
    LEASE,
    GENERATOR,
    SENSITIVE,
    EVER_SINCE[SENSITIVE],
    EXTRACTABLE,
    EVER_SINCE[EXTRACTABLE],
    "Activation Date",
    "Deactivation Date",
)
"""In the order in which they are reported."""

AT_FIRST: Final[Mapping[str, tuple[type, ...]]] = {
    FRESH: (bool,),
    MADE: (int, float),
    GENERATOR: (RandomNumberGenerator,),
    SENSITIVE: (bool,),
    EXTRACTABLE: (bool,),
}
"""Attributes that a client may set when a key is created or registered."""


def value(row: StoredKeyRow, held: Mapping[str, Stamped], name: str) -> Value | None:
    """The attribute of that name; None when it has no value. ``held`` are those stored in the
    row."""
    match name:
        case "Unique Identifier":
            return row.key_id
        case "Object Type":
            return OBJECT_TYPE
        case "Cryptographic Algorithm":
            return row.algorithm
        case "Cryptographic Length":
            return row.length
        case "Cryptographic Usage Mask":
            return row.usage_mask
        case "State":
            return row.state.value
        case "Digest":
            other = _find_value(held, DIGEST)
            return other or (ObjectDigest(digest=row.digest) if row.digest else None)
        case "Initial Date":
            return row.initial_date
        case "Activation Date":
            return row.activation_date
        case "Deactivation Date":
            return row.deactivation_date
        case "Destroy Date":
            return row.destroy_date
        case "Compromise Date":
            return row.compromise_date
        case "Last Change Date":
            return row.last_change_date
        case "Original Creation Date":
            made = _find_value(held, MADE)
            return row.initial_date if made is None else _value_if_known(made)
        case "Lease Time":
            return LEASE_S
        case "Random Number Generator":
            generator = _find_value(held, GENERATOR)
            return OWN_GENERATOR if generator is None and MADE not in held else generator
    if name in BY_DEFAULT:
        return BY_DEFAULT[name] if _find_value(held, name) is None else not BY_DEFAULT[name]
    return None


def names(row: StoredKeyRow, held: Mapping[str, Stamped]) -> list[str]:
    """The names of those that the key has."""
    return [name for name in NAMES if value(row, held, name) is not None]


def is_fresh(held: Mapping[str, Stamped]) -> bool:
    """Whether the material was given to no client yet (rule 1)."""
    return _find_value(held, FRESH) is not None


def initial_values(stated: Mapping[str, Value], *, brought: bool) -> dict[str, Value]:
    """The attributes that a new key stores, when its client ``stated`` these of ``AT_FIRST``."""
    kept: dict[str, Value] = {FRESH: True} if stated.get(FRESH, True) else {}
    if MADE in stated or brought:
        kept[MADE] = stated.get(MADE, _UNKNOWN)
        if GENERATOR in stated or not brought:
            kept[GENERATOR] = stated.get(GENERATOR, OWN_GENERATOR)
    for name, ever_since in EVER_SINCE.items():
        if stated.get(name) is (not BY_DEFAULT[name]):
            kept |= {name: not BY_DEFAULT[name], ever_since: True}
    return kept


def _value_if_known(made: Value) -> Value | None:
    return None if made == _UNKNOWN else made


def _find_value(held: Mapping[str, Stamped], name: str) -> Value | None:
    found = held.get(name)
    return found.instances[0][1] if found is not None and found.instances else None
