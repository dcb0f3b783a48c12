"""Pages: nothing is lost or reordered, every full message stays under the broker's limit."""

from __future__ import annotations

from itertools import chain, pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import SIZE_LIMIT, size_on_wire
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import AddKeys
from protocol.pages import KEY_BYTES, PAGE_BUDGET, first_page, fits, pages
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, ProviderId
from tests.protocol.weights import LONG, long_ids, on_the_wire

_IDS = st.lists(st.text(max_size=LONG), max_size=60)


@given(items=_IDS, budget=st.integers(1, 3000), extra=st.integers(0, 100))
def test_pages_keep_everything_in_order_and_within_the_budget(
    items: list[str], budget: int, extra: int
) -> None:
    made = list(pages(items, budget=budget, extra=extra))
    assert list(chain.from_iterable(made)) == items
    assert all(made)
    assert all(len(page) == 1 or fits(page, budget=budget, extra=extra) for page in made)


@given(items=_IDS, budget=st.integers(1, 3000))
def test_no_page_ends_before_it_must(items: list[str], budget: int) -> None:
    made = list(pages(items, budget=budget))
    assert all(not fits((*page, following[0]), budget=budget) for page, following in pairwise(made))


@given(items=_IDS)
def test_the_items_of_a_list_weigh_what_the_list_does_but_for_its_header(items: list[str]) -> None:
    whole = len(msgspec.msgpack.encode(items))
    assert sum(map(size_on_wire, items)) <= whole <= sum(map(size_on_wire, items)) + 5


def test_at_most_is_a_count_beside_the_budget() -> None:
    assert [len(page) for page in pages("abcdefg", at_most=3)] == [3, 3, 1]
    with pytest.raises(ValueError, match="holds none"):
        next(pages("a", at_most=0))


def test_an_item_over_the_budget_has_a_page_of_its_own() -> None:
    made = list(pages(["a", "b" * 50, "c", "d"], budget=10))
    assert made == [("a",), ("b" * 50,), ("c", "d")]


def test_the_first_page_is_empty_only_of_nothing() -> None:
    assert first_page(()) == ()
    assert first_page(("a" * 50,), budget=10) == ("a" * 50,)
    assert first_page(("a", "b", "c"), at_most=2) == ("a", "b")


def test_a_page_of_keys_with_their_material_fits_into_one_command() -> None:
    keys = [CryptoKeyId(key_id, ProviderId("p" * LONG)) for key_id in long_ids(1000)]
    made = list(pages(keys, extra=KEY_BYTES))
    assert 2 < len(made) < 10
    for page in made:
        material = Sealed.of(*[KeyMaterial(bytes(32)) for _ in page])
        assert on_the_wire(AddKeys(keys=page, material=material)) < SIZE_LIMIT
    assert PAGE_BUDGET < SIZE_LIMIT


def test_clear_keys_are_not_weighed() -> None:
    with pytest.raises(TypeError):
        size_on_wire(KeyMaterial(bytes(32)))
