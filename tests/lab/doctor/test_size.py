"""Room for a lab of a size: limits that are really in force, and what is said of them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.doctor import probes
from lab.doctor.probes import DoctorFinding, DoctorHealth
from lab.topology import demand
from lab.topology.demand import demand_of, hint, pace_for, pack_for


def limited(what: int, value: int, code: str) -> str:
    """Run ``code`` in a process under a limit of the kernel; what it printed."""
    script = (
        f"import resource\nresource.setrlimit({what}, ({value}, {value}))\n"
        f"from lab.doctor.probes import *\n{code}"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return ran.stdout


def refused(finding: DoctorFinding, said: str, fix: str) -> None:
    assert finding.health is DoctorHealth.PROBLEM, finding
    assert said in finding.text and fix in finding.fix, finding


def test_files_are_opened_and_not_only_looked_up() -> None:
    few, many = demand_of(3, 3, 1, 30), demand_of(500, 500, 1, 30)
    code = f"for n in ({few.files}, {many.files}): print(open_files(n))"
    first, second = limited(resource.RLIMIT_NOFILE, 1024, code).splitlines()
    assert "DoctorHealth.OK" in first
    assert "DoctorHealth.PROBLEM" in second and "only 1024" in second and "limits.conf" in second
    packed = demand_of(100, 100, 100, 30)
    assert packed.files > demand_of(100, 100, 1, 30).files, "an agent of 100 hosts, not the broker"


@pytest.fixture
def few_tasks() -> Iterator[Path]:
    """A control group in which 40 tasks may live."""
    folder = Path("/sys/fs/cgroup/pids/keystead-test")
    if not os.access(folder.parent, os.W_OK):
        folder = Path("/sys/fs/cgroup/keystead-test")
    try:
        folder.mkdir()
        (folder / "pids.max").write_text("40")
    except OSError:
        pytest.skip("needs a control group that may be written")
    yield folder
    folder.rmdir()


def test_tasks_are_started_and_not_only_counted(few_tasks: Path) -> None:
    assert probes.processes(60).health is DoctorHealth.OK
    code = f"""
import os
from pathlib import Path
from lab.doctor.probes import processes
Path("{few_tasks}/cgroup.procs").write_text(str(os.getpid()))
print(processes(60))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "DoctorHealth.PROBLEM" in ran.stdout, ran.stdout
    assert "such a lab needs 60" in ran.stdout and "--pack 50" in ran.stdout


def test_no_more_tasks_are_started_than_a_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor --hosts 99999` started 600,030 processes, and ended with a traceback."""
    asked: list[int] = []

    def taken(code: str, count: int) -> tuple[int, str]:
        asked.append(count)
        return count, ""

    monkeypatch.setattr(probes, "_take", taken)
    monkeypatch.setattr(probes, "most_tasks", lambda: 30_000)
    below, above = probes.processes(20_000), probes.processes(600_000)
    assert asked == [probes.TASKS_TRIED] * 2
    assert below.health is DoctorHealth.OK and "no limit below 20000" in below.text
    assert above.health is DoctorHealth.PROBLEM and "only 30000" in above.text


def test_a_machine_that_does_not_come_to_an_end_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probes, "TAKE_LIMIT_S", 0.05)
    monkeypatch.setattr(probes, "_START", "import time; time.sleep(60)")
    found = probes.processes(5)
    assert found.health is DoctorHealth.PROBLEM and "was not done with 5" in found.text


def test_the_limit_on_tasks_is_one_that_this_machine_has() -> None:
    assert 0 < probes.most_tasks() <= int(Path("/proc/sys/kernel/pid_max").read_text())


def test_memory_of_a_container_counts_as_that_of_the_machine(tmp_path: Path) -> None:
    assert probes.memory(1, 1).health is DoctorHealth.OK
    refused(probes.memory(100_000_000, 300), "300 hosts need", "--pack 50")
    (tmp_path / "memory.max").write_text(f"{500 << 20}\n")
    (tmp_path / "memory.current").write_text(f"{200 << 20}\n")
    assert probes.free_mib(tmp_path) == 300
    (tmp_path / "memory.max").write_text("max\n")
    assert probes.free_mib(tmp_path) > 300


def test_a_pace_that_the_machine_cannot_keep_is_noted_with_one_that_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demand, "usable_cpus", lambda: 2)
    assert hint(3, 6, 1, 30) == ""
    said = hint(2000, 2000, 1, 30)
    assert "of 2 processors" in said and "--pace 4" in said
    assert hint(2000, 2000, 1, 4) == "" == hint(2000, 2000, 1, pace_for(2000, 2000, 2))
    assert "fewer hosts" in hint(100_000, 100_000, 1, 1)


def test_one_process_for_more_hosts_than_it_keeps_up_with_is_noted_with_a_pack_that_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demand, "usable_cpus", lambda: 64)
    monkeypatch.setattr(probes, "usable_cpus", lambda: 64)
    said = hint(300, 300, 300, 30)
    assert "300 hosts in one process are too many at pace 30" in said and "--pack 100" in said
    assert hint(300, 300, pack_for(300, 300, 30), 30) == "" == hint(300, 300, 300, 10)
    assert hint(1000, 2000, 250, 4) == "", "many hosts in a process are well at a slow pace"
    assert hint(40, 40, 500, 30) == "", "a process holds no more hosts than there are"
    finding = probes.processors(300, 300, 30)
    assert finding.health is DoctorHealth.NOTE and finding.fix == said, finding
    assert probes.processors(300, 10, 30).health is DoctorHealth.OK


def test_more_hosts_in_a_process_need_fewer_processes_and_less_memory() -> None:
    alone, packed = demand_of(300, 300, 1, 30), demand_of(300, 300, 10, 30)
    assert (alone.processes, packed.processes) == (306, 36)
    assert packed.memory_mib < alone.memory_mib and packed.tasks < alone.tasks
