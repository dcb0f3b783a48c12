"""One key as a key server stores it; the life of a key as a table of states (KMIP 1.4 section 3.22;
STD-18); and attributes that no client sets one by one, because they follow from the row or from
what this server does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from protocol.attributes import ObjectDigest, RandomNumberGenerator, Stamped, Value
from protocol.terms import KeyId, KmipState, NodeName, RevocationReason


class Transition(StrEnum):
    """A requested change of a key's state."""

    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    COMPROMISE = "compromise"
    DESTROY = "destroy"


_PRE, _ACTIVE, _OFF = KmipState.PRE_ACTIVE, KmipState.ACTIVE, KmipState.DEACTIVATED
_COMP, _GONE, _GONE_COMP = (
    KmipState.COMPROMISED,
    KmipState.DESTROYED,
    KmipState.DESTROYED_COMPROMISED,
)

DESTROYED: Final = (_GONE, _GONE_COMP)
"""States of a key whose material is wiped."""

_TABLE: Final[dict[Transition, dict[KmipState, KmipState]]] = {
    Transition.ACTIVATE: {_PRE: _ACTIVE, _ACTIVE: _ACTIVE},
    Transition.DEACTIVATE: {_ACTIVE: _OFF, _OFF: _OFF},
    Transition.COMPROMISE: {
        _PRE: _COMP,
        _ACTIVE: _COMP,
        _OFF: _COMP,
        _COMP: _COMP,
        _GONE: _GONE_COMP,
        _GONE_COMP: _GONE_COMP,
    },
    Transition.DESTROY: {
        _PRE: _GONE,
        _OFF: _GONE,
        _COMP: _GONE_COMP,
        _GONE: _GONE,
        _GONE_COMP: _GONE_COMP,
    },
}

_PROTECTING: Final = frozenset({_ACTIVE})
_PROCESSING: Final = frozenset({_ACTIVE, _OFF, _COMP})
_WITH_MATERIAL: Final = frozenset({_PRE, _ACTIVE, _OFF, _COMP})


def state_after(state: KmipState, transition: Transition) -> KmipState | None:
    """The state after ``transition``, equal to ``state`` for no change, None when it is refused."""
    return _TABLE[transition].get(state)


def state_at(
    state: KmipState, activation: float | None, deactivation: float | None, now: float
) -> tuple[KmipState, float]:
    """The state at the time ``now``, and since when the key is in it (rule 9); 0 if always.

    Dates in Unix seconds.
    """
    since = 0.0
    if state is _PRE and activation is not None and activation <= now:
        state, since = _ACTIVE, activation
    if state is _ACTIVE and deactivation is not None and deactivation <= now:
        state, since = _OFF, deactivation
    return state, since


def protects(state: KmipState, protect_stop: float | None, now: float) -> bool:
    """Whether the key may encrypt (rule 10)."""
    return state in _PROTECTING and (protect_stop is None or now < protect_stop)


def processes(state: KmipState, process_start: float | None, now: float) -> bool:
    """Whether the key may decrypt (rule 10)."""
    return state in _PROCESSING and (process_start is None or now >= process_start)


_ORDER: Final = (_PRE, _ACTIVE, _OFF, _COMP, _GONE, _GONE_COMP)


def join_states(one: KmipState, other: KmipState) -> KmipState:
    """The least state that is not below either of two (rule 8)."""
    if {one, other} == {_COMP, _GONE}:
        return _GONE_COMP
    return max(one, other, key=_ORDER.index)


def has_material(state: KmipState) -> bool:
    """Whether the key has material for Get (rule 7)."""
    return state in _WITH_MATERIAL


def rank(state: KmipState) -> int:
    """The position of the state in the order of rule 6."""
    return _ORDER.index(state)


def revocation(reason: RevocationReason) -> Transition:
    """The transition of a Revoke with this reason (rules 2 and 3)."""
    compromise = (RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE)
    return Transition.COMPROMISE if reason in compromise else Transition.DEACTIVATE


class StoredKeyRow(msgspec.Struct, frozen=True, array_like=True):
    """One key as stored, fields in the order of the columns; ``wrapped`` None once destroyed.

    ``origin`` is the server that made it. ``digest`` is SHA-256 of the material, which outlives
    it. ``attributes`` as in ``services.kms.objects.attributes``.
    """

    key_id: KeyId
    scope: str
    operation_id: str
    origin: NodeName
    algorithm: str
    length: int
    usage_mask: int
    state: KmipState
    initial_date: float
    activation_date: float | None
    deactivation_date: float | None
    compromise_date: float | None
    destroy_date: float | None
    last_change_date: float
    wrapped: bytes | None
    changed: int
    digest: bytes = b""
    attributes: bytes = b""


def as_at(row: StoredKeyRow, at: float) -> StoredKeyRow:
    """The key at the time ``at``, with the state changes of dates that have come.

    The state is written when it is reported (``work``), so a clock that is set back undoes nothing
    that was reported.
    """
    state, since = state_at(row.state, row.activation_date, row.deactivation_date, at)
    if state is row.state:
        return row
    last = max(row.last_change_date, since)
    return msgspec.structs.replace(row, state=state, last_change_date=last)


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


def implied_value(row: StoredKeyRow, held: Mapping[str, Stamped], name: str) -> Value | None:
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


def implied_names(row: StoredKeyRow, held: Mapping[str, Stamped]) -> list[str]:
    """The names of those that the key has."""
    return [name for name in NAMES if implied_value(row, held, name) is not None]


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
