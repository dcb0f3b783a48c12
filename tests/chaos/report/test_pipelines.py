"""What a pipeline reads of a run: JUnit XML, and annotations of its log."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import msgspec

from chaos.checks.result import CheckOutcome
from chaos.experiment.plan import Cue, Seen
from chaos.report.outcomes import junit, outcomes, workflow_lines
from chaos.report.story import Story, schedule_digest
from tests.chaos.report.tales import CUT, Tale, plan, result, story, verdict

PASS, FAIL, UNKNOWN = CheckOutcome.PASS, CheckOutcome.FAIL, CheckOutcome.UNKNOWN
HOSTILE = 'ends </failure>]]>\x1b[31m here & "there", 100%\nand goes on'


def bad() -> Story:
    tale = Tale()
    tale.fault(10.0, "wan")
    tale.add(12.0, "ok", "guest.challenge", "vm-01", wrong="other bytes")
    said = verdict(
        result("after vm.running == 100%", PASS),
        result("guests_read_back", FAIL, HOSTILE, 2),
        result("no_fault_left", UNKNOWN, "no fault"),
        result("acked_vm_known", UNKNOWN, "no VM was made"),
        word="fail",
        code=1,
        reasons=("guests_read_back: bytes",),
    )
    return story(tale.records, said)


def suite(story: Story, *, strict: bool = False) -> ElementTree.Element:
    root = ElementTree.fromstring(junit(story, strict=strict))  # noqa: S314 - our own
    (found,) = root.findall("testsuite")
    return found


def case(found: ElementTree.Element, name: str) -> ElementTree.Element:
    return next(c for c in found.findall("testcase") if c.get("name") == name)


def test_a_suite_is_the_experiment_and_a_case_each_check_and_hypothesis() -> None:
    found = suite(bad())
    assert found.get("name") == "tale"
    counts = {name: found.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "1", "errors": "0", "skipped": "2"}
    names = [(c.get("classname"), c.get("name")) for c in found.findall("testcase")]
    assert names[0] == ("tale.hypothesis", "after vm.running == 100%")
    assert ("tale.check", "guests_read_back") in names[1:]


def test_elements_and_attributes_are_those_that_readers_of_the_format_know() -> None:
    """The schemas of Ant and Jenkins: names, their order, and forms of numbers and times."""
    odd = story((), verdict(word="error", code=5, reasons=(HOSTILE,)), plan=plan(HOSTILE))
    for found in (suite(bad()), suite(bad(), strict=True), suite(odd)):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", found.get("timestamp") or "")
        children = [child.tag for child in found]
        assert children == ["properties", *["testcase"] * (len(children) - 1)]
        cases = found.findall("testcase")
        assert int(found.get("tests") or 0) == len(cases)
        for word, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(found.get(word) or 0) == sum(c.find(tag) is not None for c in cases)
        for one in cases:
            assert {"name", "classname", "time"} == set(one.keys())
            assert float(one.get("time") or "") >= 0
            for said in one:
                assert said.tag == "system-out" or {"message", "type"} == set(said.keys())


def test_a_failure_has_the_words_the_faults_and_the_command_that_shows_it_again() -> None:
    failure = case(suite(bad()), "guests_read_back").find("failure")
    assert failure is not None and failure.text is not None
    assert "\\x1b[31m" in failure.text and "</failure>" in failure.text
    assert "first seen at record 2" in failure.text
    assert "active faults: wan is there" in failure.text
    assert "again: keystead chaos replay tale-sim-7" in failure.text


def test_properties_say_what_ran() -> None:
    found = suite(bad())
    said = {p.get("name"): p.get("value") for p in found.iter("property")}
    assert said["seed"] == "7" and said["code"] == "c0de" and said["tpm"] == "model"
    assert said["schedule"] == schedule_digest(bad().plan) and said["trace"] == "ab" * 16


def test_unknown_is_skipped_or_an_error_where_that_is_wanted() -> None:
    loose, strict = suite(bad()), suite(bad(), strict=True)
    assert case(loose, "no_fault_left").find("skipped") is not None
    assert case(strict, "no_fault_left").find("error") is not None
    assert strict.get("errors") == "2" and strict.get("skipped") == "0"


def test_a_run_that_failed_for_no_check_is_no_good_one() -> None:
    said = verdict(
        result("no_fault_left", PASS), word="error", code=5, reasons=("KS-CHAOS-101: x",)
    )
    found = suite(story((), said))
    error = case(found, "the run").find("error")
    assert error is not None and error.get("message") == "KS-CHAOS-101: x"
    killed = suite(story((), None))
    assert killed.get("tests") == "1" and killed.get("errors") == "1"


def test_a_good_run_has_no_case_of_its_own() -> None:
    found = suite(story((), verdict(result("no_fault_left", PASS))))
    assert [c.get("name") for c in found.findall("testcase")] == ["no_fault_left"]


def test_the_digest_names_the_schedule_and_not_the_seed() -> None:
    same = schedule_digest(plan(faults=(CUT,), seed=8))
    assert same == schedule_digest(plan(faults=(CUT,)))
    assert same != schedule_digest(plan())


def test_annotations_are_one_line_each_and_nothing_in_them_ends_one() -> None:
    lines = list(workflow_lines(bad(), file="a,b:c.yaml"))
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::error"]
    assert lines[0].startswith(
        "::error file=a%2Cb%3Ac.yaml,title=guests_read_back::ends </failure>"
    )
    assert "100%25%0Aand goes on" in lines[0] and "active faults: wan is there" in lines[0]
    assert "title=no_fault_left::unknown: no fault" in lines[1]
    assert "FAIL: run tale-sim-7, seed 7%0Aguests_read_back: bytes" in lines[2]
    assert not any("\n" in line or "\r" in line for line in lines)


def test_what_was_never_tried_is_told_where_all_must_be_known_only() -> None:
    strict = list(workflow_lines(bad(), strict=True))
    assert [line.split(" ")[0] for line in strict] == ["::error"] * 4
    assert "title=acked_vm_known::" in strict[2]


def test_a_good_run_is_a_notice() -> None:
    (line,) = workflow_lines(story((), verdict(result("no_fault_left", PASS))))
    assert line.startswith("::notice title=tale::PASS: run tale-sim-7")


def test_a_run_whose_only_fault_may_never_begin_need_not_have_had_one() -> None:
    """As the engine judges: that no fault was seen gone says nothing against such a run."""
    said = verdict(result("no_fault_left", UNKNOWN, "no fault"))
    for optional in (True, False):
        cue = Cue(what=Seen(event="ok:key.create"), optional=optional)
        waits = plan(faults=(msgspec.structs.replace(CUT, cue=cue),))
        [outcome] = outcomes(story((), said, plan=waits))
        assert outcome.excused == optional
