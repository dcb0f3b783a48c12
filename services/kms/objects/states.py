"""The life of a key (KMIP 1.4 section 3.22; STD-18), as a table.

1. Pre-Active -> Active by Activate.
2. Active -> Deactivated by Revoke for any reason but a compromise; from Active only.
3. Pre-Active, Active, Deactivated -> Compromised by Revoke for key or CA compromise;
   Destroyed -> Destroyed Compromised likewise.
4. Pre-Active, Deactivated -> Destroyed, Compromised -> Destroyed Compromised, by Destroy. An
   Active key is revoked first. Destroying wipes the material and keeps the tombstone.
5. A step whose result is there already changes nothing: each names a wanted state, so a
   repeated message is harmless. So Destroy of a destroyed key of either kind succeeds.
6. Everything else is refused, so a late repeat cannot lead back: no step goes down in the order
   Pre-Active, Active, Deactivated, Compromised, Destroyed, Destroyed Compromised.
7. Get works while there is material: in the first four. Attributes are told in all six.
8. Two servers that changed one key apart from each other agree on the least state that is not
   below either (``joined``): of Compromised and Destroyed that is Destroyed Compromised.

9. A date that has come changes the state by itself: Activation Date, Pre-Active to Active;
   Deactivation Date, Active to Deactivated (``at``). Nothing else has a date ahead. The state is
   written when somebody is told of it: a clock that is put back leads nothing back.
10. Encrypt is for an Active key until its Protect Stop Date; Decrypt for one that is Active,
   Deactivated or Compromised, from its Process Start Date on.

KMIP has no rule 5, and its reason for 6 in versions below 2.0 is Permission Denied: that is what
a request gets that does not say that it may be a repeat. To one that does, a refused step is
``WrongKeyLifecycleState``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from protocol.terms import KmipState, RevocationReason


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


def after(state: KmipState, transition: Transition) -> KmipState | None:
    """The state after ``transition``, equal to ``state`` for no change, None when it is refused."""
    return _TABLE[transition].get(state)


def at(
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
