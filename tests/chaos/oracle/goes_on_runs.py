"""Runs in which a VM goes on, or is started, on a host that it was not on: its key was there, or
could come, at some time since that was asked for. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.histories import Story
from tests.chaos.oracle.native_runs import deleted, native

ONE, TWO = "esxi-001", "esxi-002"


def boots(story: Story) -> Story:
    """esxi-002 loses its power, and is up again."""
    return story.fault("dark", "host.power_loss", nodes=[TWO]).boot(TWO).heal("dark")


def cold(*, persistence: bool = False) -> Story:
    """No key server answers vCenter, and esxi-002 has booted since."""
    story = boots(Story(persistence=persistence).cut().passes(40))
    if persistence:
        return story.host(TWO, "safe").vm("vm-02", TWO, "running").passes(10)
    return story.host(TWO, "prepared").vm("vm-02", TWO, "locked").passes(10)


def gone() -> Story:
    """The native provider is deleted, and esxi-002 has booted since."""
    story = boots(deleted(native(provider_delete_grace_s=3000.0)))
    return story.host(TWO, "prepared").vm("vm-02", TWO, "locked").passes(10)


def not_told() -> Story:
    """The native provider is deleted, esxi-002 has booted since, and vCenter reaches it again."""
    story = boots(deleted(native().cut("away", ("vcenter", TWO)).passes(100)))
    story.host(TWO, "safe").vm("vm-02", TWO, "running").passes(10)
    return story.heal("away").passes(1)


def told_late() -> Story:
    """It was on esxi-002 for a moment, went back, and esxi-002 has been told of the deletion."""
    story = ended(asked(not_told())).passes(2).op("invoke", "vm-01", "vm.migrate", n=4)
    story.op("ok", "vm-01", "vm.migrate", n=4, host=ONE, ran=True)
    return story.vm("vm-01", ONE, "running").passes(100)


def asked(story: Story, op: str = "vm.migrate") -> Story:
    return story.op("invoke", "vm-01", op, n=3)


def ended(story: Story, op: str = "vm.migrate", *, ran: bool = True) -> Story:
    """It is there, and runs if it ``ran`` before."""
    told = {"ran": ran} if op == "vm.migrate" else {}
    story.op("ok", "vm-01", op, n=3, host=TWO, **told)
    return story.vm("vm-01", TWO, "running" if ran else "off", wanted=ran)


def for_a_moment(op: str) -> Story:
    """A key server answers for a few seconds, while it is under way."""
    story = asked(cold(), op).passes(3).heal("wan").passes(3).cut("again").passes(3)
    return ended(story, op).passes(20)


def moved_away(*, falls: bool) -> Story:
    """It has moved to the host of another vCenter, which ``falls`` before it was heard, and the
    host that it was on lists it still. Later it is started where it came to."""
    story = ended_unheard(asked(Story(persistence=True, apart=True)))
    if falls:
        story.fault("dark", "host.power_loss", nodes=[TWO]).node(TWO, "off").passes(5)
    story.vm("vm-01", ONE, "off", wanted=True).passes(5)
    if falls:
        story.boots[TWO] += 1
        story.node(TWO, "running").heal("dark").host(TWO, "safe").passes(30)
    return story.op("invoke", "vm-01", "vm.restart", n=4).passes(5)


def ended_unheard(story: Story) -> Story:
    return story.op("ok", "vm-01", "vm.migrate", n=3, host=TWO, ran=True)


def restarted(story: Story) -> Story:
    return story.op("ok", "vm-01", "vm.restart", n=4, host=TWO).passes(1)


GOOD: dict[str, Callable[[], Story]] = {
    "goes on: started where it had moved to, which fell before it was heard": lambda: restarted(
        moved_away(falls=True)
    ),
    "goes on: refused where no key can have come": lambda: (
        asked(cold())
        .op("fail", "vm-01", "vm.migrate", n=3, error="EncryptionKeyRequired")
        .passes(60)
    ),
    "goes on: its key could come for a moment": lambda: for_a_moment("vm.migrate"),
    "goes on: started where its key could come for a moment": lambda: for_a_moment("vm.move"),
    "goes on: its key may be persisted there": lambda: ended(asked(cold(persistence=True))).passes(
        20
    ),
    "goes on: the other host derives its key": lambda: ended(
        asked(boots(native()).host(TWO, "safe").vm("vm-02", TWO, "running").passes(10))
    ).passes(60),
    "goes on: the other host was not told of the deletion": lambda: ended(asked(not_told())).passes(
        10
    ),
    "goes on: its key was derived there before the deletion was told": lambda: ended(
        asked(told_late())
    ).passes(10),
    "goes on: vCenter is away when it is done": lambda: ended(
        asked(Story(persistence=False))
        .passes(2)
        .fault("down", "vcenter.down", nodes=["vcenter"], clients=[])
        .node("vcenter", "off")
    ).passes(20),
    "goes on: the other host has not booted": lambda: ended(
        asked(Story(persistence=False).cut().passes(40), "vm.move"), "vm.move"
    ).passes(60),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "goes on: migrated to where no key can have come": (
        lambda: ended(asked(cold()).passes(5)).passes(1),
        "vm-01",
        "R11",
        "started",
    ),
    "goes on: started where no key can have come": (
        lambda: ended(asked(cold(), "vm.move").passes(5), "vm.move").passes(1),
        "vm-01",
        "R6",
        "started",
    ),
    "goes on: restarted where no key can have come": (
        lambda: ended(asked(cold(), "vm.restart").passes(5), "vm.restart").passes(1),
        "vm-01",
        "R6",
        "started",
    ),
    "goes on: started at another vCenter than that of the only host that lists it": (
        lambda: restarted(moved_away(falls=False)),
        "vm-01",
        "",
        "started",
    ),
    "goes on: migrated to where nothing is derived any more": (
        lambda: ended(asked(gone()).passes(5)).passes(1),
        "vm-01",
        "R64",
        "started",
    ),
}

OUTAGES: set[str] = set()
