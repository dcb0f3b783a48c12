"""Merges two servers' rows of one key into one, with the same result on both, whichever is first.

States are joined upwards (``key_row.join_states``), and material that one server has destroyed is
removed from both. Facts that never change must be equal: an id that arrives with another scope,
kind or material is refused, so no id ever has two materials.

Each attribute is the one with the greater stamp; of Usage Limits, the allocations of each server
count in any case. A date that has not yet changed the state also comes from the last writer. One
that has is the earliest; the dates of a compromise and of destruction are the earliest too. A Name
that two disconnected servers gave to two keys stays with both and is reported (``shared_names``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from protocol.attributes import Stamped
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, ResultReason
from services.kms.audit.audit_trail import TrailEnd
from services.kms.commit import store
from services.kms.commit.unit_of_work import Work
from services.kms.objects import attributes, key_row
from services.kms.objects.key_row import StoredKeyRow, as_at
from services.kms.objects.request_types import CoreOperation
from services.kms.operations import attribute_operations, key_usage
from services.kms.operations.attribute_operations import NameHolders

_NEVER_CHANGE: Final = (
    "scope",
    "operation_id",
    "origin",
    "algorithm",
    "length",
    "usage_mask",
    "initial_date",
    "digest",
)
_EARLIEST: Final = ("compromise_date", "destroy_date")
_AHEAD: Final = (
    (attributes.ACTIVATION, "activation_date", KmipState.ACTIVE),
    (attributes.DEACTIVATION, "deactivation_date", KmipState.DEACTIVATED),
)
"""Dates that a client may set in the future, their columns, and the state from which they are
past."""


class KeyReplica(NamedTuple):
    """A key as a server has it, with its material; ``wrapped`` and ``changed`` are meaningless
    here."""

    row: StoredKeyRow
    secret: KeyMaterial | None


class Taken(NamedTuple):
    """The outcome for a key of the peer: it was merged into ``mine`` (None: there was none), or
    ``refused``, because its id has another material here. ``shared``: Names that it got by this,
    and that another key has too."""

    theirs: StoredKeyRow
    mine: StoredKeyRow | None
    merged: StoredKeyRow
    refused: bool = False
    shared: tuple[NameHolders, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether this server has learnt something."""
        return not self.refused and self.merged != self.mine

    @property
    def conflict(self) -> bool:
        """Whether each of the two had something that the other had not.

        That a key was given out conflicts with nothing, and a server that takes no changes records
        it too.
        """
        if self.mine is None or self.refused:
            return False
        if (
            not comparable_part(self.mine)
            != comparable_part(self.merged)
            != comparable_part(self.theirs)
        ):
            return False
        return _without_gift(self.mine) != _without_gift(self.merged) != _without_gift(self.theirs)

    def withdrawn(self, now: float) -> float | None:
        """When the peer had withdrawn the key, if it was usable here until ``now``."""
        if self.mine is None or self.refused:
            return None
        active, mine = key_row.rank(KmipState.ACTIVE), as_at(self.mine, now)
        if not key_row.rank(mine.state) <= active < key_row.rank(self.merged.state):
            return None
        row = self.theirs
        return _earliest(row.deactivation_date, row.compromise_date, row.destroy_date)


class Replicated(NamedTuple):
    """Keys of a replication that have another material here, and the new end of the trail.

    ``intact``: the trail has everything that the peer saw of it. ``shared``: Names that keys got by
    this, and that other keys have too.
    """

    refused: tuple[KeyId, ...]
    end: TrailEnd
    intact: bool
    shared: tuple[NameHolders, ...] = ()


def take(work: Work, replica: KeyReplica, nonce: bytes) -> Taken:
    """Draft the merge of a key of the peer; a refusal is recorded.

    ``nonce`` wraps material that is new here. Where this server knows more, the peer has to learn
    it in turn.
    """
    theirs, mine = replica.row, work.find_stored(replica.row.key_id)
    if mine is None:
        work.take(_wrap_material(work, replica, nonce), CoreOperation.REPLICATE, new=True)
        return Taken(theirs, None, theirs, shared=attribute_operations.got(work, None, theirs))
    if not _same_key(work, mine, replica):
        work.note(
            CoreOperation.REPLICATE, mine.key_id, mine.scope, ResultReason.CRYPTOGRAPHIC_FAILURE
        )
        return Taken(theirs, mine, mine, refused=True)
    merged = merge(mine, theirs)
    if merged != mine:
        work.take(merged, CoreOperation.REPLICATE)
    if comparable_part(merged) != comparable_part(theirs):
        work.replicate(merged)
    return Taken(theirs, mine, merged, shared=attribute_operations.got(work, mine, merged))


def merge(mine: StoredKeyRow, theirs: StoredKeyRow) -> StoredKeyRow:
    """My row with the additions of theirs."""
    state = key_row.join_states(mine.state, theirs.state)
    return msgspec.structs.replace(
        mine,
        state=state,
        last_change_date=max(mine.last_change_date, theirs.last_change_date),
        wrapped=mine.wrapped if key_row.has_material(state) else None,
        attributes=_latest(mine, theirs),
        **{name: _earliest(getattr(mine, name), getattr(theirs, name)) for name in _EARLIEST},
        **{column: _ahead(mine, theirs, *date) for date in _AHEAD for column in [date[1]]},
    )


def _latest(mine: StoredKeyRow, theirs: StoredKeyRow) -> bytes:
    """The latest stamp wins on both servers; the server's name settles equal times."""
    if mine.attributes == theirs.attributes:
        return mine.attributes
    held = attributes.unpack(mine.attributes)
    for name, other in attributes.unpack(theirs.attributes).items():
        mine_of_it = held.get(name)
        if mine_of_it is None or _stamp(other) > _stamp(mine_of_it):
            held[name] = other
        if name == attributes.LIMITS and mine_of_it is not None:
            held[name] = key_usage.join_limits(
                held[name], other if held[name] is mine_of_it else mine_of_it
            )
    return attributes.pack(held)


def _stamp(held: Stamped) -> tuple[float, str, bytes]:
    return held.at, held.by, attributes.pack({held.name: held})


def _ahead(
    mine: StoredKeyRow, theirs: StoredKeyRow, name: str, column: str, past: KmipState
) -> float | None:
    """A date that changes the state: the earliest that has come, else the last writer's."""
    dates = [(row, getattr(row, column)) for row in (mine, theirs)]
    behind = [date for row, date in dates if key_row.rank(row.state) >= key_row.rank(past)]
    if behind:
        return _earliest(*behind)
    stamps = [attributes.unpack(row.attributes).get(name) for row in (mine, theirs)]
    by_stamp = [
        (_stamp(stamp), date)
        for stamp, (_, date) in zip(stamps, dates, strict=True)
        if stamp is not None
    ]
    if not by_stamp or (len(by_stamp) == 2 and by_stamp[0][0] == by_stamp[1][0]):
        return _earliest(*[date for _, date in dates])
    latest: float | None = max(by_stamp, key=lambda one: one[0])[1]
    return latest


def _wrap_material(work: Work, replica: KeyReplica, nonce: bytes) -> StoredKeyRow:
    row = replica.row
    if replica.secret is None:
        return msgspec.structs.replace(row, wrapped=None)
    aad = store.binding(row.key_id, row.scope, row.algorithm, row.length, row.usage_mask)
    return msgspec.structs.replace(row, wrapped=work.vault.close(replica.secret, aad, nonce))


def _same_key(work: Work, mine: StoredKeyRow, replica: KeyReplica) -> bool:
    theirs = replica.row
    if any(getattr(mine, name) != getattr(theirs, name) for name in _NEVER_CHANGE):
        return False
    material = work.material(mine)
    return material is None or replica.secret is None or material == replica.secret


def comparable_part(row: StoredKeyRow) -> StoredKeyRow:
    """The parts that two servers compare: all but how each of them stores the key."""
    return msgspec.structs.replace(row, wrapped=None, changed=0)


def _without_gift(row: StoredKeyRow) -> StoredKeyRow:
    """The row without the record of whether the key was given out; that may have been its last
    change."""
    held = attributes.unpack(row.attributes)
    held.pop(key_row.FRESH, None)
    packed = attributes.pack(held)
    return msgspec.structs.replace(comparable_part(row), attributes=packed, last_change_date=0.0)


def _earliest(*dates: float | None) -> float | None:
    known: Iterable[float] = [date for date in dates if date is not None]
    return min(known, default=None)
