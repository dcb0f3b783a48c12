"""Two servers' rows of one key become one: by tables, and whichever of the two hears first."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from protocol.terms import KeyId, KmipState, NodeName
from services.kms.merging import merge
from services.kms.states import has_material
from services.kms.store import KeyRow

DATES = ("activation_date", "deactivation_date", "compromise_date", "destroy_date")
ROW = KeyRow(
    key_id=KeyId("1"),
    scope="default",
    operation_id="op",
    origin=NodeName("kms-1"),
    algorithm="AES",
    length=256,
    usage_mask=12,
    state=KmipState.ACTIVE,
    initial_date=1.0,
    activation_date=None,
    deactivation_date=None,
    compromise_date=None,
    destroy_date=None,
    last_change_date=5.0,
    wrapped=b"wrapped here",
    changed=7,
)


def other(**changes: object) -> KeyRow:
    """The row as the peer has it: its own wrapping, and its own number of the trail."""
    return msgspec.structs.replace(ROW, wrapped=b"wrapped there", changed=9, **changes)


@pytest.mark.parametrize("name", DATES)
@pytest.mark.parametrize(
    ("mine", "theirs", "earliest"),
    [(None, None, None), (2.0, None, 2.0), (None, 3.0, 3.0), (2.0, 3.0, 2.0), (3.0, 2.0, 2.0)],
)
def test_each_date_is_the_earliest_that_either_has(
    name: str, mine: float | None, theirs: float | None, earliest: float | None
) -> None:
    merged = merge(msgspec.structs.replace(ROW, **{name: mine}), other(**{name: theirs}))
    assert merged == msgspec.structs.replace(ROW, **{name: earliest})


@pytest.mark.parametrize(("mine", "theirs"), [(5.0, 6.0), (6.0, 5.0)])
def test_the_last_change_is_the_later_one(mine: float, theirs: float) -> None:
    merged = merge(
        msgspec.structs.replace(ROW, last_change_date=mine), other(last_change_date=theirs)
    )
    assert merged == msgspec.structs.replace(ROW, last_change_date=6.0)


@pytest.mark.parametrize(("mine", "theirs"), list(product(KmipState, KmipState)))
def test_both_agree_and_keep_what_is_their_own(mine: KmipState, theirs: KmipState) -> None:
    here = msgspec.structs.replace(ROW, state=mine, destroy_date=4.0)
    there = other(state=theirs, compromise_date=3.0)
    merged, mirrored = merge(here, there), merge(there, here)
    assert merged.wrapped == (ROW.wrapped if has_material(merged.state) else None)
    assert (merged.changed, mirrored.changed) == (here.changed, there.changed)
    told = {"wrapped": None, "changed": 0}
    assert msgspec.structs.replace(merged, **told) == msgspec.structs.replace(mirrored, **told)
    assert merge(merged, mirrored) == merged
