"""A VM's power changes once for each command; a host that does more is shown with the command."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks import judge
from chaos.checks.result import CheckOutcome
from chaos.checks.vms.power_as_commanded import LATE_S, SLACK_S, power_as_commanded
from chaos.experiment.lint import check_experiment
from chaos.experiment.resolve import plan
from chaos.history import History, Record
from chaos.playing.engine import run
from services.esxi.vms import power
from tests.chaos.worlds import World

Event = tuple[float, str, str, str, dict[str, Any]]
HOST, ON, OFF = "esxi-001", "poweredOn", "poweredOff"
BOTH = (HOST, "esxi-002")


def seen(state: str = ON, boot: int = 1) -> list[Event]:
    """The first look: the VM on its host."""
    vm = {"power": state, "host": HOST, "boot": boot}
    return [
        (0.0, HOST, "state", "node", {"state": "running", "boot": boot}),
        (0.0, "vm-01", "state", "vm", vm),
        (0.0, "", "state", "look", {}),
    ]


def command(at: float, op: str = "vm.power_cycle", *, ends: str = "ok", n: int = 1) -> list[Event]:
    return [(at, "vm-01", "invoke", op, {"n": n}), (at + 5, "vm-01", ends, op, {"n": n})]


def boots(at: float, boot: int = 2) -> list[Event]:
    return [(at, HOST, "state", "node", {"state": "running", "boot": boot})]


def logged(*changes: tuple[float, str], boots: tuple[int, ...] = ()) -> list[Event]:
    lives = boots or (1,) * len(changes)
    found = [
        {"t": t, "vm": "vm-01", "host": HOST, "boot": boot, "power": state}
        for (t, state), boot in zip(changes, lives, strict=True)
    ]
    return [(99.0, "", "state", "power", {"changes": found})]


def records(events: list[Event]) -> list[Record]:
    return [
        Record(seq=n, t=t, node=node, type=type, op=op, data=data)
        for n, (t, node, type, op, data) in enumerate(events, start=1)
    ]


CYCLE = ((11, OFF), (12, ON))
GOOD: dict[str, list[Event]] = {
    "a cycle": [*seen(), *command(10), *logged(*CYCLE)],
    "gone back to run": [*seen(OFF), *command(10, "vm.revert"), *logged((11, ON))],
    "gone back, and off": [*seen(), *command(10, "vm.revert"), *logged((11, OFF))],
    "two cycles": [
        *seen(),
        *command(10),
        *command(20, n=2),
        *logged(*CYCLE, (21, OFF), (22, ON)),
    ],
    "back to back": [*seen(), *command(10, "vm.off_on"), *logged(*CYCLE)],
    "late": [*seen(), *command(10, ends="info"), *logged((11, OFF), (70, ON))],
    "on": [*seen(OFF), *command(10, "vm.on"), *logged((11, ON))],
    "off": [*seen(), *command(10, "vm.off"), *logged((11, OFF))],
    "a crash and a boot": [*seen(), *boots(20), *logged((25, ON), boots=(2,))],
    "an orderly reboot": [*seen(), *boots(20), *logged((18, OFF), (25, ON), boots=(1, 2))],
    "a boot just before a command": [
        *seen(),
        *boots(20),
        *command(25),
        *logged((24.5, ON), (26, OFF), (27, ON), boots=(2, 2, 2)),
    ],
    "it never ran again": [
        *seen(),
        (20.0, HOST, "state", "node", {"state": "off", "boot": 1}),
        *logged((18, OFF)),
    ],
}


def taken_over(*, ha: bool = True, gone: float | None = 30.0) -> list[Event]:
    """Moved away, and back on its first host, in the same life of that, after the other's end; the
    other is ``gone`` at that time, or is never seen to be."""
    end = [] if gone is None else [(gone, "esxi-002", "state", "node", {"state": "off", "boot": 1})]
    available = {"ha": [HOST, "esxi-002"]} if ha else {}
    there, back = {"host": "esxi-002", "boot": 1}, {"host": HOST, "boot": 1}
    changes = [
        {"t": 11, "vm": "vm-01", **back, "power": OFF},
        {"t": 12, "vm": "vm-01", **there, "power": ON},
        {"t": 50, "vm": "vm-01", **back, "power": ON},
    ]
    return [
        (0.0, "", "state", "staging", available),
        *seen(),
        *command(10, "vm.move"),
        *end,
        (99.0, "", "state", "power", {"changes": changes}),
    ]


def migrated(
    end: str = "ok", *changes: dict[str, Any], ran: bool = True, ha: tuple[str, ...] = BOTH
) -> list[Event]:
    """It went to esxi-002, which failed; HA restarted it where it had been before. ``changes`` of
    its power before that; ``ran``: it was powered on when it went."""
    told = {"n": 1, "host": "esxi-002", "ran": ran} if end == "ok" else {"n": 1}
    back = {"t": 50, "vm": "vm-01", "host": HOST, "boot": 1, "power": ON}
    return [
        (0.0, "", "state", "staging", {"ha": list(ha)}),
        *seen(),
        (0.0, "esxi-002", "state", "node", {"state": "running", "boot": 1}),
        (10.0, "vm-01", "invoke", "vm.migrate", {"n": 1}),
        (11.0, "vm-01", end, "vm.migrate", told),
        (30.0, "esxi-002", "state", "node", {"state": "off", "boot": 1}),
        (99.0, "", "state", "power", {"changes": [*changes, back]}),
    ]


GOOD["migrated, and restarted by HA where it was"] = migrated()
CYCLED_AT = 10.2
CYCLED = [
    {"t": CYCLED_AT - 1 + on, "vm": "vm-01", "host": HOST, "boot": 1, "power": power}
    for on, power in enumerate((OFF, ON))
]
GOOD["migrated just after a cycle, and restarted by HA"] = [
    *command(9, n=2),
    *migrated("ok", *CYCLED),
]


def found_there(at: float, *changes: dict[str, Any]) -> list[Event]:
    """A look finds it on esxi-002, which nobody said; that fails, and HA restarts it on HOST."""
    there = {"power": ON, "host": "esxi-002", "boot": 1}
    back = {"t": 50, "vm": "vm-01", "host": HOST, "boot": 1, "power": ON}
    return [
        (0.0, "", "state", "staging", {"ha": list(BOTH)}),
        *seen(),
        *command(9),
        (at, "vm-01", "state", "vm", there),
        (30.0, "esxi-002", "state", "node", {"state": "off", "boot": 1}),
        (99.0, "", "state", "power", {"changes": [*changes, back]}),
    ]


GOOD["found on another host, and restarted by HA"] = found_there(20.0)
GOOD["found there as long after a change as a look takes"] = found_there(
    CYCLED_AT + LATE_S, *CYCLED
)
GOOD["migrated perhaps, and restarted by HA where it was"] = migrated("info")
GOOD["restarted by HA on a host that had it before"] = taken_over()
BAD: dict[str, tuple[list[Event], str, int]] = {
    "found there just after a change, which may be older": (
        found_there(CYCLED_AT + LATE_S - 0.1, *CYCLED),
        "vm-01 was powered on while it ran at 50 s on esxi-001 (boot 1)",
        5,
    ),
    "moved while it was off, and powered on once more": (
        migrated(ran=False),
        "vm-01 was powered on while it ran at 50 s on esxi-001 (boot 1)",
        9,
    ),
    "migrated perhaps, and powered on where there is no HA": (
        migrated("info", ha=("esxi-002",)),
        "vm-01 was powered on, and nobody asked at 50 s",
        9,
    ),
    "restarted elsewhere though its host was never gone": (
        taken_over(gone=None),
        "vm-01 was powered on, and nobody asked at 50 s",
        5,
    ),
    "not migrated, and powered on once more": (
        migrated("fail"),
        "vm-01 was powered on while it ran at 50 s on esxi-001 (boot 1)",
        9,
    ),
    "restarted elsewhere without HA": (
        taken_over(ha=False),
        "vm-01 was powered on, and nobody asked at 50 s",
        5,
    ),
    "restarted elsewhere while its host was there": (
        taken_over(gone=60.0),
        "vm-01 was powered on, and nobody asked at 50 s",
        5,
    ),
    "twice on": (
        [*seen(), *command(10), *logged(*CYCLE, (13, ON))],
        "vm-01 was powered on while it ran at 13 s on esxi-001 (boot 1)",
        4,
    ),
    "off and on again": (
        [*seen(), *command(10), *logged(*CYCLE, (13, OFF), (14, ON))],
        "vm-01 was powered off, and nobody asked at 13 s",
        4,
    ),
    "a command that took effect twice, the second time late": (
        [*seen(), *command(10), *logged(*CYCLE, (40, OFF))],
        "vm-01 was powered off, and nobody asked at 40 s",
        4,
    ),
    "on by itself": (
        [*seen(), *command(10, "vm.off"), *logged((11, OFF), (40, ON))],
        "vm-01 was powered on, and nobody asked at 40 s",
        4,
    ),
    "what was refused had its effect later": (
        [*seen(), *command(10, "vm.off", ends="fail"), *logged((40, OFF))],
        "vm-01 was powered off, and nobody asked",
        4,
    ),
    "a boot starts it twice": (
        [*seen(), *boots(20), *logged((25, ON), (26, ON), boots=(2, 2))],
        "vm-01 was powered on while it ran at 26 s on esxi-001 (boot 2)",
        5,
    ),
}


@pytest.mark.parametrize("events", GOOD.values(), ids=GOOD)
def test_each_change_for_a_reason_of_its_own_passes(events: list[Event]) -> None:
    found = power_as_commanded(records(events))
    assert found.result is CheckOutcome.PASS, found.text


@pytest.mark.parametrize(("events", "text", "first"), BAD.values(), ids=BAD)
def test_a_change_that_nobody_asked_for_fails_at_its_command(
    events: list[Event], text: str, first: int
) -> None:
    made = records(events)
    found = power_as_commanded(made)
    assert found.result is CheckOutcome.FAIL and found.text.startswith(text), found.text
    assert (min(found.records), found.records[-1]) == (first, made[-1].seq)


@pytest.mark.parametrize(
    ("at", "good"),
    [
        (10 - SLACK_S - 0.1, False),
        (10 - SLACK_S, True),
        (15 + SLACK_S, True),
        (15 + SLACK_S + 0.1, False),
    ],
)
def test_a_change_belongs_to_a_command_within_the_slack_of_its_log(at: float, good: bool) -> None:
    found = power_as_commanded(records([*seen(), *command(10, "vm.off"), *logged((at, OFF))]))
    assert (found.result is CheckOutcome.PASS) is good, found.text


def test_without_logs_or_changes_nothing_is_known() -> None:
    for events in ([], seen(), [*seen(), *command(10)], [*seen(), *logged()]):
        assert power_as_commanded(records(events)).result is CheckOutcome.UNKNOWN


# On a lab -------------------------------------------------------------------------------------

FILE = """\
apiVersion: keystead/v1
kind: Experiment
name: small
title: A small one
topology: {use: default}
duration: 40s
hypothesis: {after: [{probe: vm.running, is: ">= 0%"}]}
workload: [{op: vm.power_cycle, rate: 0.2/s}, {op: vm.off_on, rate: 0.1/s}]
schedule:
  - {id: twice, at: 1s, for: 25s, fault: link.dup, between: [vcenter, "role:esxi"], p: 100%}
  - {id: again, at: 30s, for: 5s, fault: host.reboot, on: esxi-001}
"""


def judged(monkeypatch: pytest.MonkeyPatch, plant: Any = None) -> Any:
    world = World(hosts=2, vms=2)
    try:
        if plant is not None:
            plant(monkeypatch)
        made = plan(check_experiment(FILE, "x.yaml"), world.lab.directory(), 7)
        history = History(None, world.lab.monotonic)
        world.run(run(made, world.lab, world.keeper, history))
        return judge(["power_as_commanded"], history.records)[0], history.records
    finally:
        world.close()


@pytest.mark.sim
def test_messages_that_come_twice_change_power_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = judged(monkeypatch)
    assert found.result is CheckOutcome.PASS and int(found.text.split()[0]) > 8, found.text


def forgets_that_it_runs(patch: pytest.MonkeyPatch) -> None:
    """Power-on starts a guest beside the one that runs."""
    real = power.power_on

    async def power_on(host: Any, name: Any, *, ask: bool) -> Any:
        await real(host, name, ask=ask)
        host.require_vm(name).guest = None
        return await real(host, name, ask=ask)

    patch.setattr(power, "power_on", power_on)


def cycles_once_more(patch: pytest.MonkeyPatch) -> None:
    """A power-on is done, undone and done again."""
    real = power.power_on

    async def power_on(host: Any, name: Any, *, ask: bool) -> Any:
        await real(host, name, ask=ask)
        await power.power_off(host, name)
        return await real(host, name, ask=ask)

    patch.setattr(power, "power_on", power_on)


@pytest.mark.sim
@pytest.mark.parametrize("plant", [forgets_that_it_runs, cycles_once_more])
def test_a_host_that_does_a_command_twice_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Any
) -> None:
    found, made = judged(monkeypatch, plant)
    assert found.result is CheckOutcome.FAIL
    assert made[found.records[0] - 1].type in ("invoke", "state")
