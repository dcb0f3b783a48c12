"""What a Get gives of a key, and which Gets change nothing."""

from __future__ import annotations

from protocol.attributes import Attribute
from protocol.secret import KeyMaterial
from services.kms import access, attributes
from services.kms.access import Caller
from services.kms.keyrow import KeyRow, as_at
from services.kms.operations import GotKey, Operation


def given(
    row: KeyRow,
    material: KeyMaterial | None,
    under: KeyMaterial | None = None,
    told: tuple[Attribute, ...] = (),
) -> GotKey:
    """The key with its material (None: it has none any more), which leaves wrapped ``under``
    another one, with the attributes that were asked for."""
    return GotKey(
        unique_identifier=row.key_id,
        state=row.state,
        material=material,
        algorithm=row.algorithm,
        length=row.length,
        format=attributes.format_of(row),
        wrapping_key=under,
        attributes=told,
    )


def is_plain(caller: Caller, row: KeyRow, at: float) -> bool:
    """Whether a Get of this key, in clear, gives its material at the time ``at`` and has nothing
    written but that: nobody is refused, no date has come, and the key was given before."""
    return (
        caller.sees(row)
        and row.wrapped is not None
        and access.refuse(caller, Operation.GET) is None
        and as_at(row, at) is row
        and not attributes.is_fresh(row)
    )
