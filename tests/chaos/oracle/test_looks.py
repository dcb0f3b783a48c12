"""What is held against a run, and what is not: strangers, the first seconds, the grace."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks.no_needless_outage import no_needless_outage
from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.states import GRACE_S, REFUSED, StateBreach, last_look
from chaos.checks.truth_table import NOT_REASONED, truth_table
from chaos.history import Record
from chaos.oracle.fold.answers import Allowed
from tests.chaos.oracle.acts import act
from tests.chaos.oracle.histories import Row, Story, dark, locked
from tests.chaos.oracle.lying_runs import NO_GUEST
from tests.chaos.oracle.test_truth_table_check import held, records

PASS, FAIL, UNKNOWN = CheckOutcome.PASS, CheckOutcome.FAIL, CheckOutcome.UNKNOWN
GRACE = int(GRACE_S)
NO_KEY = "EncryptionKeyRequired"


def at_first(story: Story, *rows: Row) -> Story:
    """These records come before the first look."""
    look = next(n for n, row in enumerate(story.rows) if row[2] == "look")
    story.rows[look:look] = rows
    return story


def test_a_guest_and_a_power_on_of_a_vm_that_nobody_has_are_held_against_nobody() -> None:
    story = Story(persistence=True).cut().challenge("ghost", NO_GUEST)
    story.op("info", "ghost", "vm.on", n=7, error=NO_KEY)
    assert held(story.passes(40)).result is PASS


def test_what_was_before_the_first_look_is_not_judged() -> None:
    error = {"n": 5, "error": f"vm-01: {NO_GUEST}"}
    story = at_first(
        Story(persistence=True),
        ("vm-01", "fail", "guest.challenge", error),
        ("vm-01", "info", "vm.on", {"n": 6, "error": NO_KEY}),
    )
    assert held(story.cut().passes(40)).result is PASS


def test_a_host_of_which_no_agent_told_is_not_looked_at() -> None:
    story = Story(persistence=True)
    story.rows = [row for row in story.rows if row[0] not in ("esxi-002", "vm-02")]
    assert held(story.cut().passes(40)).result is PASS


def test_an_answer_that_is_wrong_shows_no_guest_that_works() -> None:
    story = locked(dark(persistence=False))
    assert held(story.challenge("vm-01").passes(10)).result is FAIL
    story = locked(dark(persistence=False)).op("invoke", "vm-01", "guest.challenge", n=5)
    story.op("ok", "vm-01", "guest.challenge", n=5, wrong="vm-01 reads other blocks")
    assert held(story.passes(10)).result is PASS


def test_an_answer_from_a_host_that_is_silent_then_is_held_against_nobody() -> None:
    story = locked(dark(persistence=False)).challenge("vm-01").silent("esxi-001")
    assert held(story.passes(10)).result is PASS


@pytest.mark.parametrize(("seconds", "result"), [(5, PASS), (GRACE + 10, FAIL)])
def test_a_guest_that_answers_has_the_grace_after_its_key_was_gone(
    seconds: int, result: CheckOutcome
) -> None:
    story = dark(persistence=False).host("esxi-001", "prepared")
    story.vm("vm-01", "esxi-001", "locked").passes(seconds).challenge("vm-01")
    assert held(story.passes(40)).result is result


def back_again(**lab: Any) -> Story:
    """The key server is there again, and so are host and VM."""
    story = locked(dark(persistence=False, **lab)).heal("wan").passes(5).host("esxi-001", "safe")
    return story.vm("vm-01", "esxi-001", "off").passes(1)


@pytest.mark.parametrize(("seconds", "result"), [(2, PASS), (GRACE + 10, FAIL)])
def test_a_mark_and_a_power_on_without_a_key_have_the_grace_after_the_lock(
    seconds: int, result: CheckOutcome
) -> None:
    marked = back_again().passes(seconds).marks("vm-01").passes(2)
    assert held(marked).result is result, held(marked).text
    refused = back_again().passes(seconds).op("invoke", "vm-01", "vm.on", n=8)
    refused.op("info", "vm-01", "vm.on", n=8, error=NO_KEY).passes(2)
    assert (REFUSED in held(refused).text) is (result is FAIL), held(refused).text


def test_where_drs_chooses_the_host_a_lack_of_a_key_says_nothing_of_the_one_before() -> None:
    story = back_again(drs=True).passes(GRACE + 10).op("invoke", "vm-01", "vm.on", n=8)
    story.op("info", "vm-01", "vm.on", n=8, error=NO_KEY).passes(2)
    assert REFUSED not in held(story).text


def test_acts_of_administrators_are_something_to_hold_a_run_against() -> None:
    story = act(Story(persistence=True), "vcenter.backup", 11, backup="monday").passes(5)
    found = held(story)
    assert found.result is PASS
    assert found.text == "45 looks under 0 faults and 1 acts of administrators"
    assert no_needless_outage(records(story)).result is UNKNOWN, "nothing was wrong"


def test_more_of_the_same_history_is_judged_anew() -> None:
    story = Story(persistence=True).cut().passes(10)
    some = records(story)
    assert truth_table(some).result is PASS
    whole = records(story.vm("vm-01", "esxi-001", "off").passes(40))
    some += whole[len(some) :]
    assert truth_table(some).result is FAIL


def test_the_last_look_is_a_state_and_no_word_about_one() -> None:
    rows = [Record(seq=1, t=1.0, node="", type="state", op="look", data={})]
    assert last_look(rows) == 1 and last_look([]) == 0
    rows.append(Record(seq=2, t=2.0, node="", type="note", op="look", data={}))
    assert last_look(rows) == 1


def test_where_no_rule_says_anything_the_breach_says_that() -> None:
    breach = StateBreach(1, 4.0, "vm-01", True, "off", "", Allowed(frozenset()), "")
    assert str(breach) == "vm-01 is off at 4 s, and nothing that is known is allowed; no fault"


def test_of_many_breaches_five_are_told_and_the_others_counted() -> None:
    story = Story(persistence=True).cut().passes(GRACE)
    for number in range(1, 6):
        story.op("ok", "", "key.create", n=90 + number, key=f"k{number}", provider="p")
    found = held(story.passes(2))
    assert found.result is FAIL and len(found.records) == 5 and "more" not in found.text
    found = held(story.op("ok", "", "key.create", n=97, key="k7", provider="p").passes(2))
    assert len(found.records) == 6 and found.text.endswith("; and 1 more")


def followed_until(story: Story) -> Story:
    """Somebody does something that the oracle does not know."""
    story.op("invoke", "p", "provider.set-default", n=9, action="other")
    return story.op("ok", "p", "provider.set-default", n=9, action="other").passes(10)


def test_a_run_that_the_oracle_cannot_follow_to_its_end_is_unknown() -> None:
    made = followed_until(Story(persistence=True).cut().passes(10))
    text = "the oracle does not know what provider.set-default leads to; it was followed until then"
    assert held(made) == no_needless_outage(records(made)) == Finding(UNKNOWN, text)


def test_without_a_vm_there_was_no_outage_to_judge() -> None:
    story = Story(persistence=True)
    story.rows = [row for row in story.rows if row[0] not in ("vm-01", "vm-02")]
    found = no_needless_outage(records(story.cut().passes(10)))
    assert found == Finding(UNKNOWN, "no VM was looked at under a fault")


@pytest.mark.parametrize("knob", NOT_REASONED)
def test_a_lab_with_an_answer_that_is_not_reasoned_about_is_unknown(knob: str) -> None:
    def lab(value: Any) -> Story:
        knobs: dict[str, Any] = {knob: value}
        return Story(persistence=True, **knobs)

    usual = NOT_REASONED[knob]
    assert held(lab(usual).cut().passes(10)).result is PASS
    other: Any = (
        not usual if isinstance(usual, bool) else 5.0 if isinstance(usual, float) else "all"
    )
    found = held(lab(other).cut().passes(10))
    text = f"the oracle does not reason about {knob} at another value than usual"
    assert found == Finding(UNKNOWN, text)
