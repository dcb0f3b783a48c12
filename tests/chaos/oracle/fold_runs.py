"""Runs that hold the fold to its details, one for each way in which it could forget a fact, mix up
two or believe too much: good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.chaos.oracle.histories import Story, dark, locked
from tests.chaos.oracle.knob_runs import (
    GRACE,
    asked_to_persist,
    deleted,
    down_and_locked,
    host_key_gone,
    unlocked_early,
    up_and_running,
)

BROKER = "broker.restart"
OFTEN: dict[str, Any] = {"remediation_interval_s": 20.0}
SET: dict[str, Any] = {"nodes": ["esxi-001"]}


def again(story: Story, id: str = "again", kind: str = "host.power_loss") -> Story:
    """esxi-001 loses its power, and is up again."""
    return story.fault(id, kind, nodes=["esxi-001"]).boot("esxi-001").heal(id)


def under(
    kind: str, *, after: Callable[[Story], Story] = lambda story: story, **more: Any
) -> Story:
    """A boot of esxi-001 in a lab without persistence, under a fault; ``after`` it began."""
    return again(after(Story(persistence=False).fault("one", kind, **more).passes(5)))


def cut_under(**more: Any) -> Story:
    """The same under a cut of the link to the key server."""
    return under("link.cut", **{"a": ["vcenter"], "b": ["kms"], "dir": "both"} | more)


def coming(kind: str, **values: Any) -> Story:
    """A fault is being made."""
    return Story(persistence=False, **OFTEN).coming("one", kind, **values)


def ending(story: Story) -> Story:
    """The first fault is being taken back."""
    return story.heal("one", verified=False)


def swapped() -> Story:
    """Another TPM: the host goes down, boots and stands at its screen before all of it is done."""
    story = Story(persistence=True).coming("swap", "tpm.swap", **SET)
    return story.boot("esxi-001", passes=5).came("swap", "tpm.swap", **SET)


def measured(**values: Any) -> Story:
    """A boot after the firmware was changed so."""
    knobs = {"seal_pcrs": values.pop("seal_pcrs")} if "seal_pcrs" in values else {}
    story = Story(persistence=True, **knobs)
    return again(story.fault("one", "host.boot_measure", nodes=["esxi-001"], **values).passes(10))


def switched(end: str = "info") -> Story:
    """vm-01 is being powered off and on while its host boots without its key, which then comes."""
    story = Story(persistence=False).cut().op("invoke", "vm-01")
    story.fault("dark", "host.power_loss", nodes=["esxi-001"]).boot("esxi-001").heal("dark")
    story.heal("wan").op(end, "vm-01").host("esxi-001", "safe")
    return story.vm("vm-01", "esxi-001", "off")


def twice() -> Story:
    """vm-01 was started in one boot; in the next one its key cannot come."""
    story = unlocked_early().passes(10).vm("vm-01", "esxi-001", "running").passes(40)
    return again(story.cut("wan-2").passes(5))


def made_after(story: Story) -> Story:
    """A new key was made."""
    return story.op("invoke", "", "key.create", n=7).op(
        "ok", "", "key.create", n=7, key="k9", provider="p"
    )


def vcenter_down() -> Story:
    """vCenter is off."""
    story = Story(persistence=True).fault("one", "vcenter.down", nodes=["vcenter"])
    return story.node("vcenter", "off").passes(10)


def of_a_pair(*cut: str) -> Story:
    """A provider with two key servers, of which some are cut off; a boot."""
    story = Story(persistence=False, pair=True, **OFTEN).passes(100)
    for server in cut:
        story.cut(f"wan-{server}", ("vcenter", server))
    return again(story.passes(10))


GOOD: dict[str, Callable[[], Story]] = {
    "off and on again, and dark with nothing in the store": lambda: (
        asked_to_persist(Story(persistence=True), "", "off_on")
        .host("esxi-001", "prepared", persistence=False)
        .vm("vm-01", "esxi-001", "locked")
        .passes(60)
    ),
    "persistence without a seal, and turned on": lambda: locked(
        asked_to_persist(Story(persistence=False, mode="NONE")).passes(5)
    ),
    "an option was removed that the policy asks for": lambda: (
        again(Story(persistence=True).fault("one", "host.exec_option_removed", **SET).passes(10))
        .node("esxi-001", "halted")
        .passes(60)
    ),
    "an option was removed that no policy asks for": lambda: up_and_running(
        again(Story(persistence=True).fault("one", "host.exec_option_removed", **SET).passes(10))
    ),
    "wanted or not when its host booted, and not started": lambda: switched().passes(150),
    "locked while its key is being restored": lambda: (
        ending(under("kms.key_state", vms=["vm-01"], servers=["kms"], state="destroy"))
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "locked")
        .passes(500)
    ),
    "vCenter takes a minute to come to a host": lambda: (
        again(Story(persistence=False, **OFTEN).passes(100).cut("far", ("esxi-001", "esxi-002")))
        .host("esxi-001", "prepared")
        .vm("vm-01", "esxi-001", "locked")
        .passes(70)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off")
        .passes(60)
    ),
    "a provider that is being added again keeps its keys": lambda: (
        deleted(5).heal("del", verified=False).passes(300)
    ),
    "a host that says nothing after its boot": lambda: dark(persistence=False).passes(60),
    "locked in one boot and not in the one before": lambda: down_and_locked(twice()),
    "a fault that begins while another is being taken back with it": lambda: up_and_running(
        under(BROKER, after=lambda story: ending(story).fault("two", BROKER))
    ),
    "two faults, and one is being taken back with the other": lambda: up_and_running(
        under(BROKER, after=lambda story: ending(story.fault("two", BROKER)))
    ),
    "a fault that was not made, and is not there": lambda: up_and_running(
        cut_under(error="KS-CHAOS-101")
    ),
    "a link that is being mended": lambda: up_and_running(cut_under(after=ending)),
    "a link that is being mended, and not yet": lambda: down_and_locked(cut_under(after=ending)),
    "a key server that is being copied": lambda: down_and_locked(
        again(coming("kms.key_state", vms=["vm-02"], servers=["kms"], state="destroy").passes(5)),
        300,
    ),
    "a host that goes down with a process": lambda: (
        Story(persistence=True)
        .fault("one", "proc.kill", nodes=["kms"])
        .node("esxi-002", "off")
        .passes(60)
    ),
    "a host that is off while its TPM is changed": lambda: (
        Story(persistence=True)
        .cut("other", ("esxi-001", "esxi-002"))
        .coming("one", "tpm.swap", nodes=["esxi-001"])
        .node("esxi-001", "off")
        .passes(60)
    ),
    "a key that was made while vCenter came back": lambda: made_after(
        ending(vcenter_down())
    ).passes(10),
    "a key that came over a slow link, before it was cut": lambda: up_and_running(
        under("link.delay", a=["vcenter"], b=["kms"], base_s=3.0, dir="both")
        .passes(10)
        .cut()
        .passes(5)
    ),
    "one of two key servers is away, and keys come": lambda: up_and_running(of_a_pair("kms")),
    "one of two key servers is away, and it takes some time": lambda: (
        of_a_pair("kms").host("esxi-001", "prepared").vm("vm-01", "esxi-001", "locked").passes(150)
    ),
    "Secure Boot set as it was": lambda: up_and_running(measured(secure_boot=True)),
    "another build, which the policy covers": lambda: (
        measured(build="9", seal_pcrs=[7, 8]).node("esxi-001", "halted").passes(60)
    ),
    "another event, where the policy looks": lambda: (
        measured(event="x", pcr=7).node("esxi-001", "halted").passes(60)
    ),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "turned off, and its store is used": (
        lambda: (
            again(
                Story(persistence=True).host("esxi-001", "safe", persistence=False).cut().passes(9)
            )
            .host("esxi-001", "safe", persistence=False)
            .vm("vm-01", "esxi-001", "locked")
            .passes(60)
        ),
        "esxi-001",
        "R5",
        "safe",
    ),
    "refused for lack of a key that came with the boot": (
        lambda: (
            up_and_running(
                again(
                    Story(persistence=False, **GRACE)
                    .fault("del", "provider.delete", provider="p", vcenter="vcenter")
                    .passes(30)
                    .heal("del")
                ),
                40,
            )
            .cut()
            .op("invoke", "vm-01")
            .op("info", "vm-01", off=True, error="EncryptionKeyRequired")
            .passes(10)
        ),
        "vm-01",
        "R",
        "refused for lack of a key",
    ),
    "not safe any more with its new host key": (
        lambda: up_and_running(host_key_gone(), 450).host("esxi-001", "prepared").passes(60),
        "esxi-001",
        "R30",
        "prepared",
    ),
    "cached before, not stored by the knob, and there": (
        lambda: up_and_running(
            again(
                Story(persistence=False, persist_on_enable=False)
                .cut()
                .passes(100)
                .host("esxi-001", "safe", persistence=True)
                .passes(5)
            ).host("esxi-001", "safe", persistence=True)
        ),
        "esxi-001",
        "R5",
        "safe",
    ),
    "its key came while its way had long been shut": (
        lambda: (
            locked(dark(persistence=False))
            .heal("wan")
            .passes(5)
            .cut()
            .passes(70)
            .host("esxi-001", "safe")
            .passes(60)
        ),
        "esxi-001",
        "R5",
        "safe",
    ),
    "another TPM that was put in while it booted, and no screen": (
        lambda: swapped().node("esxi-001", "running").host("esxi-001", "safe").passes(60),
        "esxi-001",
        "R18",
        "safe",
    ),
    "at its screen after the cure": (
        lambda: swapped().node("esxi-001", "halted").passes(10).heal("swap").passes(60),
        "esxi-001",
        "R35",
        "halted",
    ),
    "down long after an operation without known end": (
        lambda: (
            Story(persistence=False)
            .cut()
            .op("invoke", "vm-01")
            .op("info", "vm-01")
            .passes(100)
            .vm("vm-01", "esxi-001", "off")
            .passes(60)
        ),
        "vm-01",
        "R1",
        "off",
    ),
    "safe though both providers are away": (
        lambda: (
            Story(persistence=False, two=True)
            .cut("one", ("vcenter", "kms"))
            .cut("two", ("vcenter", "kms-2"))
            .passes(10)
            .fault("dark", "host.power_loss", nodes=["esxi-002"])
            .boot("esxi-002")
            .heal("dark")
            .host("esxi-002", "safe")
            .vm("vm-02", "esxi-002", "locked")
            .passes(60)
        ),
        "esxi-002",
        "R5",
        "safe",
    ),
    "a boot that does not end": (
        lambda: again(Story(persistence=True)).node("esxi-001", "booting").passes(200),
        "esxi-001",
        "R35",
        "booting",
    ),
    "started long after its window": (
        lambda: (
            locked(dark(persistence=False))
            .passes(80)
            .heal("wan")
            .passes(5)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "vm-01",
        "R6",
        "running",
    ),
    "down right after it was put on": (
        lambda: (
            locked(dark(persistence=False))
            .heal("wan")
            .passes(100)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "off")
            .passes(5)
            .op("invoke", "vm-01", "vm.on")
            .op("ok", "vm-01", "vm.on")
            .passes(60)
        ),
        "vm-01",
        "R1",
        "off",
    ),
    "it runs in a boot without its key, as in the one before": (
        lambda: twice().host("esxi-001", "prepared").vm("vm-01", "esxi-001", "running").passes(60),
        "vm-01",
        "R6",
        "running",
    ),
    "not safe, and the cut was missed": (
        lambda: down_and_locked(cut_under(missed=True), 450),
        "esxi-001",
        "R3",
        "prepared",
    ),
    "a destroyed key that came, and nobody restored it": (
        lambda: up_and_running(
            under(
                "kms.key_state",
                after=lambda story: story.heal("one", verified=False, stays=True),
                vms=["vm-01"],
                servers=["kms"],
                state="destroy",
            )
        ),
        "vm-01",
        "R29",
        "running",
    ),
    "prepared though only one server of the bus is down": (
        lambda: down_and_locked(under("broker.down", on=2), 450),
        "esxi-001",
        "R3",
        "prepared",
    ),
    "safe without a broker": (lambda: up_and_running(under(BROKER)), "esxi-001", "R7", "safe"),
    "safe though its key server stands still": (
        lambda: up_and_running(under("proc.pause", nodes=["kms"])),
        "esxi-001",
        "R5",
        "safe",
    ),
    "safe though vCenter stands still": (
        lambda: up_and_running(under("proc.pause", nodes=["vcenter"])),
        "esxi-001",
        "R7",
        "safe",
    ),
    "a key that was made while vCenter was down": (
        lambda: made_after(vcenter_down()).passes(10),
        "",
        "R12",
        "made",
    ),
    "safe, and the cut was told the other way round": (
        lambda: up_and_running(cut_under(a=["kms"], b=["vcenter"])),
        "esxi-001",
        "R5",
        "safe",
    ),
    "safe though both key servers of its provider are away": (
        lambda: up_and_running(of_a_pair("kms", "kms-2")),
        "esxi-001",
        "R5",
        "safe",
    ),
}

OUTAGES = {
    "prepared though only one server of the bus is down",
    "refused for lack of a key that came with the boot",
    "down long after an operation without known end",
    "down right after it was put on",
    "not safe, and the cut was missed",
}
