"""What a Get returns of a key, and which Gets change nothing."""

from __future__ import annotations

from typing import Final

from protocol.attributes import Attribute
from protocol.errors import NotExtractable, ProductError, Sensitive
from protocol.secret import KeyMaterial
from services.kms.access import authorization
from services.kms.access.authorization import KeyServerCaller
from services.kms.objects import attributes, implied
from services.kms.objects.key_row import StoredKeyRow, as_at
from services.kms.objects.request_types import CoreOperation, GotKey


def build_got_key(
    row: StoredKeyRow,
    material: KeyMaterial | None,
    under: KeyMaterial | None = None,
    told: tuple[Attribute, ...] = (),
) -> GotKey:
    """The key with its material (None: it has none any more), to be wrapped ``under`` another key,
    with the requested attributes."""
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


_EXTRACTABLE: Final = implied.EXTRACTABLE.encode()
_SENSITIVE: Final = implied.SENSITIVE.encode()


def withheld(row: StoredKeyRow, *, wrapped: bool) -> ProductError | None:
    """Why a Get does not return the key, in clear or ``wrapped``, by attributes that its client set
    (KMIP 1.4 sections 3.48 and 3.50); None when it does."""
    held = row.attributes  # cheaper than decoding all attributes
    if _EXTRACTABLE in held and attributes.single(row, implied.EXTRACTABLE) is False:
        return NotExtractable()
    if not wrapped and _SENSITIVE in held and attributes.single(row, implied.SENSITIVE) is True:
        return Sensitive()
    return None


def is_plain(caller: KeyServerCaller, row: StoredKeyRow, at: float) -> bool:
    """Whether a Get of this key, in clear, returns its material at the time ``at`` and writes
    nothing but that: no refusal, no date that has come, and the key was given before."""
    return (
        caller.sees(row)
        and row.wrapped is not None
        and authorization.refuse(caller, CoreOperation.GET) is None
        and as_at(row, at) is row
        and not attributes.is_fresh(row)
        and withheld(row, wrapped=False) is None
    )
