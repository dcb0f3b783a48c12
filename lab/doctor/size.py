"""Whether this machine has room for a lab of a size (``lab.topology.demand``).

Limits lie in many places: of the user, the session, the container. So what a lab would take is
taken, for a moment, where that is possible: descriptors and tasks. Of tasks no more than a machine
stands at once; above that the limits are read that the kernel tells.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from lab.doctor.findings import DoctorFinding, DoctorHealth
from lab.topology.demand import BUSY_PROCESS, demand_of, hint, usable_cpus

TAKE_LIMIT_S = 60
TASKS_TRIED = 4096

# Opens files, or starts processes, as many as it is told; prints how many it got, and why no more.
_OPEN = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
got, why = 3, ""
try:
    while got < int(sys.argv[1]):
        os.open(os.devnull, os.O_RDONLY)
        got += 1
except OSError as error:
    why = error.strerror
print(got, why)
"""
_START = """
import os, sys
got, why = 0, ""
read, write = os.pipe()
try:
    while got < int(sys.argv[1]):
        if os.fork() == 0:
            os.close(write)
            os.read(read, 1)  # until the other end closes, however that process ends
            os._exit(0)
        got += 1
except OSError as error:
    why = error.strerror
os.close(write)
for _ in range(got):
    os.wait()
print(got, why)
"""


def _take(code: str, count: int) -> tuple[int, str]:
    """How many of ``count`` a process of its own got, and why no more."""
    try:
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, str(count)],
            capture_output=True,
            text=True,
            timeout=TAKE_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return 0, f"the machine was not done with {count} within {TAKE_LIMIT_S} s"
    got, _, why = ran.stdout.strip().partition(" ")
    return int(got or 0), why or (ran.stderr.strip().splitlines() or [""])[-1]


def open_files(count: int) -> DoctorFinding:
    """Open as many files as the broker or the fullest agent has open."""
    got, why = _take(_OPEN, count)
    if got < count:
        text = f"only {got} files could be opened ({why}); such a lab needs {count} in one process"
        how = f"fewer hosts, or `* hard nofile {count}` in /etc/security/limits.conf"
        return DoctorFinding("open files", DoctorHealth.PROBLEM, text, how)
    return DoctorFinding("open files", DoctorHealth.OK, f"{count} could be opened")


def processes(count: int) -> DoctorFinding:
    """Have as many tasks as the lab has processes and threads, all at once."""
    tried = min(count, TASKS_TRIED)
    got, why = _take(_START, tried)
    most = most_tasks() if got == tried < count else count
    if most < count:
        got, why = most, "a limit of the kernel, the user or the container"
    if got < tried or most < count:
        text = f"only {got} tasks could be started ({why}); such a lab needs {count}"
        how = "more hosts in one process (--pack 50), or raise `ulimit -u` or the container's limit"
        return DoctorFinding("tasks", DoctorHealth.PROBLEM, text, how)
    if tried < count:
        text = f"{tried} could be started, and no limit below {count} is known"
        return DoctorFinding("tasks", DoctorHealth.OK, text)
    return DoctorFinding("tasks", DoctorHealth.OK, f"{count} could be started")


def most_tasks() -> int:
    """The lowest limit on tasks that the kernel tells: its own, the user's, the container's."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limits = [] if soft == resource.RLIM_INFINITY else [soft]
    for file in ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"):
        limits.append(int(Path(file).read_text()))
    for file in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):
            continue  # there is none, or it is "max"
    return min(limits)


def memory(mib: int, hosts: int) -> DoctorFinding:
    """Free memory, of the machine and of the container, against what the lab needs."""
    free = free_mib()
    if free < mib:
        text = f"{free} MiB are free; {hosts} hosts need {mib} MiB"
        how = f"fewer hosts, or more in one process: `keystead up --hosts {hosts} --pack 50`"
        return DoctorFinding("memory", DoctorHealth.PROBLEM, text, how)
    return DoctorFinding(
        "memory", DoctorHealth.OK, f"{free} MiB free; {hosts} hosts need {mib} MiB"
    )


def free_mib(root: Path = Path("/sys/fs/cgroup")) -> int:
    """MiB that may still be taken; a container may have less than the machine has free."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most = int((root / limit).read_text())
            free = min(free, most - int((root / used).read_text()))
        except (OSError, ValueError):
            continue  # there is none, or it is "max"
    return max(free, 0) >> 20


def processors(hosts: int, pack: int, pace: float) -> DoctorFinding:
    """Processors against what such a lab, with a VM on each host, keeps busy; and the one that a
    process can use against what the hosts in it do."""
    demand, cpus = demand_of(hosts, hosts, pack, pace), usable_cpus()
    text = f"{cpus}; {hosts} hosts at pace {pace:g} keep about {demand.cores:.1f} busy"
    if demand.fullest > BUSY_PROCESS:
        text += f", and the {min(pack, hosts)} in one process {demand.fullest:.1f} of its one"
    limit = hint(hosts, hosts, pack, pace)
    return DoctorFinding("processors", DoctorHealth.NOTE if limit else DoctorHealth.OK, text, limit)
