"""Re-key: create the key that replaces another one (KMIP 1.4 section 4.4).

1. Algorithm, length and usage mask are those of the old key; the material is new.
2. Its Names move to the new key. Each key has a Link to the other.
3. Other attributes of the old key that a client may set are copied, with limits unused, unless
   the request names them.
4. Its dates are those of the old key. With an Offset it is activated that long from now, and the
   other dates keep their distance to that date; then the request names no date.
5. The state of the new key follows from its dates. The old key's state does not change, and a
   destroyed key cannot be replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from protocol.attributes import GRANTED_SCOPE, Attribute, ObjectLink, UsageLimitsValue
from protocol.errors import (
    IllegalOperation,
    InvalidField,
    InvalidMessage,
    ItemNotFound,
    ProductError,
)
from protocol.secret import KeyMaterial
from protocol.terms import KmipState
from services.kms.commit import store
from services.kms.commit.unit_of_work import FreshKey, Work
from services.kms.objects import algorithms, attributes, states
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import ReKey, ReplacedKey
from services.kms.operations import attribute_operations

NONCE_SIZE, LONGEST_KEY = 12, 32
DRAWN: Final = NONCE_SIZE + LONGEST_KEY
"""Bytes to draw for a key whose length is not known yet."""

_SAME: Final = {
    "Cryptographic Algorithm": "algorithm",
    "Cryptographic Length": "length",
    "Cryptographic Usage Mask": "usage_mask",
}
_DATES: Final = (
    attributes.ACTIVATION,
    attributes.PROCESS_START,
    attributes.PROTECT_STOP,
    attributes.DEACTIVATION,
)
_FOLLOWS: Final = ("Replacement Object Link", "Replaced Object Link")


def replace(work: Work, request: ReKey) -> ReplacedKey:
    """See ``ReKey``."""
    old = work.object(request)
    try:
        if not states.has_material(old.state):
            raise ItemNotFound(f"the key is {old.state}")
        named = _names_in_request(old, request)
        given = [
            *_dates(old, request, work.at, named),
            *_attributes_to_keep(old, named),
            *request.attributes,
        ]
        fresh = _create_fresh_key(work, old, request)
        link = ObjectLink(type=_FOLLOWS[1], linked=old.key_id)
        given.append(Attribute(name="Link", value=link))
        others = [one for one in given if one.name not in _SAME]
        row = attributes.with_template(fresh.row, others, work.at, work.server, brought=False)
        work.update(_without_names(work, old, fresh.row), request.operation)
        for one in given:
            attribute_operations.check_name(work, row, one)
    except ProductError as error:
        raise work.refusal(error, old) from None
    work.insert(FreshKey(row, fresh.secret), request.operation)
    work.placeholder, work.repeated = row.key_id, False
    return ReplacedKey(unique_identifier=row.key_id)


def _names_in_request(old: StoredKeyRow, request: ReKey) -> set[str]:
    """Names of the attributes in the request; ``InvalidField`` for a fixed one that differs (rule
    1)."""
    for one in request.attributes:
        if one.name in _SAME and one.value != getattr(old, _SAME[one.name]):
            raise InvalidField(f"{one.name}: that of the old key stays")
    return {one.name for one in request.attributes}


def _dates(old: StoredKeyRow, request: ReKey, at: float, named: set[str]) -> Iterator[Attribute]:
    """Rule 4."""
    shift = 0.0
    had = attributes.single(old, attributes.ACTIVATION)
    if request.offset is not None:
        if not named.isdisjoint(_DATES):
            raise InvalidMessage("an Offset or dates, not both")
        if had is None and any(attributes.single(old, name) is not None for name in _DATES):
            raise IllegalOperation("an Offset moves no dates of a key without an Activation Date")
        yield Attribute(name=attributes.ACTIVATION, value=at + request.offset)
        shift = at + request.offset - had if isinstance(had, float) else 0.0
    for name in _DATES:
        date = attributes.single(old, name)
        moved = name == attributes.ACTIVATION and request.offset is not None
        if isinstance(date, float) and name not in named and not moved:
            yield Attribute(name=name, value=date + shift)


def _attributes_to_keep(old: StoredKeyRow, named: set[str]) -> Iterator[Attribute]:
    """Rules 2 and 3."""
    for one in attributes.of(old):
        settable = one.name in attributes.RULES or one.name.startswith("x-")
        if not settable or one.name in _DATES or one.name == GRANTED_SCOPE:
            continue  # the grant is for the old key
        if one.name in named and one.name != attributes.NAME:
            continue
        if attributes.RULES.get(one.name, attributes.CUSTOM_RULE).once:
            continue  # the new key has its own
        if isinstance(one.value, ObjectLink) and one.value.type in _FOLLOWS:
            continue
        if isinstance(one.value, UsageLimitsValue):
            one = msgspec.structs.replace(one, value=msgspec.structs.replace(one.value, spent=()))
        yield one


def _create_fresh_key(work: Work, old: StoredKeyRow, request: ReKey) -> FreshKey:
    size = algorithms.size(old.algorithm, old.length, old.usage_mask)
    drawn = b"" if request.drawn is None else request.drawn.reveal()
    secret = KeyMaterial(drawn[NONCE_SIZE : NONCE_SIZE + size])
    kind = (old.algorithm, old.length, old.usage_mask)
    aad = store.binding(request.new_id, old.scope, *kind)
    changes: dict[str, Any] = dict.fromkeys(
        ("activation_date", "deactivation_date", "compromise_date", "destroy_date")
    )
    row = msgspec.structs.replace(
        old,
        key_id=request.new_id,
        operation_id=request.new_id,
        origin=work.server,
        state=KmipState.PRE_ACTIVE,
        initial_date=work.at,
        last_change_date=work.at,
        wrapped=work.vault.close(secret, aad, drawn[:NONCE_SIZE]),
        changed=0,
        digest=store.digest(secret),
        attributes=b"",
        **changes,
    )
    return FreshKey(row, secret)


def _without_names(work: Work, old: StoredKeyRow, new: StoredKeyRow) -> StoredKeyRow:
    link = Attribute(name="Link", value=ObjectLink(type=_FOLLOWS[0], linked=new.key_id))
    row, _ = attributes.add_attribute(old, link, work.at, work.server)
    if attributes.single(row, attributes.NAME) is None:
        return row
    return attributes.stamp(row, attributes.NAME, (), work.at, work.server)
