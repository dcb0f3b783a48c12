"""What is named as a point is a storage call, and what is made to happen there happens there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

from chaos.points import Blow, Happening, When, blows_at
from lab.simulation.points import CallPlace, Passage, Points
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.agent import NodeRunState
from tests.lab.simulation import passing

pytestmark = pytest.mark.sim
OFF, RUNNING = NodeRunState.OFF, NodeRunState.RUNNING
CRASH, POWER, TORN = Happening.CRASH, Happening.POWER_LOSS, Happening.TORN
ENOSPC, EIO = Happening.ENOSPC, Happening.EIO
BEFORE, WITHIN, AFTER = When.BEFORE, When.WITHIN, When.AFTER


@pytest.fixture(scope="module")
def snapshot() -> Iterator[BuiltLabs]:
    asked = {"hosts": 1, "vms": 1, "tpm": "model", "key_persistence": True}
    with BuiltLabs(Origin(plan(load("default", **asked)))) as made:
        yield made


def test_points_are_named_by_service_call_and_path_and_watching_changes_nothing(
    snapshot: BuiltLabs,
) -> None:
    passages, trace = snapshot.run(1, passing.recorded)
    assert snapshot.run(1, passing.recorded) == (passages, trace)
    assert snapshot.run(1, passing.unwatched) == trace
    names = {str(passage.point) for passage in passages}
    assert "esxi-001:archive.Archive._append_addition:disk.append:bootbank/state.tgz" in names
    assert "kms:group_commit.Commits._carry:db.commit:keys" in names
    assert any(
        name.startswith("vcenter:") and name.endswith(":db.commit:vcenter") for name in names
    )
    assert not [name for name in names if ":-:" in name], "each call has a service that made it"
    counts = Counter(passage.point for passage in passages)
    assert all(passage.nth <= counts[passage.point] for passage in passages)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "blow", "written", "synced"),
    [
        ("disk.append", Blow(CRASH, BEFORE), "old", "old"),
        ("disk.append", Blow(CRASH, AFTER), "new", "old"),
        ("disk.append", Blow(TORN), "part", "old"),
        ("disk.append", Blow(POWER, AFTER), "old", "old"),
        ("disk.sync", Blow(CRASH, BEFORE), "new", "old"),
        ("disk.sync", Blow(POWER, BEFORE), "old", "old"),
        ("disk.sync", Blow(TORN), "part", "part"),
        ("disk.sync", Blow(POWER, AFTER), "new", "new"),
        ("disk.sync", Blow(CRASH, AFTER), "new", "new"),
    ],
)
def test_an_end_at_a_file_leaves_what_it_should(
    snapshot: BuiltLabs, call: str, blow: Blow, written: str, synced: str
) -> None:
    old, new = snapshot.run(1, passing.appended)
    assert old < new
    found = snapshot.run(1, passing.at_file, call, blow)
    assert (found["old"], found["state"]) == (old, OFF)
    ranges = {"old": range(old, old + 1), "new": range(new, new + 1), "part": range(old + 1, new)}
    assert found["is"][0] in ranges[written]
    assert found["is"][1] in ranges[synced]
    assert snapshot.run(1, passing.at_file, call, blow) == found, "the same seed tears the same"


@pytest.mark.parametrize("blow", [Blow(ENOSPC), Blow(EIO)])
def test_a_call_that_is_refused_is_told_and_the_host_goes_on(
    snapshot: BuiltLabs, blow: Blow
) -> None:
    found = snapshot.run(1, passing.at_file, "disk.append", blow)
    assert found["state"] is RUNNING
    assert found["passage"].nth == 1


@pytest.mark.parametrize(
    ("blow", "made", "state"),
    [
        (Blow(CRASH, BEFORE), 0, OFF),
        (Blow(CRASH, WITHIN), 0, OFF),
        (Blow(CRASH, AFTER), 1, OFF),
        (Blow(POWER, BEFORE), 0, OFF),
        (Blow(POWER, WITHIN), 0, OFF),
        (Blow(POWER, AFTER), 1, OFF),
        (Blow(ENOSPC, BEFORE), 0, RUNNING),
        (Blow(EIO, WITHIN), 0, RUNNING),
        (Blow(ENOSPC, WITHIN), 0, RUNNING),
        (Blow(EIO, AFTER), 1, RUNNING),
    ],
)
def test_a_commit_is_made_or_not(
    snapshot: BuiltLabs, blow: Blow, made: int, state: NodeRunState
) -> None:
    found = snapshot.run(1, passing.at_commit, blow)
    assert found == {"answered": False, "made": made, "state": state}


def test_patterns_meet_their_nth_passage_and_nothing_is_watched_afterwards(
    snapshot: BuiltLabs,
) -> None:
    met = snapshot.run(1, passing.nth)
    assert len(met) == 2
    assert {name.split(":")[2][:4] for name in met} == {"disk", "db.c"}


@pytest.mark.parametrize(
    ("pattern", "meets"),
    [
        ({"node": "esxi-*"}, "node"),
        ({"function": "archive.*"}, "function"),
        ({"call": "disk.*"}, "call"),
        ({"path": "bootbank/*"}, "path"),
    ],
)
def test_each_pattern_is_compared_with_its_own_part(pattern: dict[str, Any], meets: str) -> None:
    right = {
        "node": "esxi-001",
        "function": "archive.Archive.write",
        "call": "disk.append",
        "path": "bootbank/state.tgz",
    }
    for changed in right:
        parts = right | {changed: "another"}
        place = msgspec.convert(parts, CallPlace)
        struck = Points(cast(SimLab, None), ()).arm(None, **pattern)
        assert struck.matches(Passage(place, 1, 0.0, 1)) is (changed != meets)


def test_each_call_has_its_blows() -> None:
    assert len(blows_at("db.commit")) == 12
    assert Blow(TORN) in blows_at("disk.sync") and Blow(ENOSPC) not in blows_at("disk.sync")
    assert set(blows_at("tpm.unseal")) == {Blow(CRASH), Blow(EIO)}
    assert {blow.when for blow in blows_at("tpm.counter")} == {BEFORE, AFTER}
    assert Blow(TORN) not in blows_at("tpm.counter") and Blow(ENOSPC) not in blows_at("tpm.seal")
    assert set(blows_at("disk.read")) == {Blow(CRASH), Blow(EIO)}
    assert {blow.when for blow in blows_at("disk.replace")} == {BEFORE, AFTER}
