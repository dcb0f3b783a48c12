"""Runs in which VMs change their host: restarted by vSphere HA, migrated, listed by two hosts for a
while. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.chaos.oracle.histories import Story, dark, locked

ONE, TWO = "esxi-001", "esxi-002"
OFF = "InvalidPowerState: vm-01 is not running"


def available() -> Story:
    """A cluster with vSphere HA whose hosts keep no keys."""
    return Story(persistence=False, ha=True)


def taken_over() -> Story:
    """esxi-001 fails, esxi-002 restarts its VM; then esxi-001 is back, and still lists it."""
    story = available().fault("dark", "host.power_loss", nodes=[ONE]).node(ONE, "off").passes(20)
    story.vm("vm-01", TWO, "running").passes(20)
    return story.boot(ONE).heal("dark").host(ONE, "safe")


def left_over(story: Story, seconds: int, *, seen: str = "off") -> Story:
    """Both hosts list it, and only one runs it."""
    for _ in range(seconds):
        story.vm("vm-01", ONE, seen).vm("vm-01", TWO, "running").passes(1)
    return story


def nobodys(story: Story, seconds: int) -> Story:
    """Both hosts list it, and none runs it."""
    for _ in range(seconds):
        story.vm("vm-01", ONE, "off").vm("vm-01", TWO, "off").passes(1)
    return story


def moved(story: Story, kind: str = "ok", *, ran: bool = True) -> Story:
    """vm-01 is migrated from esxi-001 to esxi-002."""
    told = {"host": TWO, "ran": ran} if kind == "ok" else {"error": "TimedOut"}
    return story.op("invoke", "vm-01", "vm.migrate", n=3).op(
        kind, "vm-01", "vm.migrate", n=3, **told
    )


def seen_there(story: Story, seen: str = "running", *, wanted: bool = True) -> Story:
    return story.vm("vm-01", TWO, seen, wanted=wanted).passes(20)


def off_there() -> Story:
    """vm-01 is off, and moved with its files."""
    story = Story(persistence=False).cut()
    story.op("invoke", "vm-01", "vm.off").op("ok", "vm-01", "vm.off")
    story.vm("vm-01", ONE, "off", wanted=False).passes(40)
    return seen_there(moved(story, ran=False), "off", wanted=False)


def recrypted(story: Story, kind: str = "ok", key: str = "k9") -> Story:
    """vm-01 is put under another key."""
    told = {"key": key, "provider": "p"} if kind == "ok" else {"error": "TimedOut"}
    story.op("invoke", "vm-01", "vm.recrypt", n=4)
    return story.op(kind, "vm-01", "vm.recrypt", n=4, **told)


def under(story: Story, key: str, seen: str = "running") -> Story:
    """Its host tells of vm-01, which is under this key."""
    story.keks = story.keks | {"vm-01": f"p/{key}"}
    return story.vm("vm-01", ONE, seen).passes(10)


def struck(story: Story, vm: str = "vm-01") -> Story:
    """The key that the VM has now is destroyed, and then esxi-001 loses its power."""
    story.fault("gone", "kms.key_state", vms=[], keys=["k1"], servers=["kms"], state="destroy")
    story.passes(40).fault("dark", "host.power_loss", nodes=[ONE])
    return story.boot(ONE).heal("dark").passes(100).host(ONE, "safe")


GOOD: dict[str, Callable[[], Story]] = {
    "asked for at the host that it has left": lambda: (
        taken_over().challenge("vm-01", OFF, host=ONE).passes(40)
    ),
    "restarted elsewhere, and its old host lists it for a while": lambda: left_over(
        taken_over(), 50
    ).passes(20),
    "restarted elsewhere, and listed last by the host that it has left": lambda: (
        left_over(taken_over(), 50).vm("vm-01", ONE, "off").passes(60)
    ),
    "listed by two hosts of which none runs it": lambda: nobodys(taken_over().passes(5), 60),
}


AVAILABLE: dict[str, Any] = {"persistence": False, "ha": True, "remediation_interval_s": 10.0}


def failed(power: str = "host.power_loss", *, passes: int = 200, **lab: Any) -> Story:
    """esxi-001 fails when esxi-002 is up for long, and stays off."""
    story = Story(**{**AVAILABLE, **lab}).passes(200)
    return story.fault("dark", power, nodes=[ONE]).node(ONE, "off").passes(passes)


GOOD |= {
    "failed, and restarted in time": lambda: (
        failed(passes=90).vm("vm-01", TWO, "running").passes(100)
    ),
    "failed, and there is no HA": lambda: failed(ha=False),
    "shut down in order, and nobody restarts it": lambda: failed("host.reboot"),
    "failed, and back before others could judge": lambda: (
        failed(passes=60)
        .boot(ONE)
        .heal("dark")
        .host(ONE, "safe")
        .vm("vm-01", ONE, "running")
        .passes(100)
    ),
    "failed, and nobody has the key": lambda: (
        Story(**AVAILABLE)
        .passes(200)
        .cut()
        .fault("dark", "host.power_loss", nodes=[ONE])
        .node(ONE, "off")
        .passes(300)
    ),
    "failed, and it was not to run": lambda: (
        Story(**AVAILABLE)
        .passes(200)
        .op("invoke", "vm-01", "vm.off", n=3)
        .op("ok", "vm-01", "vm.off", n=3)
        .vm("vm-01", ONE, "off", wanted=False)
        .passes(5)
        .fault("dark", "host.power_loss", nodes=[ONE])
        .node(ONE, "off")
        .passes(300)
    ),
    "failed, and the other one has just booted": lambda: (
        Story(**{**AVAILABLE, "persistence": True})
        .fault("two", "host.power_loss", nodes=[TWO])
        .boot(TWO)
        .heal("two")
        .host(TWO, "safe")
        .vm("vm-02", TWO, "running")
        .passes(5)
        .fault("dark", "host.power_loss", nodes=[ONE])
        .node(ONE, "off")
        .passes(220)
    ),
}
GOOD |= {
    "migrated without a key server": lambda: seen_there(
        moved(Story(persistence=False).cut().passes(40))
    ).passes(100),
    "migrated away, and its first host loses its power": lambda: (
        seen_there(moved(Story(persistence=False).cut().passes(40)))
        .fault("dark", "host.power_loss", nodes=[ONE])
        .node(ONE, "off")
        .passes(200)
    ),
    "migrated while it was off": lambda: off_there().passes(100),
    "off after a boot, and migrated so": lambda: seen_there(
        moved(
            locked(dark(persistence=False))
            .heal("wan")
            .passes(100)
            .host(ONE, "safe")
            .vm("vm-01", ONE, "off")
            .passes(100),
            ran=False,
        ),
        "off",
    ).passes(100),
    "nobody knows whether it was migrated, and it was": lambda: seen_there(
        moved(Story(persistence=False).cut().passes(40), "info").passes(3)
    ).passes(100),
    "nobody knows whether it was migrated, and it is off": lambda: seen_there(
        moved(Story(persistence=False).cut().passes(40), "info").passes(3), "off"
    ).passes(200),
    "nobody knows whether it was migrated, and it is off where it was": lambda: (
        moved(Story(persistence=False).cut().passes(40), "info")
        .passes(3)
        .vm("vm-01", ONE, "off")
        .passes(200)
    ),
    "recrypted, and its old key is destroyed": lambda: under(
        struck(under(recrypted(Story(persistence=True)), "k9")), "k9"
    ).passes(100),
    "nobody knows whether it was recrypted, and it was": lambda: under(
        struck(under(recrypted(Story(persistence=False), "info"), "k9")), "k9"
    ).passes(100),
    "nobody knows whether it was recrypted, and it was not": lambda: (
        recrypted(Story(persistence=False), "info")
        .passes(100)
        .cut()
        .fault("dark", "host.power_loss", nodes=[ONE])
        .boot(ONE)
        .heal("dark")
        .host(ONE, "prepared")
        .vm("vm-01", ONE, "locked")
        .passes(60)
    ),
    "started while its key was being changed": lambda: (
        locked(dark(persistence=False))
        .op("invoke", "vm-01", "vm.recrypt", n=4)
        .op("invoke", "vm-01", "vm.on", n=7)
        .passes(2)
        .op("ok", "vm-01", "vm.on", n=7)
        .op("info", "vm-01", "vm.recrypt", n=4, error="TimedOut")
        .vm("vm-01", ONE, "running")
        .passes(40)
    ),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "failed, and nobody restarts it": (failed, ONE, "R2", "down with its host"),
    "its process was killed, and nobody restarts it": (
        lambda: failed("proc.kill"),
        ONE,
        "R2",
        "down with its host",
    ),
    "asked for at the host that is said to run it": (
        lambda: taken_over().passes(5).challenge("vm-01", OFF, host=TWO).passes(20),
        "vm-01",
        "R",
        "said to run, and no guest does,",
    ),
    "restarted elsewhere, and off there": (
        lambda: (
            left_over(taken_over(), 5)
            .vm("vm-01", ONE, "off")
            .passes(1)
            .vm("vm-01", TWO, "off")
            .passes(60)
        ),
        "vm-01",
        "R2",
        "off",
    ),
    "migrated, and off on its new host": (
        lambda: seen_there(
            seen_there(moved(Story(persistence=False).cut().passes(40))), "off"
        ).passes(60),
        "vm-01",
        "R2",
        "off",
    ),
    "migrated, and off when its new host tells of it": (
        lambda: seen_there(
            moved(
                Story(persistence=True)
                .cut()
                .fault("dark", "host.power_loss", nodes=[TWO])
                .boot(TWO)
                .heal("dark")
                .host(TWO, "safe")
                .vm("vm-02", TWO, "running")
                .passes(40)
            ),
            "off",
        ).passes(60),
        "vm-01",
        "R2",
        "off",
    ),
    "recrypted, and locked before its host tells of its key": (
        lambda: under(
            recrypted(Story(persistence=True))
            .passes(5)
            .cut()
            .fault("dark", "host.power_loss", nodes=[ONE])
            .boot(ONE)
            .heal("dark")
            .host(ONE, "safe"),
            "k9",
            "locked",
        ).passes(60),
        "vm-01",
        "R36",
        "locked",
    ),
    "migrated, and there is no guest on its new host": (
        lambda: (
            seen_there(moved(Story(persistence=False).cut().passes(40)))
            .challenge("vm-01", OFF, host=TWO)
            .passes(20)
        ),
        "vm-01",
        "R1",
        "said to run, and no guest does,",
    ),
    "migrated, and locked on its new host": (
        lambda: seen_there(moved(Story(persistence=False).cut().passes(40)), "locked").passes(60),
        "vm-01",
        "R2",
        "locked",
    ),
    "a migration that was refused, and it is off": (
        lambda: (
            moved(Story(persistence=False).cut().passes(40), "fail")
            .passes(10)
            .vm("vm-01", ONE, "off")
            .passes(60)
        ),
        "vm-01",
        "R",
        "off",
    ),
    "recrypted, and locked for its old key": (
        lambda: under(
            struck(under(recrypted(Story(persistence=True)), "k9")), "k9", "locked"
        ).passes(100),
        "vm-01",
        "R",
        "locked",
    ),
    "recrypted, and it goes down": (
        lambda: (
            under(recrypted(Story(persistence=False).cut().passes(40)), "k9")
            .vm("vm-01", ONE, "off")
            .passes(60)
        ),
        "vm-01",
        "R",
        "off",
    ),
    "recrypted long ago, without its keys, and powered on": (
        lambda: (
            locked(dark(persistence=False))
            .op("invoke", "vm-01", "vm.recrypt", n=4)
            .op("info", "vm-01", "vm.recrypt", n=4, error="TimedOut")
            .passes(100)
            .op("invoke", "vm-01", "vm.on", n=7)
            .passes(2)
            .op("ok", "vm-01", "vm.on", n=7)
            .passes(1)
        ),
        "vm-01",
        "R6",
        "started",
    ),
}

OUTAGES = set(BAD) - {"recrypted long ago, without its keys, and powered on"}


def unmoved() -> Story:
    """A migration whose end nobody knows leaves vm-01 on esxi-002, off; its source is down."""
    begun = Story(persistence=True).fault("dark", "host.reboot", nodes=[ONE]).node(ONE, "off")
    story = moved(begun, "info")
    story.vm("vm-01", TWO, "off").passes(100)
    story.fault("fell", "host.power_loss", nodes=[TWO]).boot(TWO).heal("fell")
    return story.host(TWO, "safe").vm("vm-01", TWO, "off")


GOOD |= {
    "nobody knows whether it was migrated, and its new host boots": lambda: unmoved().passes(60),
}
