"""The page: whole, of its own, and nothing that a run says becomes a part of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from chaos.checks.result import CheckOutcome
from chaos.report.compare import parting
from chaos.report.outcomes import outcomes
from chaos.report.page import MOST_RECORDS, page, pair, select_records
from chaos.report.story import Story
from tests.chaos.report.tales import CUT, Tale, plan, result, story, verdict

PASS, FAIL, UNKNOWN = CheckOutcome.PASS, CheckOutcome.FAIL, CheckOutcome.UNKNOWN
HOSTILE = "</title></script><img src=x onerror=alert(1)><script>alert(2)</script>\"'&\x1b[31m\u202e"


class Read(HTMLParser):
    """What a browser would make of a page: elements by name, and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.handlers: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
            elif name == "id":
                self.ids.add(value or "")
            elif name.startswith("on"):
                self.handlers.append(name)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "dt", "dd", "li", "p", "h1", "h2"):
            self.said += " "

    def handle_data(self, data: str) -> None:
        self.said += data


def hostile() -> Story:
    tale = Tale()
    tale.fault(1.0, HOSTILE, HOSTILE, summary=HOSTILE, nodes=[HOSTILE])
    tale.add(2.0, "invoke", HOSTILE, HOSTILE, n=1)
    tale.add(3.0, "fail", HOSTILE, HOSTILE, n=1, error=HOSTILE, **{HOSTILE: HOSTILE})
    tale.add(4.0, "probe", HOSTILE, when=HOSTILE, holds=False, value=HOSTILE, detail=HOSTILE)
    tale.heal(5.0, HOSTILE)
    said = verdict(result(HOSTILE, FAIL, HOSTILE, 3), word="fail", code=1, reasons=(HOSTILE,))
    return story(tale.records, said, run=HOSTILE, reproduce=HOSTILE, code=HOSTILE)


def good() -> Story:
    tale = Tale()
    tale.fault(10.0, "wan")
    tale.operation(20.0, "key.create", 0.05, 1)
    tale.heal(50.0, "wan")
    tale.add(60.0, "note", "verdict")
    return story(tale.records, verdict(result("guests_read_back", PASS, "2 answers")))


@pytest.mark.parametrize("made", [page(hostile()), pair(hostile(), good())], ids=["one", "two"])
def test_nothing_that_a_run_says_becomes_a_part_of_the_page(made: str) -> None:
    read = Read(made)
    assert "img" not in read.names and read.names.count("script") == 1
    assert read.handlers == []
    assert "\x1b" not in made and "\u202e" not in made
    assert "<img src=x onerror=alert(1)>" in read.said


@pytest.mark.parametrize("made", [page(good()), pair(good(), hostile())], ids=["one", "two"])
def test_nothing_in_a_page_leads_out_of_it(made: str) -> None:
    read = Read(made)
    assert {link for link in read.links if not link.startswith("#")} == {"data:,"}
    assert "link" in read.names and "iframe" not in read.names
    assert not re.search(r"@import|url\(|https?:", made)
    assert "default-src 'none'" in made


def test_each_figure_says_what_it_is_where_cells_stand_below_each_other() -> None:
    """On a narrow screen the heads of columns are gone."""
    made = page(good())
    for section in ("latency", "schedule"):
        part = made.partition(f'id="{section}"')[2].partition("</section>")[0]
        rows = part.partition("<tbody>")[2]
        cells = re.findall(r"<td[^>]*>(?!</td>)", rows)
        assert cells and all("data-is=" in cell for cell in cells), section
    style = made.partition("<style>")[2].partition("</style>")[0]
    narrow = style.partition("@media screen and (max-width: 700px)")[2].partition("@media")[0]
    assert "attr(data-is)" in narrow


def test_every_link_has_a_place_in_the_page() -> None:
    read = Read(page(good()))
    assert {link[1:] for link in read.links if link.startswith("#")} <= read.ids
    assert {f"r{n}" for n in range(1, 6)} <= read.ids


def test_the_page_tells_verdict_checks_schedule_and_latency() -> None:
    said = " ".join(Read(page(good())).said.split())
    for words in (
        "A tale of faults",
        "✔ pass",
        "exit 0",
        "keystead chaos replay tale-sim-7",
        "No guest ever read back",
        "2 answers",
        "wan link.cut 10 s to 50 s 10 s 10 s 50 s wan is there",
        "key.create fault 1 ok 50 ms 50 ms 50 ms 50 ms",
        "before: 0 s to 10 s · fault: 10 s to 50 s",
    ):
        assert words in said, words


def test_a_failure_comes_first_with_its_scene_and_the_way_to_see_it_again() -> None:
    tale = Tale()
    tale.fault(10.0, "wan")
    tale.add(12.0, "ok", "guest.challenge", "vm-01", wrong="other bytes", n=1)
    said = verdict(
        result("no_fault_left", UNKNOWN, "none"),
        result("tpm_sane", PASS, "fine"),
        result("guests_read_back", FAIL, "1 wrong", 2),
        word="fail",
        code=1,
    )
    text = " ".join(Read(page(story(tale.records, said))).said.split())
    assert text.index("✗ fail guests_read_back") < text.index("? unknown no_fault_left")
    assert text.index("? unknown no_fault_left") < text.index("✔ pass tpm_sane")
    assert "had nothing to judge" not in text
    assert "first seen at record 2 · faults then: wan is there" in text
    assert text.count("again keystead chaos replay tale-sim-7") == 2


def test_hypotheses_come_first_and_checks_that_had_nothing_to_judge_are_one_line() -> None:
    said = verdict(
        result("before vm.running == 100%", PASS, "all"),
        result("lock_told", UNKNOWN, "no VM was locked"),
        result("tpm_sane", PASS, "fine"),
        result("one_effect", UNKNOWN, "no key"),
        result("after vm.running == 100%", PASS, "all"),
    )
    text = " ".join(Read(page(story(good().records, said))).said.split())
    places = ["pass before vm.running", "pass after vm.running", "pass tpm_sane", "2 checks had"]
    assert sorted(places, key=text.index) == places
    assert "? 2 unknown" not in text and "✔ 3 pass 2 had nothing to judge" in text
    assert "? unknown lock_told" not in text
    assert "2 checks had nothing to judge in this run lock_told no VM was locked" in text


def test_digests_of_the_run_stand_below_all_else() -> None:
    text = Read(page(good())).said
    assert text.index("No VM was seen in this run.") < text.index("Timeline")
    assert text.index("c0de") > text.index("Records")


def test_a_failed_hypothesis_has_the_measurements_that_show_it() -> None:
    tale = Tale()
    tale.add(1.0, "probe", "vm.running", when="during", holds=False)
    tale.add(2.0, "probe", "vm.running", when="during", holds=True)
    tale.add(3.0, "probe", "vm.running", when="during", holds=False)
    tale.add(4.0, "probe", "vm.running", when="after", holds=False)
    tale.add(5.0, "probe", "vm.running", when="after", holds=False)
    said = verdict(result("during vm.running >= 1", FAIL), result("after vm.running == 100%", FAIL))
    found = outcomes(story(tale.records, said))
    assert [one.records for one in found] == [(1, 3), (5,)]
    assert [one.scene.first for one in found if one.scene] == [1, 5]


@pytest.mark.parametrize("word", ["broken off", "error", "interrupted", "not steady", "unknown"])
def test_a_run_that_ended_otherwise_says_so(word: str) -> None:
    run = story((), None if word == "broken off" else verdict(word=word, code=3))
    assert f"{word} " in " ".join(Read(page(run)).said.split())


def test_a_planned_fault_that_never_came_is_told() -> None:
    assert "was never made" in Read(page(story((), verdict()))).said


def test_of_a_long_history_what_tells_most_is_kept() -> None:
    tale = Tale()
    for n in range(MOST_RECORDS + 50):
        tale.add(float(n), "invoke", "guest.challenge", "vm-01", n=n)
    tale.fault(5e3, "wan")
    last = tale.add(5e3, "ok", "guest.challenge", "vm-01", n=1, wrong="x")
    run = story(tale.records, verdict(result("guests_read_back", FAIL, "wrong", last.seq)))
    shown, left_out = select_records(run.records, outcomes(run))
    assert len(shown) == MOST_RECORDS and left_out == 52
    assert [record.seq for record in shown] == sorted(record.seq for record in shown)
    assert {last.seq, last.seq - 1, 1} <= {record.seq for record in shown}


# ---- two runs ------------------------------------------------------------------------------


def test_two_runs_say_what_was_not_the_same_and_which_checks_differ() -> None:
    other = good()
    bad = verdict(result("guests_read_back", FAIL, "1 wrong"), word="fail", code=1)
    other = story(other.records, bad, plan=plan(faults=(CUT,), seed=8), run="tale-sim-8")
    text = " ".join(Read(pair(good(), other)).said.split())
    assert "to begin with first second seed 7 8 What differs first" in text
    assert "≠ guests_read_back ✔ pass 2 answers ✗ fail 1 wrong" in text
    assert "key.create fault 1 ok 50 ms 50 ms 1 ok 50 ms 50 ms 1.00" in text


def test_two_runs_have_their_sentences_above_and_their_digests_below() -> None:
    text = Read(pair(good(), good())).said
    assert text.count("No VM was seen in this run.") == 2
    assert text.index("c0de") > text.index("Timelines")


def test_equal_runs_part_nowhere() -> None:
    assert parting(good().records, good().records) is None
    text = Read(pair(good(), good())).said
    assert "Nothing: the same experiment" in text and "part at record" not in text


def test_histories_part_at_the_first_record_that_differs() -> None:
    longer = Tale()
    longer.records = list(good().records)
    longer.add(61.0, "note", "more")
    found = parting(good().records, longer.records)
    assert found is not None and found.seq == 6 and len(found.a) == 5 and len(found.b) == 6
    late = [*good().records[:2], *good().records[3:]]
    moved = parting(good().records, late)
    assert moved is not None and moved.seq == 3
