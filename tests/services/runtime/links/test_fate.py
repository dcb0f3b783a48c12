"""The fate of a message: each thing it hangs on changes it, and a share is met to the last bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from protocol.messages.agent import DuplicateRule, LossRule
from protocol.subjects import NodePair
from protocol.terms import NodeName
from services.runtime.link_rules import ORIGINAL, Duplicate, LinkPassage, Loss, MessageCopy

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
PASSAGE = LinkPassage(seed=1, link=NodePair(A, B), boot=2, nth=3)
NEXT = 2.0**-53  # from one fate to a greater one


@pytest.mark.parametrize(
    "change",
    [{"seed": 2}, {"link": NodePair(C, B)}, {"link": NodePair(A, C)}, {"boot": 3}, {"nth": 4}],
    ids=str,
)
def test_each_thing_that_a_fate_hangs_on_changes_it(change: dict[str, Any]) -> None:
    fate = PASSAGE.fate("loss x", ORIGINAL)
    assert dataclasses.replace(PASSAGE, **change).fate("loss x", ORIGINAL) != fate
    assert PASSAGE.fate("loss y", ORIGINAL) != fate != PASSAGE.fate("loss x", MessageCopy(1, 0.0))


def test_a_share_is_of_fates_below_it() -> None:
    """So that a share of nothing strikes nothing, whatever the fate."""
    lost, twice = PASSAGE.fate("loss x", ORIGINAL), PASSAGE.fate("duplicate x", ORIGINAL)
    for share, copies in ((lost, 1), (lost + NEXT, 0)):
        loss = Loss(LossRule(id="x", src=A, dst=B, share=share))
        assert len(loss.egress(PASSAGE, ORIGINAL)) == copies
    for share, copies in ((twice, 1), (twice + NEXT, 2)):
        duplicate = Duplicate(DuplicateRule(id="x", src=A, dst=B, share=share))
        assert len(duplicate.egress(dataclasses.replace(PASSAGE), ORIGINAL)) == copies
