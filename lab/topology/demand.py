"""What a lab of a size asks of the machine: measured on running labs, rounded up."""

from __future__ import annotations

import os

import msgspec

FILES_FIXED, FILES_PER_NODE, FILES_PER_PACKED = 128, 4, 16
MIB_FIXED, MIB_PER_PROCESS, MIB_PER_HOST = 250, 20, 6
THREADS_PER_PROCESS = 6
# Seconds of one processor per lab second, for heartbeats, and for a guest that works.
CPU_PER_HOST, CPU_PER_VM = 0.000_10, 0.000_04
IN_AGENTS = 2 / 3  # of that, in the processes of the hosts; the rest in vCenter's and the brokers
BUSY = 0.7  # of the processors: above it, what a fault does is hard to tell from what load does
BUSY_PROCESS = 0.5  # of the one processor that a process can use: a start takes more than idling
PACKS = (500, 200, 100, 50, 20, 10, 5, 2, 1)


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """``files``: open in the busiest process. ``cores``: processors busy while nothing happens;
    ``fullest`` of one, by the process that holds most hosts."""

    processes: int
    tasks: int  # of the kernel: processes and threads
    files: int
    memory_mib: int
    cores: float
    fullest: float


def demand_of(hosts: int, vms: int, pack: int, pace: float) -> Demand:
    """Of so many hosts, ``pack`` of them in one process, at ``pace`` lab seconds in a second."""
    agents = -(-hosts // pack) + 2
    cores = pace * (CPU_PER_HOST * hosts + CPU_PER_VM * vms)
    return Demand(
        processes=agents + 4,
        tasks=(agents + 4) * THREADS_PER_PROCESS,
        files=FILES_FIXED + max(FILES_PER_NODE * hosts, FILES_PER_PACKED * pack),
        memory_mib=MIB_FIXED + MIB_PER_PROCESS * agents + MIB_PER_HOST * hosts,
        cores=cores,
        fullest=IN_AGENTS * cores * min(pack, hosts) / max(hosts, 1),
    )


def pace_for(hosts: int, vms: int, cpus: float) -> float:
    """The fastest round pace at which such a lab leaves the machine room."""
    at_one = demand_of(hosts, vms, 1, 1).cores
    steps = (100, 60, 50, 30, 20, 10, 5, 4, 3, 2, 1)
    return next((p for p in steps if p * at_one <= BUSY * cpus), 1)


def usable_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def pack_for(hosts: int, vms: int, pace: float) -> int:
    """The most hosts, in round numbers, that one process holds at that pace."""
    fits = (p for p in PACKS if demand_of(hosts, vms, p, pace).fullest <= BUSY_PROCESS)
    return next(fits, 1)


def hint(hosts: int, vms: int, pack: int, pace: float) -> str:
    """What to do when the machine, or one process, is the limit at that pace; empty when neither
    is."""
    cpus, demand = usable_cpus(), demand_of(hosts, vms, pack, pace)
    best = pace_for(hosts, vms, cpus)
    slower = f"--pace {best:g}" if best < pace else "fewer hosts"
    found = []
    if demand.cores > BUSY * cpus:
        saves = ", and --pack 50 saves memory" if pack < 50 else ""
        found.append(
            f"{hosts} hosts and {vms} VMs keep about {demand.cores:.1f} of {cpus} processors busy "
            f"at pace {pace:g}: {slower} leaves room{saves}"
        )
    if demand.fullest > BUSY_PROCESS:
        found.append(
            f"{min(pack, hosts)} hosts in one process are too many at pace {pace:g}: they keep "
            f"about {demand.fullest:.1f} of the one processor busy that it can use, before "
            f"anything happens; --pack {pack_for(hosts, vms, pace)} spreads them"
        )
    return "; ".join(found)
