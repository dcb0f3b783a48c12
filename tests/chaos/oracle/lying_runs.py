"""Runs in which what a host says of a VM and what its guest does are not the same: the guest is
believed. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.histories import Story, dark, locked

NO_GUEST = "InvalidPowerState: vm-01 is not running"

GOOD: dict[str, Callable[[], Story]] = {
    "a guest that answers and one that is off": lambda: (
        Story(persistence=False)
        .cut()
        .challenge("vm-01")
        .op("invoke", "vm-02", "vm.off")
        .op("ok", "vm-02", "vm.off")
        .challenge("vm-02", NO_GUEST)
        .vm("vm-02", "esxi-002", "off", wanted=False)
        .passes(40)
    ),
    "a guest that is not there while its host has no key": lambda: (
        locked(dark(persistence=False)).challenge("vm-01", NO_GUEST).passes(40)
    ),
    "a host that cannot be asked for a guest": lambda: (
        Story(persistence=False).cut().challenge("vm-01", "no host answers for it").passes(40)
    ),
    "a guest that answers between two looks": lambda: (
        Story(persistence=False)
        .cut()
        .op("invoke", "vm-01")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(5)
        .op("ok", "vm-01")
        .challenge("vm-01")
        .vm("vm-01", "esxi-001", "running")
        .passes(40)
    ),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "said to run, and there is no guest": (
        lambda: Story(persistence=False).cut().passes(10).challenge("vm-01", NO_GUEST).passes(10),
        "vm-01",
        "R1",
        "said to run, and no guest does,",
    ),
    "said to run after its boot, and there is no guest": (
        lambda: (
            dark(persistence=True)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(40)
            .challenge("vm-01", NO_GUEST)
            .passes(10)
        ),
        "vm-01",
        "R",
        "said to run, and no guest does,",
    ),
    "said to be locked, and its guest answers": (
        lambda: locked(dark(persistence=False)).challenge("vm-01").passes(10),
        "vm-01",
        "R6",
        "answering",
    ),
}

OUTAGES = {
    "said to run, and there is no guest",
    "said to run after its boot, and there is no guest",
}
