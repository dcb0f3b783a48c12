"""Two servers' rows of one key become one, the same on both whoever hears first.

States are joined upwards (``states.joined``), each date is the earliest that either has, and
material that one has destroyed is gone from both. What never changes must be equal: an id that
comes with another scope, kind or material is refused, so no id ever has two materials.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from protocol.secret import KeyMaterial
from protocol.terms import ResultReason
from services.kms import states, store
from services.kms.operations import Operation
from services.kms.store import KeyRow
from services.kms.work import Work

_NEVER_CHANGE: Final = (
    "scope",
    "operation_id",
    "origin",
    "algorithm",
    "length",
    "usage_mask",
    "initial_date",
)
_EARLIEST: Final = ("activation_date", "deactivation_date", "compromise_date", "destroy_date")


class Replica(NamedTuple):
    """A key as a server has it, and its material; ``wrapped`` and ``changed`` mean nothing here."""

    row: KeyRow
    secret: KeyMaterial | None


def take(work: Work, replica: Replica, nonce: bytes) -> bool:
    """Draft what becomes of a key of the peer; False when it is refused, which is noted.

    ``nonce`` wraps material that is new here. Where this server knows more, the peer has to learn
    it in turn.
    """
    theirs, mine = replica.row, work.find(replica.row.key_id)
    if mine is None:
        work.take(_wrapped(work, replica, nonce), Operation.REPLICATE, new=True)
        return True
    if not _same_key(work, mine, replica):
        work.note(Operation.REPLICATE, mine.key_id, mine.scope, ResultReason.CRYPTOGRAPHIC_FAILURE)
        return False
    merged = merge(mine, theirs)
    if merged != mine:
        work.take(merged, Operation.REPLICATE)
    if _told(merged) != _told(theirs):
        work.tell(merged)
    return True


def merge(mine: KeyRow, theirs: KeyRow) -> KeyRow:
    """My row with what theirs adds to it."""
    state = states.joined(mine.state, theirs.state)
    return msgspec.structs.replace(
        mine,
        state=state,
        last_change_date=max(mine.last_change_date, theirs.last_change_date),
        wrapped=mine.wrapped if states.has_material(state) else None,
        **{name: _earliest(getattr(mine, name), getattr(theirs, name)) for name in _EARLIEST},
    )


def _wrapped(work: Work, replica: Replica, nonce: bytes) -> KeyRow:
    row = replica.row
    if replica.secret is None:
        return msgspec.structs.replace(row, wrapped=None)
    aad = store.binding(row.key_id, row.scope, row.algorithm, row.length, row.usage_mask)
    return msgspec.structs.replace(row, wrapped=work.vault.close(replica.secret, aad, nonce))


def _same_key(work: Work, mine: KeyRow, replica: Replica) -> bool:
    theirs = replica.row
    if any(getattr(mine, name) != getattr(theirs, name) for name in _NEVER_CHANGE):
        return False
    material = work.material(mine)
    return material is None or replica.secret is None or material == replica.secret


def _told(row: KeyRow) -> KeyRow:
    """What two servers compare: all but how each of them keeps it."""
    return msgspec.structs.replace(row, wrapped=None, changed=0)


def _earliest(*dates: float | None) -> float | None:
    known: Iterable[float] = [date for date in dates if date is not None]
    return min(known, default=None)
