"""Runs that the rules allow pass; each way of breaking them is found, at its record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaos.checks.no_needless_outage import no_needless_outage
from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.truth_table import truth_table
from chaos.history import Record
from tests.chaos.oracle.histories import Story, dark

PASS, FAIL, UNKNOWN = CheckOutcome.PASS, CheckOutcome.FAIL, CheckOutcome.UNKNOWN


def records(story: Story) -> list[Record]:
    return [
        Record(seq=n, t=float(n), node=node, type=type, op=op, data=data)
        for n, (node, type, op, data) in enumerate(story.rows, start=1)
    ]


def held(story: Story) -> Finding:
    return truth_table(records(story))


def blamed(story: Story) -> Record:
    """The record that the first breach names."""
    found = truth_table(records(story))
    assert found.result is FAIL, found.text
    return records(story)[found.records[0] - 1]


def locked(story: Story) -> Story:
    return story.host("esxi-001", "prepared").vm("vm-01", "esxi-001", "locked").passes(40)


GOOD: dict[str, Callable[[], Story]] = {
    "persisted, and running again": lambda: (
        dark(persistence=True)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(40)
    ),
    "not persisted, and locked": lambda: locked(dark(persistence=False)),
    "unlocked after the heal, and started by nobody": lambda: (
        locked(dark(persistence=False))
        .heal("wan")
        .passes(100)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off")
        .passes(300)
    ),
    "a key server that is down, and no boot": lambda: Story(persistence=False).cut().passes(200),
    "a key that is destroyed while its VM runs": lambda: (
        Story(persistence=False)
        .fault("gone", "kms.key_state", vms=["vm-01"], servers=["kms"], state="destroy")
        .passes(200)
    ),
    "a screen after a changed setting": lambda: (
        Story(persistence=True)
        .fault("set", "host.boot_measure", nodes=["esxi-001"], secure_boot=False)
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .node("esxi-001", "halted")
        .heal("dark")
        .passes(60)
    ),
    "a screen after another TPM, until the cure": lambda: (
        Story(persistence=True)
        .fault("swap", "tpm.swap", nodes=["esxi-001"])
        .boot("esxi-001", passes=0)
        .node("esxi-001", "halted")
        .passes(60)
    ),
    "another build, which no policy covers": lambda: (
        Story(persistence=True)
        .fault("build", "host.boot_measure", nodes=["esxi-001"], build="9")
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
    "off because a command said so": lambda: (
        Story(persistence=False)
        .cut()
        .op("invoke", "vm-01")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(50)
        .op("info", "vm-01")
        .passes(200)
    ),
    "an operation without known end": lambda: (
        Story(persistence=False)
        .cut()
        .op("invoke", "vm-01")
        .op("info", "vm-01")
        .passes(20)
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(100)
    ),
    "prepared while a fault is being made": lambda: (
        dark(persistence=False)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(1)
    ),
    "a host that does not answer": lambda: (
        Story(persistence=False)
        .fault("still", "proc.pause", nodes=["esxi-001"])
        .silent("esxi-001")
        .passes(100)
    ),
    "keys of a deleted provider that were taken away": lambda: (
        Story(persistence=True)
        .fault("del", "provider.delete", provider="p", vcenter="vcenter")
        .passes(700)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "prepared")
        .vm("vm-01", "esxi-001", "locked")
        .passes(60)
    ),
    "a VM without encryption": lambda: (
        dark(persistence=False)
        .host("esxi-001", "prepared")
        .vm("vm-01", "esxi-001", "running", clear=True)
        .passes(60)
    ),
    "marked while its host has not the key, and for a while longer": lambda: (
        locked(dark(persistence=False))
        .marks("vm-01")
        .passes(40)
        .heal("wan")
        .passes(20)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off")
        .passes(100)
        .marks()
        .passes(10)
    ),
    "no TPM, nothing notices": lambda: (
        Story(persistence=False, mode="NONE")
        .fault("set", "host.boot_measure", nodes=["esxi-001"], secure_boot=False)
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "persisted, and it stays down": (
        lambda: (
            dark(persistence=True)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "off")
            .passes(60)
        ),
        "vm-01",
        "R36",
        "off",
    ),
    "persisted, and locked": (
        lambda: (
            dark(persistence=True)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "locked")
            .passes(60)
        ),
        "vm-01",
        "R36",
        "locked",
    ),
    "it runs though it must be locked": (
        lambda: (
            dark(persistence=False)
            .host("esxi-001", "prepared")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "vm-01",
        "R6",
        "running",
    ),
    "unlocked though nobody has the key": (
        lambda: (
            dark(persistence=False)
            .host("esxi-001", "prepared")
            .vm("vm-01", "esxi-001", "off")
            .passes(60)
        ),
        "vm-01",
        "R6",
        "off",
    ),
    "safe though it must be prepared": (
        lambda: (
            dark(persistence=False)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "locked")
            .passes(60)
        ),
        "esxi-001",
        "R5",
        "safe",
    ),
    "prepared though its key was persisted": (
        lambda: (
            dark(persistence=True)
            .host("esxi-001", "prepared")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "esxi-001",
        "R35",
        "prepared",
    ),
    "an outage without a reason": (
        lambda: Story(persistence=False).cut().passes(30).vm("vm-01", "esxi-001", "off").passes(40),
        "vm-01",
        "R1",
        "off",
    ),
    "locked because a key server is down": (
        lambda: (
            Story(persistence=False).cut().passes(30).vm("vm-01", "esxi-001", "locked").passes(40)
        ),
        "vm-01",
        "R1",
        "locked",
    ),
    "the host has lost its mode without a boot": (
        lambda: Story(persistence=False).cut().passes(40).host("esxi-001", "prepared").passes(40),
        "esxi-001",
        "R3",
        "prepared",
    ),
    "no screen, with another TPM": (
        lambda: (
            Story(persistence=True)
            .fault("swap", "tpm.swap", nodes=["esxi-001"])
            .boot("esxi-001", passes=0)
            .host("esxi-001", "safe")
            .passes(60)
        ),
        "esxi-001",
        "R18",
        "safe",
    ),
    "no screen, with Secure Boot off": (
        lambda: (
            Story(persistence=True)
            .fault("set", "host.boot_measure", nodes=["esxi-001"], secure_boot=False)
            .passes(10)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("dark")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "esxi-001",
        "R18",
        "safe",
    ),
    "a screen for another build": (
        lambda: (
            Story(persistence=True)
            .fault("build", "host.boot_measure", nodes=["esxi-001"], build="9")
            .passes(10)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .node("esxi-001", "halted")
            .heal("dark")
            .passes(60)
        ),
        "esxi-001",
        "R35",
        "halted",
    ),
    "down, and no fault took its power": (
        lambda: Story(persistence=True).cut().passes(10).node("esxi-001", "off").passes(60),
        "esxi-001",
        "R",
        "off",
    ),
    "not safe long after its key could come": (
        lambda: locked(dark(persistence=False)).heal("wan").passes(420),
        "esxi-001",
        "R3",
        "prepared",
    ),
    "a destroyed key that came all the same": (
        lambda: (
            Story(persistence=False)
            .fault("gone", "kms.key_state", vms=["vm-01"], servers=["kms"], state="destroy")
            .passes(10)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("dark")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "vm-01",
        "R29",
        "running",
    ),
    "marked by vCenter while it runs": (
        lambda: Story(persistence=False).cut().passes(30).marks("vm-01").passes(10),
        "vcenter",
        "R1",
        "locked",
    ),
    "evicted before its grace": (
        lambda: (
            Story(persistence=True)
            .fault("del", "provider.delete", provider="p", vcenter="vcenter")
            .passes(100)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("dark")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "locked")
            .passes(60)
        ),
        "vm-01",
        "R38",
        "locked",
    ),
}


OUTAGES = {
    "persisted, and it stays down",
    "persisted, and locked",
    "an outage without a reason",
    "locked because a key server is down",
    "not safe long after its key could come",
    "evicted before its grace",
    "marked by vCenter while it runs",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_rules_allow_passes(name: str) -> None:
    found = held(GOOD[name]())
    assert found.result is PASS, found.text


@pytest.mark.parametrize("name", BAD)
def test_what_they_do_not_is_found_at_its_record(name: str) -> None:
    story, node, reason, seen = BAD[name]
    made = story()
    first = blamed(made)
    assert first.node == node, held(made).text
    text = held(made).text
    assert f" is {seen} at " in text and reason in text


@pytest.mark.parametrize("name", BAD)
def test_an_outage_is_a_vm_that_is_down_or_locked(name: str) -> None:
    found = no_needless_outage(records(BAD[name][0]()))
    assert (found.result is FAIL) == (name in OUTAGES), found.text


def test_a_breach_tells_the_faults_of_the_moment() -> None:
    text = held(BAD["persisted, and it stays down"][0]()).text
    assert "running is allowed by R36; faults: wan (link.cut)" in text
    assert (
        "no fault"
        in held(Story(persistence=True).passes(40).vm("vm-01", "esxi-001", "off").passes(40)).text
    )


def test_a_run_without_looks_or_faults_proves_nothing() -> None:
    assert truth_table([]).result is UNKNOWN
    assert held(Story(persistence=True)).result is UNKNOWN
    assert no_needless_outage(records(Story(persistence=True))).result is UNKNOWN
