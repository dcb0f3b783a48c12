"""A run in one sentence, of what was seen, with the oracle's reason for the longest outage."""

from __future__ import annotations

from chaos.report.availability import headline
from tests.chaos.oracle.histories import Story as Told
from tests.chaos.report.tales import directory, story, verdict
from tests.chaos.report.test_lanes import back, locked, told_records

TITLES = {"R6": "The key is in no place that can be reached", "R18": "The policy does not hold"}


def of(told: Told) -> str:
    run = story(told_records(told), verdict(), directory=directory(), titles=TITLES)
    return headline(run)


def halted(*, cured: bool) -> Told:
    """A host whose TPM was cleared boots to its screen, and runs again with its recovery key."""
    told = Told(persistence=True).passes(20).fault("cleared", "tpm.clear", nodes=["esxi-001"])
    told = told.node("esxi-001", "booting").passes(10).node("esxi-001", "halted").passes(233)
    told = told.node("esxi-001", "booting").passes(20)
    told.rows.append(("", "heal", "heal", {"id": "cleared", "verified": True, "cured": cured}))
    told = told.node("esxi-001", "running").host("esxi-001", "safe")
    return told.vm("vm-01", "esxi-001", "running").passes(20)


def test_a_vm_that_was_locked_to_the_end_has_the_reason_of_the_rules() -> None:
    said = of(locked())
    assert said.startswith("1 of 2 VMs went down, for ")
    assert "because it was locked: the key is in no place that can be reached (R6)." in said
    assert said.endswith(" It was not running at the end.")


def test_a_halted_host_says_until_when() -> None:
    told = halted(cured=True)
    assert "because its host was halted until its recovery key was typed (R18)." in of(told)
    assert "because its host was halted: the policy does not hold (R18)." in of(halted(cured=False))


def test_a_vm_that_came_back_with_its_host_names_the_fault() -> None:
    said = of(back("running"))
    assert "1 of 2 VMs went down, for " in said and "because its host was down: " in said
    assert "at the end" not in said


def test_what_was_asked_for_is_no_outage() -> None:
    told = Told(persistence=True).passes(20).vm("vm-01", "esxi-001", "off", wanted=False).passes(20)
    assert of(told) == "2 of 2 VMs ran, and none of them went down."


def test_the_end_of_what_was_seen_is_no_outage() -> None:
    assert of(Told(persistence=True).passes(20)) == "2 of 2 VMs ran, and none of them went down."
    assert headline(story((), verdict())) == "No VM was seen in this run."
