"""What a lab of a size asks of the machine: measured on running labs, rounded up."""

from __future__ import annotations

import os

import msgspec

FILES_FIXED, FILES_PER_NODE, FILES_PER_PACKED = 128, 4, 16
MIB_FIXED, MIB_PER_PROCESS, MIB_PER_HOST = 250, 20, 6
THREADS_PER_PROCESS = 6
# Seconds of one processor per lab second, for heartbeats, and for a guest that works.
CPU_PER_HOST, CPU_PER_VM = 0.000_10, 0.000_04
BUSY = 0.7  # of the processors: above it, what a fault does is hard to tell from what load does


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """``files``: open in the busiest process. ``cores``: processors busy while nothing happens."""

    processes: int
    tasks: int  # of the kernel: processes and threads
    files: int
    memory_mib: int
    cores: float


def demand_of(hosts: int, vms: int, pack: int, pace: float) -> Demand:
    """Of so many hosts, ``pack`` of them in one process, at ``pace`` lab seconds in a second."""
    agents = -(-hosts // pack) + 2
    return Demand(
        processes=agents + 4,
        tasks=(agents + 4) * THREADS_PER_PROCESS,
        files=FILES_FIXED + max(FILES_PER_NODE * hosts, FILES_PER_PACKED * pack),
        memory_mib=MIB_FIXED + MIB_PER_PROCESS * agents + MIB_PER_HOST * hosts,
        cores=pace * (CPU_PER_HOST * hosts + CPU_PER_VM * vms),
    )


def pace_for(hosts: int, vms: int, cpus: float) -> float:
    """The fastest round pace at which such a lab leaves the machine room."""
    at_one = demand_of(hosts, vms, 1, 1).cores
    steps = (100, 60, 50, 30, 20, 10, 5, 4, 3, 2, 1)
    return next((p for p in steps if p * at_one <= BUSY * cpus), 1)


def usable_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def hint(hosts: int, vms: int, pace: float) -> str:
    """What to do when the machine is the limit at that pace; empty when it is not."""
    cpus, wanted = usable_cpus(), demand_of(hosts, vms, 1, pace).cores
    if wanted <= BUSY * cpus:
        return ""
    best = pace_for(hosts, vms, cpus)
    slower = f"--pace {best:g}" if best < pace else "fewer hosts"
    return (
        f"{hosts} hosts and {vms} VMs keep about {wanted:.1f} of {cpus} processors busy at pace "
        f"{pace:g}: {slower} leaves room, and --pack 50 saves memory"
    )
