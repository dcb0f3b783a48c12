"""What a supervisor keeps of its lab for the next one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from lab.state.state_folder import LabFolder, LabRecord
from lab.supervise.supervisor import Supervisor
from lab.topology.lab_file import load
from protocol.terms import NodeName


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabFolder:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    folder = LabFolder("one")
    folder.make()
    return folder


def supervising(folder: LabFolder) -> Supervisor:
    file = load("default", hosts=1, vms=0, tpm="none").model_dump(mode="json")
    return Supervisor(folder, LabRecord(name="one", file=file, seed=1, wall=0.0), -1)


async def test_leases_that_cannot_be_looked_at_are_told_once_and_tried_at_their_pace(
    folder: LabFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with them: it fills no log, and takes no processor from the lab."""
    supervisor = supervising(folder)
    looks = 0
    enough = asyncio.Event()

    async def wrong(every_s: float) -> None:
        raise RuntimeError("leases are wrong")

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        assert seconds == supervisor.lab.lease_tick_s
        if looks == 50:
            enough.set()
        await asyncio.sleep(0)

    monkeypatch.setattr(supervisor.keeper, "keep_leases", wrong)
    monkeypatch.setattr(supervisor.lab, "sleep", sleep)
    leases = asyncio.create_task(supervisor._leases())
    async with asyncio.timeout(10):
        await enough.wait()
    leases.cancel()
    assert list(supervisor.session.warnings) == ["leases of faults: RuntimeError: leases are wrong"]


def test_a_host_that_was_added_is_kept_once(folder: LabFolder) -> None:
    supervisor = supervising(folder)
    own = supervisor.lab.spec(NodeName("esxi-001"))
    added = msgspec.structs.replace(own, node=NodeName("esxi-002"))
    for spec in (own, added, added):
        supervisor.session.host_added(spec)
    kept = folder.record()
    assert kept is not None
    assert [host["node"] for host in kept.hosts_added] == ["esxi-002"]
