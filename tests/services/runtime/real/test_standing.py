"""A watchdog of event loops: what stood still is told, with its place; a stopped process is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.messages.agent import NodeList, NodeRunState, NodeStatus
from protocol.terms import NodeName, Role
from services.runtime.real.watchdog import (
    STOOD,
    STOOD_MS,
    Blockage,
    BlockageCounts,
    Suspension,
    create_watched_loop,
    describe_blockage,
    seconds_run,
)

ROOT: Final = Path(__file__).resolve().parents[4]
LIMIT_S: Final = 0.1
LOOK_S: Final = 0.02


def told_of(main: Callable[[], Coroutine[Any, Any, None]], limit_s: float) -> list[Blockage]:
    """What the watchdog tells while that runs, and in some looks after it."""
    found: list[Blockage] = []
    with create_watched_loop(found.append, limit_s=limit_s, look_s=LOOK_S) as loop:
        loop.run_until_complete(main())
        loop.run_until_complete(asyncio.sleep(3 * LOOK_S))
        loop.close()
        time.sleep(1.2 * limit_s)  # a loop that has ended does not stand still
    return found


def test_a_step_that_blocks_is_told_while_it_does_and_when_it_is_over() -> None:
    during: list[int] = []
    found: list[Blockage] = []
    released = threading.Event()

    def told(stand: Blockage) -> None:
        found.append(stand)
        if not stand.over:
            released.set()

    async def blocks_here() -> None:
        during.append(len(found))
        assert released.wait(10), "the watchdog sees what has not ended"
        during.append(len(found))

    with create_watched_loop(told, limit_s=LIMIT_S, look_s=LOOK_S) as loop:
        loop.run_until_complete(blocks_here())
        loop.run_until_complete(asyncio.sleep(5 * LOOK_S))
        loop.close()
    assert during == [0, 1]
    begun, over = found
    assert (begun.over, over.over) == (False, True)
    assert LIMIT_S < begun.seconds <= over.seconds < 5
    assert begun.where == over.where
    assert "test_standing.py:" in begun.where and begun.where.endswith(" blocks_here")


@pytest.mark.slow
def test_a_loop_that_works_in_short_steps_does_not_stand() -> None:
    limit_s = 0.3  # more than a machine that others use keeps a short step waiting

    async def busy() -> None:
        until = time.monotonic() + 1.2 * limit_s
        while time.monotonic() < until:
            await asyncio.sleep(0)

    async def idle() -> None:
        await asyncio.sleep(1.2 * limit_s)

    assert told_of(busy, limit_s) == []
    assert told_of(idle, limit_s) == []


def test_a_calculation_that_keeps_all_threads_waiting_is_told() -> None:
    """It holds the interpreter's lock, so that the watchdog looks when it is over."""

    async def calculates() -> None:
        begun, size = time.process_time(), 1 << 20
        sum(range(size))
        once_s = time.process_time() - begun
        sum(range(int(size * 2 * LIMIT_S / once_s)))  # on a machine of any speed

    found = told_of(calculates, LIMIT_S)
    assert any(stand.over for stand in found), found


@pytest.mark.parametrize(
    ("absences", "seconds"),
    [
        ((), 10.0),
        ((Suspension(12, 17, 5),), 5.0),
        ((Suspension(12, 17, 2),), 8.0),  # it ran for a part of that
        ((Suspension(5, 12, 7),), 8.0),  # it began before
        ((Suspension(19, 30, 11),), 9.0),
        ((Suspension(0, 40, 40),), 0.0),
        ((Suspension(1, 9, 8), Suspension(20, 22, 2)), 10.0),
        ((Suspension(11, 12, 1), Suspension(13, 15, 2)), 7.0),
    ],
)
def test_time_in_which_the_process_did_not_run_is_none(
    absences: tuple[Suspension, ...], seconds: float
) -> None:
    assert seconds_run(10, 20, absences) == seconds


STOPPED = """
import asyncio, time
from services.runtime.real.watchdog import create_watched_loop
found = []
async def blocks_for_a_moment():
    print("blocks", flush=True)
    time.sleep(0.2)
with create_watched_loop(found.append, limit_s=0.5, look_s=0.02) as loop:
    loop.run_until_complete(blocks_for_a_moment())
    loop.run_until_complete(asyncio.sleep(0.1))
print(found)
"""


@pytest.mark.slow
def test_a_process_that_was_stopped_did_not_stand() -> None:
    command = [sys.executable, "-c", STOPPED]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "blocks\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.7)
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.read() == "[]\n"


def test_stands_are_counted_when_they_are_over() -> None:
    stands = BlockageCounts()
    for stand in (
        Blockage(1.5, "here", over=False),
        Blockage(3.25, "here", over=True),
        Blockage(2.0, "there", over=True),
    ):
        stands.add(stand)
    assert (stands.count, stands.longest_s, stands.where) == (2, 3.25, "here")


def test_the_first_node_of_a_process_has_its_counts() -> None:
    stands = BlockageCounts()
    nodes = tuple(
        NodeStatus(
            node=NodeName(name),
            role=Role.ESXI,
            site="main",
            cluster="a",  # type: ignore[arg-type]
            state=NodeRunState.RUNNING,
            boot=1,
            counters={"requests": 7},
        )
        for name in ("esxi-001", "esxi-002")
    )
    reply = NodeList(nodes=nodes)
    assert stands.add_counts(reply) == reply
    stands.add(Blockage(1.2346, "", over=True))
    first, second = stands.add_counts(reply).nodes
    assert first.counters == {"requests": 7, STOOD: 1, STOOD_MS: 1235}
    assert second == nodes[1]
    assert stands.add_counts(NodeList(nodes=())).nodes == ()


@pytest.mark.parametrize(
    ("stand", "text"),
    [
        (
            Blockage(1.25, "lab/x.py:7 read", over=False),
            "has been standing still for 1.2 s in lab/x",
        ),
        (Blockage(61.0, "", over=True), "stood still for 61.0 s"),
    ],
)
def test_a_stand_in_words(stand: Blockage, text: str) -> None:
    assert f"the event loop {text}" in describe_blockage(stand)
