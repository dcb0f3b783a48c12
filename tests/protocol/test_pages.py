"""Pages: nothing is lost or reordered, every full message stays under the broker's limit."""

from __future__ import annotations

from itertools import chain, pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode_envelope, encode_message, encoded_size
from protocol.envelope import SIZE_LIMIT, VERSION, Envelope
from protocol.messages.base import Message, Sealed
from protocol.messages.host import AddKeys
from protocol.messages.kms import GetKeys, KeyValue, KeyValues
from protocol.messages.pages import KEY_BYTES, PAGE_BUDGET, first_page, fits, pages
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, KmipState, NodeName, ProviderId

LONG = 300
"""Characters of the longest id."""

_IDS = st.lists(st.text(max_size=LONG), max_size=60)


def long_ids(count: int) -> tuple[KeyId, ...]:
    return tuple(KeyId(f"{number:0{LONG}d}") for number in range(count))


def on_the_wire(message: Message) -> int:
    """Size of ``message`` in an envelope with long names; ``Malformed`` if it is too much."""
    name = NodeName("n" * 48)
    cause = f"{name}/{2**32}/{2**63}"
    envelope = Envelope(
        VERSION, 2**63, cause, name, 2**32, 1.5, type(message).__name__, encode_message(message)
    )
    return len(encode_envelope(envelope))


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
    assert sum(map(encoded_size, items)) <= whole <= sum(map(encoded_size, items)) + 5


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


def test_a_page_of_long_ids_fits_into_a_message_and_so_does_the_answer() -> None:
    extra = KEY_BYTES + encoded_size(
        KeyValue(key_id=KeyId(""), state=KmipState.PRE_ACTIVE, index=1)
    )
    made = list(pages(long_ids(2000), extra=extra))
    assert 2 < len(made) < 10
    for page in made:
        assert on_the_wire(GetKeys(key_ids=page)) < SIZE_LIMIT
        values = tuple(
            KeyValue(key_id=key_id, state=KmipState.PRE_ACTIVE, index=index)
            for index, key_id in enumerate(page)
        )
        keys = msgspec.msgpack.encode(tuple(bytes(32) for _ in page))
        answer = KeyValues(values=values, material=Sealed(None, keys + bytes(48)))
        assert on_the_wire(answer) < SIZE_LIMIT


def test_a_page_of_keys_with_their_material_fits_into_one_command() -> None:
    provider = ProviderId("p" * LONG)
    keys = [CryptoKeyId(key_id, provider) for key_id in long_ids(1000)]
    for page in pages(keys, extra=KEY_BYTES):
        box = msgspec.msgpack.encode(tuple(bytes(32) for _ in page)) + bytes(48)
        assert on_the_wire(AddKeys(keys=page, material=Sealed(None, box))) < SIZE_LIMIT
    assert PAGE_BUDGET < SIZE_LIMIT


def test_clear_keys_are_not_weighed() -> None:
    with pytest.raises(TypeError):
        encoded_size(KeyMaterial(bytes(32)))
