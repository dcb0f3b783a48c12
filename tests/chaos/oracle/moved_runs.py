"""Runs in which VMs change their host: restarted by vSphere HA, migrated, listed by two hosts for a
while. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.histories import Story

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

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
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
}

OUTAGES = set(BAD)
