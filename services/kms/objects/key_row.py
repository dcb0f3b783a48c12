"""One key as a key server stores it, and its state by its dates."""

from __future__ import annotations

import msgspec

from protocol.terms import KeyId, KmipState, NodeName
from services.kms.objects import states


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
    state, since = states.at(row.state, row.activation_date, row.deactivation_date, at)
    if state is row.state:
        return row
    last = max(row.last_change_date, since)
    return msgspec.structs.replace(row, state=state, last_change_date=last)
