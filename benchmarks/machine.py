"""The machine a figure was taken on: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from lab.brokers.program import find_server
from lab.runs.store import code_version, commit
from lab.schema.answers.local import MeasuredMachine
from lab.schema.errors import KeysteadError
from services.runtime.tpm.backends import missing_for_libtpms


def describe(folder: Path) -> MeasuredMachine:
    """This machine under its load of now; ``folder`` is where benchmarks write."""
    now = load()
    return MeasuredMachine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=psutil.virtual_memory().total >> 20,
        kernel=platform.release(),
        file_system=_file_system(folder),
        python=platform.python_version(),
        nats_server=_broker(),
        libtpms=_libtpms(),
        commit=commit(),
        code=code_version(),
        load_at_start=now,
        load_at_end=now,
    )


def load() -> float:
    """Processes that wanted a core, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Type of the file system that ``folder`` is on: a sync costs nothing on ``tmpfs``."""
    where = folder.resolve()
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    return next((mounts[p] for p in (where, *where.parents) if p in mounts), "unknown")


def _broker() -> str:
    try:
        return ".".join(map(str, find_server().version))
    except KeysteadError as error:
        return f"none: {error}"


def _libtpms() -> str:
    """The version in the library's file name (``libtpms.so.0.9.5``)."""
    reason = missing_for_libtpms()
    if reason:
        return f"none: {reason}"
    from services.runtime.tpm.library import library_path

    name = Path(library_path()).resolve().name
    return name.partition(".so.")[2] or name
