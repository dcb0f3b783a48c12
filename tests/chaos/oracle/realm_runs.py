"""Runs of a lab in which two vCenters lead a host each, and VMs that move between them (MOB-07).
Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.chaos.oracle.histories import Story, locked
from tests.chaos.oracle.moved_runs import ONE, TWO, moved, seen_there

MINE, OTHERS = ("vcenter", "kms"), ("vcenter-b", "kms")


def apart(**knobs: Any) -> Story:
    """Two vCenters; no host keeps a key over a boot."""
    return Story(persistence=False, apart=True, **knobs)


def booted(story: Story, host: str = ONE) -> Story:
    """The host has lost its power, and is up again."""
    story.fault("dark", "host.power_loss", nodes=[host])
    return story.boot(host).heal("dark")


def back(story: Story, host: str = ONE, vm: str = "vm-01") -> Story:
    """It is as it was before."""
    return story.host(host, "safe").vm(vm, host, "running").passes(40)


def lacking(story: Story, host: str = TWO, vm: str = "vm-01") -> Story:
    """The host has lost its key, and the VM is locked there."""
    return story.host(host, "prepared").vm(vm, host, "locked").passes(40)


def arrived(story: Story) -> Story:
    """vm-01 has come to the other vCenter, and runs."""
    return seen_there(moved(story))


def deleted(vcenter: str) -> Story:
    """vcenter lists p no more, and the grace is over."""
    story = apart(provider_delete_grace_s=60.0)
    return story.fault("del", "provider.delete", provider="p", vcenter=vcenter).passes(300)


def taken_back() -> Story:
    """Both vCenters list p no more, and then esxi-001's lists it again."""
    story = deleted("vcenter")
    story.fault("too", "provider.delete", provider="p", vcenter="vcenter-b").passes(20)
    return story.heal("del").passes(400)


GOOD: dict[str, Callable[[], Story]] = {
    "brought by its own vCenter, when the other reaches no key server": lambda: back(
        booted(apart().cut(between=OTHERS).passes(20))
    ),
    "locked, when its own vCenter reaches no key server": lambda: locked(
        booted(apart().cut(between=MINE).passes(20))
    ),
    "moved to the other vCenter, whose host had no key": lambda: arrived(
        back(booted(apart().cut(between=MINE).passes(20), TWO), TWO, "vm-02")
    ).passes(40),
    "moved to the other vCenter, which reaches no key server at its boot": lambda: lacking(
        booted(arrived(apart().passes(20)).cut(between=OTHERS).passes(20), TWO)
    ),
    "deleted at the other vCenter, and it starts after a boot": lambda: back(
        booted(deleted("vcenter-b"))
    ),
    "deleted at both vCenters, and taken back here": lambda: back(booted(taken_back())),
    "marked by its own vCenter, and not by the other": lambda: (
        locked(booted(apart().cut(between=MINE).passes(20)))
        .marks("vm-01")
        .passes(5)
        .marks(by="vcenter-b")
        .passes(60)
    ),
}
BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "locked, when the other vCenter reaches no key server": (
        lambda: locked(booted(apart().cut(between=OTHERS).passes(20))).passes(400),
        ONE,
        "R",
        "prepared",
    ),
    "running, when its own vCenter reached no key server": (
        lambda: back(booted(apart().cut(between=MINE).passes(20))).passes(40),
        ONE,
        "R",
        "safe",
    ),
    "moved to the other vCenter, which could have had no key for it": (
        lambda: moved(lacking(booted(apart().cut(between=OTHERS), TWO), TWO, "vm-02").passes(60)),
        "vm-01",
        "R",
        "started",
    ),
    "moved to the other vCenter, and locked for what its first one lacks": (
        lambda: lacking(
            booted(arrived(apart().passes(20)).cut(between=MINE).passes(20), TWO)
        ).passes(400),
        TWO,
        "R",
        "prepared",
    ),
    "deleted at the other vCenter, and locked here": (
        lambda: locked(booted(deleted("vcenter-b"))).passes(400),
        ONE,
        "R",
        "prepared",
    ),
    "deleted at both vCenters, taken back here, and locked": (
        lambda: locked(booted(taken_back())).passes(400),
        ONE,
        "R",
        "prepared",
    ),
    "marked by the other vCenter for nothing": (
        lambda: apart().cut(between=MINE).passes(60).marks("vm-02", by="vcenter-b").passes(40),
        "vcenter-b",
        "R",
        "locked",
    ),
    "started by hand on a host of the other vCenter": (
        lambda: (
            apart()
            .op("invoke", "vm-01", "vm.move", n=3)
            .passes(5)
            .op("ok", "vm-01", "vm.move", n=3, host=TWO)
        ),
        "vm-01",
        "R",
        "started",
    ),
    "deleted at the other vCenter, left to itself, and locked here": (
        lambda: locked(
            booted(deleted("vcenter-b").note("unattended").passes(40).note("attended").passes(200))
        ).passes(400),
        ONE,
        "R",
        "prepared",
    ),
}
OUTAGES = {
    "locked, when the other vCenter reaches no key server",
    "moved to the other vCenter, and locked for what its first one lacks",
    "deleted at the other vCenter, and locked here",
    "deleted at the other vCenter, left to itself, and locked here",
    "deleted at both vCenters, taken back here, and locked",
    "marked by the other vCenter for nothing",
}
