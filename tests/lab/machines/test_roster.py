"""Who may join, and what a run that lost a machine or its clock is worth."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.brokers.identities import Identities
from lab.machines.bundle import read
from lab.machines.issuing import issue, last_run, note_run
from lab.machines.machine import OffsetSample
from lab.machines.machine import doubts as doubts_of
from lab.machines.roster import Roster
from lab.members import joining
from lab.state.state_folder import LabFolder
from lab.topology.plan import Topology
from protocol.messages.agent import NodeRecord
from protocol.messages.host.session import Done
from protocol.messages.machines import (
    Beat,
    Beaten,
    HeldProcess,
    MachineLeaves,
    MachineSeeks,
    RefuseMachine,
)
from protocol.terms import NodeName

EPOCH = 5.0


class Client:
    """An agent that takes what it is told, and remembers it."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def request(self, to: str, message: Any, *, within_s: float) -> Any:
        self.told.append(message)
        if isinstance(message, Beat):
            now = time.monotonic()
            return Beaten(received=now, answered=now, wall=0.0, load=0.0, processes=())
        return Done()

    def refusals(self) -> list[tuple[str, bool]]:
        return [(m.error_id, m.wait) for m in self.told if isinstance(m, RefuseMachine)]


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def roster(folder: LabFolder, topology: Topology, client: Client) -> Roster:
    return made(folder, topology, client)


async def no_brokers() -> None:
    """Nothing has a list of users."""


def made(folder: LabFolder, topology: Topology, client: Client) -> Roster:
    return Roster(
        folder.path,
        topology,
        Identities.load(folder.path),
        "127.0.0.1:0",
        EPOCH,
        lambda: client,  # type: ignore[arg-type, return-value]
        lambda process: None,
        no_brokers,
        lambda text: None,
    )


@pytest.fixture
def seeks(folder: LabFolder, tmp_path: Path) -> MachineSeeks:
    issue("far", "east", tmp_path / "bundle", "", 60.0)
    bundle = read(tmp_path / "bundle")
    return MachineSeeks(
        machine="east", bundle=bundle.manifest.id, digest=bundle.digest, holder="h", run="r1"
    )


async def heard(roster: Roster, event: MachineSeeks, sender: str = "machine-east") -> None:
    roster._hear(sender, event)
    async with asyncio.timeout(30):
        while roster._admitting:
            await asyncio.sleep(0.005)


async def test_one_that_seeks_is_taken_and_its_run_is_noted(
    roster: Roster, folder: LabFolder, seeks: MachineSeeks
) -> None:
    await heard(roster, seeks, "machine-west")
    assert not roster.machines["east"].joined.is_set(), "another one spoke in its name"
    await heard(roster, seeks)
    assert roster.machines["east"].joined.is_set() and last_run(folder.path, "east") == "r1"


async def test_a_second_agent_is_refused_while_the_first_one_answers(
    roster: Roster, client: Client, seeks: MachineSeeks
) -> None:
    await heard(roster, seeks)
    await heard(roster, other(seeks, "r2"))
    assert client.refusals() == [("KS-AGENT-005", True)], "that answer may have been its last"
    roster.machines["east"].heard_s = time.monotonic()
    await heard(roster, other(seeks, "r2"))
    assert client.refusals()[1:] == [("KS-AGENT-005", False)]
    await heard(roster, other(seeks, "r2b"))
    assert client.refusals()[2:] == [("KS-AGENT-005", True)], "its lease is not over"
    await heard(roster, other(seeks, "r2", ended="r1"))
    assert roster.machines["east"].run == "r2", "it is the same one, and has ended its nodes"
    roster.machines["east"].lose("was silent")  # later than the agent itself, which saw it first
    await heard(roster, other(seeks, "r3", ended="r2"))
    assert roster.machines["east"].run == "r3", "nobody waits for what is known to have ended"


async def test_what_a_killed_supervisor_took_is_waited_for_or_taken_over(
    folder: LabFolder, topology: Topology, client: Client, seeks: MachineSeeks
) -> None:
    note_run(folder.path, "east", "r1")
    new = made(folder, topology, client)
    await heard(new, other(seeks, "r2"))
    assert client.refusals() == [("KS-AGENT-005", True)], "nodes of r1 may be alive"
    alive = (HeldProcess(name="agent-4", life=3),)
    await heard(new, other(seeks, "r1", held=alive, epoch=EPOCH))
    assert new.machines["east"].run == "r1" and new.machines["east"]._found == {"agent-4": 3}
    old = made(folder, topology, client)
    await heard(old, other(seeks, "r1", held=alive, epoch=EPOCH - 1))
    assert old.machines["east"]._found == {}, "another time of the lab: they are started anew"


async def test_a_run_without_a_machine_or_its_clock_counts_neither_way(
    roster: Roster, seeks: MachineSeeks
) -> None:
    await heard(roster, seeks)
    east, doubts = roster.machines["east"], doubts_of(roster.machines.values())
    assert east.run == "r1"
    assert doubts() == []
    east._record_clock_error(0.5)
    assert ["KS-AGENT-010" in doubt for doubt in doubts()] == [True]
    east.offset.known = OffsetSample(0.0, 0.001)
    later = doubts_of(roster.machines.values())
    assert later() == [], "what was before is not its matter"
    assert east.run == "r1"
    east.lose("went")
    assert east.run == ""
    assert [doubt.split(":")[0] for doubt in later()] == ["KS-AGENT-008"]


def other(seeks: MachineSeeks, run: str, **more: Any) -> MachineSeeks:
    return msgspec.structs.replace(seeks, run=run, **more)


async def test_who_may_not_join_is_not_believed_either(
    roster: Roster, client: Client, seeks: MachineSeeks
) -> None:
    await heard(roster, seeks)
    stale = other(seeks, "r2", ended="r1", bundle="an older one")
    await heard(roster, stale)
    assert roster.machines["east"].run == "r1", "only the lab's own bundle ends a run"
    assert client.refusals() == [("KS-AGENT-004", False)]


async def test_a_run_does_not_wait_for_its_own_lease(
    roster: Roster, client: Client, seeks: MachineSeeks
) -> None:
    await heard(roster, seeks)
    doubts = doubts_of(roster.machines.values())
    roster.machines["east"].lose("was silent")
    await heard(roster, seeks)
    assert roster.machines["east"].run == "r1" and client.refusals() == []
    assert [doubt.split(":")[0] for doubt in doubts()] == ["KS-AGENT-008"], "it was lost meanwhile"


@pytest.mark.parametrize("damage", ["disk", "record"])
async def test_what_the_lab_cannot_keep_is_told_to_who_seeks(
    roster: Roster,
    client: Client,
    folder: LabFolder,
    seeks: MachineSeeks,
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if damage == "disk":

        def full(*args: Any) -> None:
            raise OSError(28, "No space left on device", "bundles")

        monkeypatch.setattr("lab.machines.roster.note_run", full)
    else:
        (folder.path / "bundles" / "east.json").write_text("{")
    await heard(roster, seeks)
    assert roster.machines["east"].run == ""
    expected = {"disk": ("KS-LAB-005", True), "record": ("KS-AGENT-004", False)}
    assert client.refusals() == [expected[damage]]
    monkeypatch.undo()


async def test_an_agent_in_order_has_ended_its_processes_before_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    class Holding:
        ended = "r1"

        async def let_go(self) -> None:
            order.append("processes")

    class Control:
        def publish(self, event: MachineLeaves) -> None:
            order.append(event.run)

    await joining._leave(Holding(), Control(), "east")  # type: ignore[arg-type]
    assert order == ["processes", "r1"]


async def test_a_log_has_what_a_machine_says_of_its_own_nodes(
    roster: Roster, folder: LabFolder
) -> None:
    def record(node: str) -> NodeRecord:
        return NodeRecord(at=0.0, node=NodeName(node), boot=1, level="info", kind="k")

    for sender, node in (("agent-4", "kms"), ("agent-9", "esxi-002"), ("agent-4", "esxi-002")):
        roster._hear(sender, record(node))
    (log,) = (folder.path / "logs").glob("*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert log.name == "agent-4.jsonl" and [line["node"] for line in lines] == ["esxi-002"]
    await roster.close()


async def test_one_that_was_killed_in_its_trial_holds_up_nobody_in_its_place(
    roster: Roster, client: Client, seeks: MachineSeeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer would be waited for as long as a slow folder may take."""
    tried: list[str] = []

    async def come(guest: Any, run: str, arrays: tuple[str, ...]) -> None:
        tried.append(run)
        if run == "r1":
            await asyncio.Event().wait()

    monkeypatch.setattr(roster._meeting, "come", come)
    roster._hear("machine-east", seeks)
    while not tried:
        await asyncio.sleep(0.005)
    stranger = msgspec.structs.replace(seeks, run="r2", holder="another")
    edited = msgspec.structs.replace(seeks, run="r2", digest="another")
    for event in (seeks, stranger, edited):
        roster._hear("machine-east", event)
        await asyncio.sleep(0.02)
    assert roster._admitting == {"east"} and tried == ["r1"], "these are no reason"
    async with asyncio.timeout(5):
        while not roster.machines["east"].joined.is_set():
            roster._hear("machine-east", msgspec.structs.replace(seeks, run="r3"))
            await asyncio.sleep(0.02)
    assert tried == ["r1", "r3"] and roster.machines["east"].run == "r3"
    assert client.refusals() == []
