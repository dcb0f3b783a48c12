"""A run from a snapshot is the run from the start; it ends in any way and reaches nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chaos.experiment.plan import dump_plan
from lab.play.prepare import prepare
from lab.simulation.sim_lab import BUILDS, build_of
from lab.simulation.snapshot import BuiltLabs, Origin, Stage
from lab.simulation.workers import simulations
from lab.topology.lab_file import load
from lab.topology.plan import plan
from services.runtime.forking.connection import ForkFailed
from services.runtime.sim.runner import WorkerDied, run_in_worker
from services.runtime.tpm.backends import missing_for_libtpms
from tests.lab.simulation import runs

pytestmark = pytest.mark.sim
BACKENDS = ["model", pytest.param("libtpms", marks=pytest.mark.tpm)]


def origin(stage: Stage | None = None, **changes: Any) -> Origin:
    asked = {"hosts": 2, "vms": 2, "tpm": "model", "key_persistence": True, **changes}
    if asked["tpm"] == "libtpms" and missing_for_libtpms():
        pytest.skip(missing_for_libtpms())
    return Origin(plan(load("default", **asked)), stage)


@pytest.fixture(scope="module")
def snapshot() -> Iterator[BuiltLabs]:
    with BuiltLabs(origin()) as made:
        yield made


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def eventually_gone(pids: list[int]) -> None:
    """Wait for their ends; the test's own time limit ends a hopeless wait."""
    while not all(gone(pid) for pid in pids):
        time.sleep(0.01)


# ---- the same run --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("tpm", BACKENDS)
def test_a_run_from_a_snapshot_is_the_run_from_the_start(tpm: str) -> None:
    """Over random schedules of faults, several of one build, in an order of their own."""
    start = origin(tpm=tpm)
    seeds = [3, 3 + BUILDS, 3 + 2 * BUILDS, 8]
    fresh = {
        seed: run_in_worker(runs.in_a_process, start, seed, runs.schedule, server=simulations())
        for seed in seeds
    }
    with BuiltLabs(start) as made:
        found = {seed: made.run(seed, runs.schedule) for seed in [*reversed(seeds), 3]}
    assert found == fresh
    assert len(set(fresh.values())) == len(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["edge-outage-reboot", "outage-without-persistence"])
def test_an_experiment_from_a_snapshot_is_the_experiment(name: str) -> None:
    for seed in (7, 18):
        prepared = prepare(name, seed, {"tpm": "model", "hosts": 2, "vms": 4})
        start, made = Origin(prepared.topology), dump_plan(prepared.plan)
        fresh = run_in_worker(
            runs.in_a_process, start, seed, runs.experiment, made, server=simulations()
        )
        with BuiltLabs(start) as snapshot:
            assert snapshot.run(seed, runs.experiment, made) == fresh
        assert fresh[1] == 0


def test_a_staged_lab_is_where_its_runs_begin() -> None:
    start = origin(runs.cut)
    with BuiltLabs(start) as made:
        ours, theirs = made.run(5, runs.place), made.run(5 + BUILDS, runs.place)
        assert ours[0] == theirs[0] > 30 and ours[1] != theirs[1]
        fresh = run_in_worker(runs.in_a_process, start, 5, runs.schedule, server=simulations())
        assert made.run(5, runs.schedule) == fresh


def test_what_the_seed_fixes_differs_after_the_build_and_the_build_between_few(
    snapshot: BuiltLabs,
) -> None:
    """Two seeds of one build part where it ends; there are more builds than one."""
    first, second, other = (snapshot.run(seed, runs.place) for seed in (1, 1 + BUILDS, 2))
    assert build_of(1) == build_of(1 + BUILDS) != build_of(2)
    assert first[0] == second[0] != other[0]
    assert first[2] != second[2]


# ---- runs keep to themselves ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("tpm", BACKENDS)
def test_a_run_changes_neither_the_snapshot_nor_another(tpm: str) -> None:
    """Each has TPMs, disks and databases of its own, as they were when the lab was built."""
    with BuiltLabs(origin(tpm=tpm)) as made:
        works, ek = made.run(1, runs.reboot)
        swapped = made.run(1, runs.swap)
        again = made.run(1 + BUILDS, runs.reboot)
    assert works and again == (True, ek) and swapped != ek


def test_runs_of_several_threads_go_on_together(snapshot: BuiltLabs) -> None:
    with ThreadPoolExecutor(8) as pool:
        seeds = [n % 3 * BUILDS for n in range(24)]
        found = list(pool.map(lambda seed: snapshot.run(seed, runs.place)[2], seeds))
    assert [found[n] for n in range(3)] * 8 == found


@pytest.mark.slow
@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.sweep)])
def test_runs_leave_no_descriptor_no_memory_and_no_process(count: int) -> None:
    def held(pid: int) -> tuple[int, int]:
        """Descriptors, but for one that it has for a moment at each fork; KiB of memory."""
        counts = []
        for _ in range(20):
            counts.append(len(os.listdir(f"/proc/{pid}/fd")))
            time.sleep(0.005)
        kb = Path(f"/proc/{pid}/smaps_rollup").read_text().split("Rss:")[1].split()[0]
        return min(counts), int(kb)

    with BuiltLabs(origin(hosts=1, vms=1)) as made:
        made.run(0, runs.place)
        [pid] = made.pids
        for seed in range(30):
            made.run(BUILDS * seed, runs.place)
        before, ours = held(pid), len(os.listdir("/proc/self/fd"))
        for seed in range(count):
            made.run(BUILDS * seed, runs.place)
        after = held(pid)
        assert len(os.listdir("/proc/self/fd")) == ours
        assert after[0] <= before[0]
        assert after[1] - before[1] < 2_000
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        eventually_gone([int(child) for child in children])


# ---- ways to end ---------------------------------------------------------------------------------


def test_whatever_happens_to_a_run_is_told_and_the_next_one_is_well(snapshot: BuiltLabs) -> None:
    with pytest.raises(ValueError, match="from a run") as caught:
        snapshot.run(1, runs.throw)
    assert "runs.py" in "".join(caught.value.__notes__)
    with pytest.raises(WorkerDied, match="killed by signal 9"):
        snapshot.run(1, runs.die)
    assert snapshot.run(1, runs.reboot)[0]


@pytest.mark.slow
def test_a_run_that_hangs_is_killed_and_one_that_eats_memory_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with BuiltLabs(origin(), limit_s=3.0, memory=200 << 20) as made:
        with pytest.raises(TimeoutError):
            made.run(1, runs.hang, str(path))
        eventually_gone([int(path.read_text())])
        with pytest.raises(MemoryError):
            made.run(1, runs.eat)
        assert made.run(1, runs.place)[0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("unread", [False, True])
def test_a_snapshot_that_was_killed_is_built_again(snapshot: BuiltLabs, unread: bool) -> None:
    """``unread``: it has told the end of its child, and nobody has listened."""
    before = snapshot.run(1, runs.place)
    if unread:
        eventually_gone([before[1]])
        time.sleep(0.1)
    pids = snapshot.pids
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually_gone(pids)
    assert snapshot.pids == [], "a pid of a build that has ended may be another's by now"
    after = snapshot.run(1, runs.place)
    assert (after[0], after[2]) == (before[0], before[2])


def test_closing_ends_builds_and_runs(tmp_path: Path) -> None:
    made, path, outcome = BuiltLabs(origin()), tmp_path / "pid", []

    def run() -> None:
        try:
            made.run(1, runs.hang, str(path))
        except WorkerDied as error:
            outcome.append(error)

    going_on = threading.Thread(target=run)
    going_on.start()
    while not (path.exists() and path.read_text().endswith("\n")):
        time.sleep(0.01)
    pids = [*made.pids, int(path.read_text())]
    made.close()
    going_on.join()
    eventually_gone(pids)
    assert len(outcome) == 1


def test_closing_ends_a_build_that_does_not_come_to_its_end_and_none_begins_after_it() -> None:
    made, outcome, before = BuiltLabs(origin(stage=runs.stuck)), [], builds()

    def run() -> None:
        try:
            made.run(1, runs.place)
        except (ForkFailed, WorkerDied) as error:
            outcome.append(error)

    waiting = threading.Thread(target=run, daemon=True)
    waiting.start()
    while not builds() - before:
        time.sleep(0.01)
    stuck = builds() - before
    closing = threading.Thread(target=made.close, daemon=True)
    closing.start()
    closing.join(10)
    closed = not closing.is_alive()
    for pid in stuck:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    waiting.join(10)
    assert closed and len(outcome) == 1
    with pytest.raises(ForkFailed, match="closed"):
        made.run(1, runs.place)
    assert builds() == before


def builds() -> set[int]:
    """Children of this process's fork server of simulations that hold a build, or make one."""
    server = simulations().pid
    if server is None:
        return set()
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return {pid for pid in map(int, children) if name_of(pid).startswith("ks-build")}


def name_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


@pytest.mark.slow
def test_builds_and_runs_die_with_their_owner(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    text = f"""
import sys
sys.path[:] = {sys.path!r}
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.topology.lab_file import load
from lab.topology.plan import plan
from tests.lab.simulation import runs
origin = Origin(plan(load("default", hosts=1, vms=1, tpm="model")))
BuiltLabs(origin).run(1, runs.hang, {str(path)!r})
"""
    owner = subprocess.Popen([sys.executable, "-c", text])
    while not (path.exists() and path.read_text().endswith("\n")):
        time.sleep(0.01)
    run = int(path.read_text())
    build = int(Path(f"/proc/{run}/stat").read_text().rpartition(")")[2].split()[1])
    owner.kill()
    owner.wait()
    eventually_gone([run, build])


# ---- what must not be open -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "named"),
    [
        (runs.thread, "2 threads run .*left-over"),
        (runs.sockets, "descriptor [0-9]+ is open: socket:"),
        (runs.database, "descriptor [0-9]+ is open: .*left-over.db"),
        (runs.file, "descriptor [0-9]+ is open: .*left-over"),
        (runs.process, "a child of this process has not ended"),
        (runs.memory, "memory is shared"),
        (runs.wrong, "the stage fell over"),
    ],
)
def test_a_lab_with_something_open_is_no_origin_and_it_is_named(stage: Stage, named: str) -> None:
    with BuiltLabs(origin(stage, hosts=1, vms=1)) as made, pytest.raises(ForkFailed, match=named):
        made.run(1, runs.place)


# ---- within a step -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("tpm", BACKENDS)
@pytest.mark.parametrize("label", ["disk.sync", "disk.append", "db.transact"])
def test_a_fork_within_a_step_is_the_same_run_too(tpm: str, label: str) -> None:
    """What a sweep over crash points stands on: both copies go on from the middle of a call."""
    with BuiltLabs(origin(tpm=tpm)) as made:
        for nth in (1, 3):
            parent, child = made.run(4, runs.fork_within, label, nth)
            assert parent == child
