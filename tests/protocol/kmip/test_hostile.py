"""Bytes from whoever sends them: understood to the last one, or one error; nothing else, ever."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.kmip import classify, disturb
from protocol.kmip.message import encode_request, encode_response
from protocol.kmip.ttlv import TtlvItem, Type, encode
from tests.protocol.kmip.vcenter import REQUESTS, RESPONSES

SAMPLES = [
    *(encode_request(message) for message, _ in REQUESTS.values()),
    *(encode_response(message) for message, _ in RESPONSES.values()),
]
COUNT = 10_000


def inputs(seed: int) -> Iterator[bytes]:
    """Messages with something wrong in them, and some that are noise."""
    rng = random.Random(seed)
    for _ in range(COUNT):
        yield disturb(rng.choice(SAMPLES), rng)


def test_ten_thousand_disturbed_messages_are_understood_or_refused() -> None:
    seen = Counter(classify(data) for data in inputs(1))
    assert seen.total() == COUNT
    assert min(seen["understood"], seen["refused"]) > COUNT // 50, seen


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    assert classify(data) == "refused"


@pytest.mark.parametrize("sample", SAMPLES, ids=len)
def test_a_message_that_stops_anywhere_is_refused(sample: bytes) -> None:
    for end in range(len(sample)):
        assert classify(sample[:end]) == "refused"


def test_a_comparison_that_cannot_fail_is_none() -> None:
    """What is asked of each input: a decoder that takes more than the tree does is found."""

    def careless(data: bytes) -> TtlvItem:
        return TtlvItem(0x420078, Type.STRUCTURE, ())

    with pytest.raises(AssertionError):
        classify(b"not TTLV", decode=careless, encode=encode)
