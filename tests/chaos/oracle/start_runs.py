"""Runs in which somebody powers a VM on: what worked had its key at some time since it was asked
for. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.histories import Story, dark, locked
from tests.chaos.oracle.native_runs import deleted, native, powered


def lacking() -> Story:
    """esxi-001 has lost the key of vm-01, and no key server answers vCenter."""
    return locked(dark(persistence=False))


def evicted() -> Story:
    """The native provider is deleted, the grace is over, and vm-01 is off."""
    story = powered(deleted(native(provider_delete_grace_s=30.0)), "vm.off", "off")
    return story.vm("vm-01", "esxi-001", "locked", wanted=False).passes(60)


def on(story: Story, kind: str, n: int = 7) -> Story:
    return story.op(kind, "vm-01", "vm.on", n=n)


def came_and_went() -> Story:
    """While the power-on is under way, keys can come for three seconds."""
    story = on(lacking(), "invoke").passes(3).heal("wan").passes(3).cut("again").passes(3)
    return on(story, "ok").vm("vm-01", "esxi-001", "running").passes(60)


def off(*, persistence: bool = False) -> Story:
    """esxi-001 has all keys, and vm-01 is powered off."""
    story = Story(persistence=persistence).cut()
    story.op("invoke", "vm-01", "vm.off", n=3).op("ok", "vm-01", "vm.off", n=3)
    return story.vm("vm-01", "esxi-001", "off", wanted=False).passes(20)


def reverted(
    story: Story, kind: str = "ok", power: str = "poweredOn", error: str = "EncryptionKeyRequired"
) -> Story:
    """vm-01 goes back to a snapshot, which has its memory if it is on then."""
    told = {"power": power} if kind == "ok" else {"error": error}
    story.op("invoke", "vm-01", "vm.revert", n=9)
    return story.op(kind, "vm-01", "vm.revert", n=9, **told)


GOOD: dict[str, Callable[[], Story]] = {
    "off, and gone back to run": lambda: (
        reverted(off()).vm("vm-01", "esxi-001", "running").passes(60)
    ),
    "gone back to run, and started by the next boot": lambda: (
        reverted(off(persistence=True))
        .vm("vm-01", "esxi-001", "running")
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
    "running, and off after it went back": lambda: (
        reverted(Story(persistence=False).cut(), power="poweredOff")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(60)
    ),
    "not let go back for lack of its key, and off": lambda: reverted(lacking(), "fail").passes(40),
    "off, and nobody was told whether it went back": lambda: (
        reverted(Story(persistence=False).cut(), "info", error="TimedOut")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(90)
    ),
    "powered on when its key could come for a moment": came_and_went,
    "off, though it could not be started": lambda: (
        deleted(native())
        .passes(60)
        .op("invoke", "vm-01", "vm.off", n=3)
        .op("ok", "vm-01", "vm.off", n=3)
        .vm("vm-01", "esxi-001", "locked", wanted=False)
        .passes(40)
    ),
    "a power-on that was refused for lack of its key": lambda: (
        on(lacking(), "invoke")
        .op("fail", "vm-01", "vm.on", n=7, error="EncryptionKeyRequired")
        .passes(40)
    ),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "stopped to go back, and then not let": (
        lambda: (
            reverted(Story(persistence=False).cut(), "fail", error="DatastoreFault")
            .vm("vm-01", "esxi-001", "off", wanted=False)
            .passes(90)
        ),
        "vm-01",
        "R1",
        "off",
    ),
    "gone back to run without its key": (
        lambda: reverted(lacking()).passes(1),
        "vm-01",
        "R6",
        "started",
    ),
    "gone back to run, and off": (
        lambda: reverted(off()).vm("vm-01", "esxi-001", "off").passes(60),
        "vm-01",
        "",
        "off",
    ),
    "powered on without its key": (
        lambda: on(on(lacking(), "invoke").passes(2), "ok").passes(1),
        "vm-01",
        "R6",
        "started",
    ),
    "native: powered on from a key that was evicted": (
        lambda: on(on(evicted(), "invoke").passes(2), "ok").passes(1),
        "vm-01",
        "R64",
        "started",
    ),
}

OUTAGES = {"gone back to run, and off", "stopped to go back, and then not let"}
