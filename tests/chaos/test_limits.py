"""What ends a run early, what must fail under a planted bug, and the file that one begins with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.experiment.write import skeleton
from chaos.verdict import Verdict, unlike
from lab.play.prepare import problems
from lab.schema.errors import KeysteadError
from lab.state.checkout import bug_patch
from tests.chaos.test_engine import all_well, planned, play
from tests.chaos.test_schedule import made, refused
from tests.chaos.worlds import World

HOLDS = 'hypothesis: {after: [{probe: host.up, is: "== 100%"}]}\n'


@pytest.fixture
def world() -> Iterator[World]:
    one = World(hosts=2, vms=2)
    yield one
    one.close()


DARK = """\
guards: {abort_if: [{probe: vm.running, is: "< 100%", for: 8s, every: 1s}]}
schedule:
  - {id: dark, at: 5s, for: LONG, fault: host.power_loss, on: esxi-001}
"""


@pytest.mark.sim
def test_a_run_is_given_up_healed_and_says_why(world: World) -> None:
    verdict, history = play(world, planned(world, HOLDS + DARK.replace("LONG", "300s")))
    assert (verdict.verdict, verdict.exit_code) == ("error", 5)
    assert verdict.reasons[0].startswith("KS-CHAOS-207: vm.running < 100% for 8 s: measured 0.5")
    assert history.records[-1].t < 60 and all_well(world)


@pytest.mark.sim
def test_what_passes_in_time_does_not_end_a_run(world: World) -> None:
    short = DARK.replace("LONG", "1s").replace("for: 8s", "for: 40s")
    assert play(world, planned(world, HOLDS + short))[0].exit_code == 0


def test_what_ends_a_run_is_held_against_the_lab_and_its_unit() -> None:
    assert "given up when vm.running < 100% for 8 s" in _rendered()
    text = DARK.replace("LONG", "1s").replace("vm.running", "PROBE")
    assert refused(text.replace("PROBE", "vm.runing"))[0][:2] == (1, "KS-CHAOS-014")
    assert refused(text.replace("PROBE", "op.ok"))[0][:2] == (1, "KS-CHAOS-004")
    assert refused(text.replace("PROBE", "vm.running, on: vm-99"))[0][:2] == (1, "KS-CHAOS-010")


def _rendered() -> str:
    from chaos.experiment.plan import render

    return render(made(DARK.replace("LONG", "1s")))


CONTROL = """\
negative_control: {patch: no_autostart, expect: [vm.running, truth_table]}
schedule: [{at: 1s, fault: host.reboot, on: esxi-001}]
"""


def test_a_negative_control_names_a_bug_and_what_it_breaks() -> None:
    found = made(CONTROL)
    assert (found.bug, found.expect) == ("no_autostart", ("vm.running", "truth_table"))
    assert refused(CONTROL.replace("truth_table", "truth_tabel"))[0][:2] == (1, "KS-CHAOS-014")
    both = CONTROL.replace("patch:", "disable: no_eviction, patch:")
    assert refused(both)[0][:2] == (1, "KS-CHAOS-003")


def judged(exit_code: int, **results: str) -> Verdict:
    checks = tuple(
        CheckResult(name=name.replace("__", "."), result=CheckOutcome(result), text="")
        for name, result in results.items()
    )
    return Verdict(verdict="x", exit_code=exit_code, seed=1, trace_hash="", run="", checks=checks)


def test_exactly_the_named_checks_fail() -> None:
    names = ("vm.running", "truth_table")
    probe = CheckResult(name="after vm.running == 100%", result=CheckOutcome.FAIL, text="")
    fine = judged(1, truth_table="fail", tpm_sane="pass")
    both = Verdict(
        verdict="fail", exit_code=1, seed=1, trace_hash="", run="", checks=(*fine.checks, probe)
    )
    assert unlike(both, names) == ""
    assert unlike(fine, names) == "did not fail: vm.running"
    assert unlike(both, names[:1]) == "failed too: truth_table"
    assert unlike(judged(0, truth_table="pass"), names) == "nothing failed: the verdict is x"
    assert unlike(judged(5, truth_table="fail"), names).startswith("nothing failed")
    spaced = CheckResult(name="no key left", result=CheckOutcome.FAIL, text="")
    assert unlike(msgspec.structs.replace(fine, checks=(spaced,)), ["no key left"]) == ""
    ended = msgspec.structs.replace(judged(5), reasons=("KS-CHAOS-110: x must end fail",))
    assert unlike(ended, ["must"]) == ""
    assert unlike(ended, names) == "did not fail: vm.running, truth_table; failed too: must"
    other = msgspec.structs.replace(ended, reasons=(*ended.reasons, "KS-CHAOS-101: y"))
    assert unlike(other, ["must"]).startswith("nothing failed")


def test_a_bug_is_one_of_the_checkout() -> None:
    bug_patch("no_autostart")
    for name in ("no_such_bug", "../x", ""):
        with pytest.raises(KeysteadError) as caught:
            bug_patch(name)
        assert caught.value.id == "KS-CHAOS-018"


def test_a_new_file_is_without_errors(tmp_path: Path) -> None:
    path = tmp_path / "my-outage.yaml"
    path.write_text(skeleton("my-outage"))
    assert problems(path) == ()
    assert path.read_text().count("#") > 10


def test_a_majority_and_a_minority_are_drawn() -> None:
    text = "schedule: [{at: 1s, for: 1s, fault: host.power_loss, on: AMOUNT of role:esxi}]\n"
    for amount, count in (("majority", 5), ("minority", 3)):
        [fault] = made(text.replace("AMOUNT", amount)).faults
        assert len(fault.fault().touches()) == count
    assert (
        refused(text.replace("AMOUNT of role:esxi", "minority of role:kms"))[0][1] == "KS-CHAOS-011"
    )


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("below: 50%", "< 50%"),
        ("above: 0.5", "> 0.5"),
        ("above: '1'", "> 1"),
        ("is: '<= 50%'", "<= 50%"),
    ],
)
def test_an_abort_condition_has_a_limit_by_one_of_three_words(limit: str, text: str) -> None:
    rest = f"guards: {{abort_if: [{{probe: host.up, {limit}}}]}}\nschedule: []\n"
    [abort] = made(rest).aborts
    assert abort.is_.text == text


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("for: 3s", "give one of `is`, `above` and `below`"),
        ("above: 1, below: 0", "give one of `is`, `above` and `below`"),
        ("above: true", "no limit: write 3, 50% or 2s"),
        ("above: '> 3'", "no limit: write 3, 50% or 2s"),
        ("below: 3s", "this probe measures ratio"),
        ("below: 1e400", "no limit: write 3, 50% or 2s"),
    ],
)
def test_what_is_no_limit_is_told(limit: str, said: str) -> None:
    rest = f"guards: {{abort_if: [{{probe: host.up, {limit}}}]}}\nschedule: []\n"
    [(line, id, text)] = refused(rest)
    assert said in text and id == "KS-CHAOS-004", (line, id, text)
