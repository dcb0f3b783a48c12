"""Chains of link rules: what composes, what a renewal keeps, what the seed fixes."""

from __future__ import annotations

import math

import pytest

from protocol.messages import agent as m
from protocol.subjects import NodePair
from protocol.terms import NodeName
from services.runtime.link_rules import (
    AT_ONCE,
    ORIGINAL,
    DesiredRules,
    LinkPassage,
    MessageCopy,
    RuleTable,
)

A, B = NodeName("a"), NodeName("b")
AB = NodePair(A, B)
CUT = m.CutRule(id="cut", src=A, dst=B)
LOSE = m.LossRule(id="lose", src=A, dst=B, share=1.0)
LATE = m.DelayRule(id="late", src=A, dst=B, base_s=0.3)
JITTER = m.DelayRule(id="jitter", src=A, dst=B, base_s=1.0, jitter_s=1.0)
TWICE = m.DuplicateRule(id="twice", src=A, dst=B, share=1.0)
AGAIN = m.DuplicateRule(id="again", src=A, dst=B, share=1.0)


def table(*rules: m.LinkRule, seed: int = 1) -> RuleTable:
    made = RuleTable(seed, lambda: 0.0)
    made.apply(DesiredRules().put(rules))
    return made


def lost(made: RuleTable, of: int = 2000) -> float:
    return sum(not made.egress(AB, 1, nth) for nth in range(of)) / of


@pytest.mark.parametrize(
    ("chain", "leaves"),
    [
        ((), AT_ONCE),
        ((LATE,), (0.3,)),
        ((LATE, LOSE), ()),
        ((LOSE, LATE), ()),
        ((LATE, TWICE), (0.3, 0.3)),
        ((TWICE, LATE), (0.3, 0.3)),
        ((TWICE, AGAIN), (0.0, 0.0, 0.0, 0.0)),
        ((TWICE, CUT), ()),
        ((CUT, TWICE), ()),
        ((LATE, TWICE, LOSE), ()),
    ],
)
def test_what_one_rule_lets_pass_the_next_one_judges(
    chain: tuple[m.LinkRule, ...], leaves: tuple[float, ...]
) -> None:
    assert table(*chain).egress(AB, boot=1, nth=1) == leaves
    assert table(*chain).egress(NodePair(B, A), boot=1, nth=1) == AT_ONCE
    assert table(*chain).passes(AB) is (CUT not in chain)


def test_delays_add_up_and_the_order_says_what_copies_share() -> None:
    one, other = table(JITTER, TWICE).egress(AB, 1, 1)
    assert one == other and 1.0 < one < 2.0
    one, other = table(TWICE, JITTER).egress(AB, 1, 1)
    assert one != other
    (both,) = table(LATE, JITTER).egress(AB, 1, 1)
    (alone,) = table(JITTER).egress(AB, 1, 1)
    assert math.isclose(both, alone + 0.3)


def test_two_losses_are_independent() -> None:
    half = [m.LossRule(id=id, src=A, dst=B, share=0.5) for id in ("x", "y")]
    assert abs(lost(table(half[0])) - 0.5) < 0.05
    assert abs(lost(table(*half)) - 0.75) < 0.05


def test_each_copy_has_a_fate_of_its_own() -> None:
    half = m.LossRule(id="half", src=A, dst=B, share=0.5)
    made = table(TWICE, half)
    sizes = [len(made.egress(AB, 1, nth)) for nth in range(2000)]
    for size, share in ((0, 0.25), (1, 0.5), (2, 0.25)):
        assert abs(sizes.count(size) / 2000 - share) < 0.05


def test_the_same_seed_is_the_same_fate_and_another_is_not() -> None:
    rules = (TWICE, m.LossRule(id="half", src=A, dst=B, share=0.5), JITTER)

    def fates(seed: int) -> list[tuple[float, ...]]:
        made = table(*rules, seed=seed)
        return [made.egress(AB, 1, nth) for nth in range(50)]

    assert fates(1) == fates(1) != fates(2)


def test_a_renewed_rule_keeps_its_place_and_its_count() -> None:
    desired, made = DesiredRules(), RuleTable(1, lambda: 0.0)
    made.apply(desired.put([LATE]))
    made.apply(desired.put([LOSE]))
    made.egress(AB, 1, 1)
    renewed = m.DelayRule(id="late", src=A, dst=B, base_s=0.3, until=9.0)
    made.apply(desired.put([renewed]))
    assert desired.rules == (renewed, LOSE)
    assert [(c.rule, c.dst, c.struck) for c in made.count_strikes(A)] == [
        ("late", B, 1),
        ("lose", B, 1),
    ]
    made.apply(desired.put([m.DelayRule(id="late", src=A, dst=B, base_s=0.4)]))
    assert [c.struck for c in made.count_strikes(A)] == [0, 1]
    made.apply(desired.drop("lose"))
    assert made.egress(AB, 1, 2) == (0.4,) and made.count_strikes(B) == ()


def test_a_lease_ends_at_its_moment_where_a_message_leaves_and_where_it_comes() -> None:
    now = 0.0
    made = RuleTable(1, lambda: now)
    made.apply(DesiredRules().put([m.CutRule(id="cut", src=A, dst=B, until=9.0), LATE]))
    now = 8.9
    assert made.egress(AB, 1, 1) == () and not made.passes(AB)
    now = 9.0
    assert made.egress(AB, 1, 2) == (0.3,) and made.passes(AB)


def test_only_a_newer_set_comes_into_force_and_it_is_the_whole_set() -> None:
    made, desired = RuleTable(1, lambda: 0.0), DesiredRules()
    old = desired.put([CUT])
    refused = desired.refuse(B, True)
    assert refused is not None and made.apply(refused) and made.epoch == 2
    for late in (old, m.SetRules(epoch=2, rules=())):
        assert not made.apply(late)
        assert not made.passes(AB) and made.refuses(B) and not made.refuses(A)
    heard = desired.refuse(B, False)
    assert heard is not None and made.apply(heard) and not made.refuses(B)
    assert desired.refuse(B, False) is None


def test_what_is_wanted_is_kept_by_link_and_lapses_with_its_lease() -> None:
    desired = DesiredRules()
    back = m.CutRule(id="cut", src=B, dst=A, until=9.0)
    assert desired.put([CUT, back, LOSE]).rules == (CUT, back, LOSE)
    for now, left in ((8.9, (CUT, back, LOSE)), (9.0, (CUT, LOSE))):
        desired.lapse(now)
        assert desired.next().rules == left
    assert desired.drop("cut").rules == (LOSE,)


def test_a_rule_counts_what_it_struck_and_nothing_else() -> None:
    made = table(TWICE, m.LossRule(id="none", src=A, dst=B, share=0.0), LATE)
    made.egress(AB, 1, 1)
    assert [(c.rule, c.struck) for c in made.count_strikes(A)] == [
        ("twice", 1),
        ("none", 0),
        ("late", 2),
    ]


def test_lives_of_a_sender_and_rules_of_one_kind_fare_apart() -> None:
    half = [m.LossRule(id=id, src=A, dst=B, share=0.5) for id in ("x", "y")]
    twice = m.DuplicateRule(id="x", src=A, dst=B, share=0.5)

    def fates(rule: m.LinkRule, boot: int = 1) -> list[int]:
        made = table(rule)
        return [len(made.egress(AB, boot, nth)) for nth in range(100)]

    assert fates(half[0]) != fates(half[0], boot=2) and fates(half[0]) != fates(half[1])
    assert [size == 0 for size in fates(half[0])] != [size == 2 for size in fates(twice)]


def test_a_delay_without_jitter_is_always_the_same() -> None:
    made = table(LATE, m.DelayRule(id="more", src=A, dst=B, base_s=1.0))
    assert {made.egress(AB, 1, nth) for nth in range(50)} == {(1.3,)}


def test_no_two_copies_of_a_message_have_one_number() -> None:
    passage = LinkPassage(1, AB, 1, 1)
    assert [passage.twin(ORIGINAL).number for _ in range(3)] == [1, 2, 3]
    assert passage.twin(MessageCopy(1, 0.5)) == MessageCopy(4, 0.5)


def test_a_cut_of_some_requests_lets_all_else_pass_both_ways() -> None:
    cut = m.CutRule(id="cut", src=A, dst=B, requests=("AddKeys",))
    made = table(cut)
    assert made.egress(AB, 1, 1, "l.a.b.q.AddKeys") == ()
    for subject in ("l.a.b.q.QueryHost", "l.a.b._r.1-7", "l.a.b.q.AddKeysAgain"):
        assert made.egress(AB, 1, 2, subject) == AT_ONCE
    assert made.passes(AB)


def test_a_reset_and_a_stall_are_about_connections() -> None:
    """They let messages pass, end with their lease, and count what they struck."""
    now = [0.0]
    made = RuleTable(1, lambda: now[0])
    rules = (
        m.ResetRule(id="rst", src=A, dst=B, until=5.0),
        m.StallRule(id="stall", src=A, dst=B, until=5.0),
    )
    assert not made.breaks(AB) and not made.stalls(AB)
    made.apply(DesiredRules().put(rules))
    assert made.egress(AB, 1, 1) == AT_ONCE and made.passes(AB)
    assert made.breaks(AB) and made.stalls(AB) and made.stalls(AB)
    assert not made.breaks(AB.reverse) and not made.stalls(AB.reverse)
    assert [(count.rule, count.struck) for count in made.count_strikes(A)] == [
        ("rst", 1),
        ("stall", 2),
    ]
    now[0] = 6.0
    assert not made.breaks(AB) and not made.stalls(AB)
