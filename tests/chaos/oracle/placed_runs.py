"""Runs in a cluster in which DRS chooses where VMs start. Good ones, and bad ones as in
``bad_runs``; and bugs to plant into what the fold knows of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chaos.oracle.fold.operations import FoldedOperations, Placements
from tests.chaos.oracle.histories import Story

ONE, TWO = "esxi-001", "esxi-002"


def stopped(**lab: Any) -> Story:
    """vm-01 is off on esxi-001, in a lab that has stood for long, and was disturbed once."""
    story = Story(**({"persistence": False, "drs": True} | lab)).passes(100)
    story.cut("once").passes(5).heal("once").passes(20)
    story.op("invoke", "vm-01", "vm.off", n=2).op("ok", "vm-01", "vm.off", n=2)
    return story.vm("vm-01", ONE, "off", wanted=False).passes(20)


def tended(**lab: Any) -> Story:
    """The same, and esxi-001 is in maintenance mode."""
    story = stopped(**lab)
    story.op("invoke", ONE, "host.enter-maintenance", n=3, action="x")
    story.op("ok", ONE, "host.enter-maintenance", n=3, action="x")
    return story.host(ONE, "safe", maintenance=True).passes(40)


def asked(story: Story, host: str = "", error: str = "") -> Story:
    """Somebody powers vm-01 on: it starts on this host, or is refused."""
    story.op("invoke", "vm-01", "vm.on", n=4, action="on")
    told = {"host": host} if host else {"error": error}
    return story.op("ok" if host else "fail", "vm-01", "vm.on", n=4, action="on", **told)


def starts(story: Story, host: str) -> Story:
    return asked(story, host).vm("vm-01", host, "running").passes(60)


def cold() -> Story:
    """esxi-002 boots without its keys while the key server is cut off, and vm-02 stays locked."""
    story = stopped().cut().passes(10).fault("dark", "host.power_loss", nodes=[TWO])
    story.boot(TWO).heal("dark").host(TWO, "prepared").vm("vm-02", TWO, "locked")
    return story.passes(100)


def reverted(story: Story, power: str) -> Story:
    """vm-01 goes back to a snapshot, where it is: DRS has no part in that."""
    story.op("invoke", "vm-01", "vm.revert", n=5, action="back")
    return story.op("ok", "vm-01", "vm.revert", n=5, action="back", power=power)


GOOD: dict[str, Callable[[], Story]] = {
    "gone back to a snapshot without memory, and off": lambda: reverted(
        stopped(), "poweredOff"
    ).passes(90),
    "gone back to run, on its host": lambda: (
        reverted(stopped(), "poweredOn").vm("vm-01", ONE, "running").passes(60)
    ),
    "off on a host in maintenance mode, and started elsewhere": lambda: starts(tended(), TWO),
    "started on another host, and that one loses its power": lambda: (
        starts(stopped(persistence=True), TWO)
        .fault("dark", "host.power_loss", nodes=[TWO])
        .boot(TWO)
        .heal("dark")
        .host(TWO, "safe")
        .vm("vm-01", TWO, "running")
        .vm("vm-02", TWO, "running")
        .passes(100)
    ),
    "started on another host, which falls before it says so": lambda: (
        asked(stopped(), TWO)
        .fault("dark", "host.power_loss", nodes=[TWO])
        .node(TWO, "off")
        .passes(100)
    ),
    "placed on a host without its key, and locked there": lambda: (
        asked(cold(), error="EncryptionKeyRequired").vm("vm-01", TWO, "locked", wanted=False)
    ).passes(100),
    "refused while its host goes into maintenance mode, and the other is away": lambda: asked(
        tended().cut("off", ("vcenter", TWO)), error="InvalidState"
    ).passes(40),
    "refused while every host is in maintenance mode": lambda: asked(
        tended().host(TWO, "safe", maintenance=True).passes(20), error="InvalidState"
    ).passes(40),
}
BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "started on a host in maintenance mode": (
        lambda: starts(tended(), ONE),
        "vm-01",
        "started on another host is allowed",
        "started on esxi-001",
    ),
    "refused though another host takes it": (
        lambda: asked(tended(), error="InvalidState").passes(60),
        "vm-01",
        "started on esxi-002 is allowed",
        "refused for lack of a host",
    ),
    "started on a host that can have no key": (
        lambda: starts(cold(), TWO),
        "vm-01",
        "locked is allowed by R",
        "started",
    ),
}
PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        FoldedOperations._take_placement,
        "self._hold_move(vm, Question.START, choice.could, record)",
        "pass",
        "started on a host that can have no key",
    ),
    (
        FoldedOperations._take_placement,
        "self._came(vm, host, ran=True)",
        "pass",
        "started on another host, which falls before it says so",
    ),
    (
        Placements._takes_none,
        "host.maintains and host.said_maintenance",
        "False",
        "started on a host in maintenance mode",
    ),
    (
        Placements._takes,
        "host.maintained or host.maintains or",
        "",
        "refused while every host is in maintenance mode",
    ),
    (
        Placements._takes,
        "self.now >= max(reached) + SLACK_S",
        "True",
        "refused while its host goes into maintenance mode, and the other is away",
    ),
    (
        Placements._hold_choice,
        'record.data.get("error") == NO_HOST and choice.fit',
        "False",
        "refused though another host takes it",
    ),
)
