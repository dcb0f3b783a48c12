"""CPU time and memory of processes that are not this one."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from benchmarks.memory import memory_of


def cpu_s_of(pid: int) -> float:
    """CPU seconds of a process so far, in steps of the kernel's tick (10 ms)."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def cpu_s_of_all() -> float:
    """CPU seconds so far of this process and of all that it has started and that still run."""
    return time.process_time() + sum(cpu_s_of(pid) for pid in _list_children())


def cpu_s_of_each() -> dict[int, float]:
    """The same, process by process, without this one."""
    return {pid: cpu_s_of(pid) for pid in _list_children()}


def memory_of_all() -> float:
    """PSS of the same processes, in GiB."""
    return sum(memory_of(pid)["Pss"] for pid in (*_list_children(), psutil.Process().pid)) / 1024


def _list_children() -> list[int]:
    """Of a process that has ended, and is not waited for yet, nothing can be read any more."""
    found = psutil.Process().children(recursive=True)
    return [p.pid for p in found if Path(f"/proc/{p.pid}/smaps_rollup").exists() and _lives(p)]


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
