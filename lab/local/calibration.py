"""``load calibrate``: how long the processes of a lab work on what, on this machine.

1. A lab of real processes is asked for single operations and for blocks of them, 1 to 96 at a time.
   The kernel's scheduler says what each process used (``/proc/PID/task/*/schedstat``).
2. The simulation is asked for the same. It counts the pieces of work of each process by class, and
   how often the process was woken up for them (decision 107).
3. Least squares with no negative result divide processor times by what was counted. Steps 2 and 3
   are repeated, since the times decide how much a process finds done when it wakes up.
4. Calls of disk and TPM are timed by themselves.
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from chaos.fields import format_s
from lab.brokers.bus_servers import BusServers
from lab.client import Lab
from lab.core import LabCore
from lab.processes.process_lab import ProcessLab
from lab.simulation.sim_lab import SimLab
from lab.state.scratch import scratch
from lab.topology.service_times import (
    DATASTORE_CALLS,
    DEVICE_CLASSES,
    DISK_CALLS,
    FORMAT,
    SHARED_PROCESSES,
)
from protocol.messages.agent import COLD, WAKEUP, TpmBackend
from protocol.messages.base import Request
from protocol.messages.vcenter.providers import GenerateKey
from protocol.messages.vcenter.vms import PowerOffVm, PowerOnVm
from protocol.terms import Role
from protocol.tpm.structures import PcrSelection
from services.runtime.each import for_each
from services.runtime.tpm.backends import missing_for_libtpms, open_device
from services.runtime.tpm.device import MemoryNv

LIMIT_S: Final = 600.0  # lab seconds that one operation may take
IDLE_S: Final = 0.5
SETTLE_S: Final = 0.03  # after operations, for what goes on after their answers
AT_ONCE: Final = (1, 96, 8, 96, 24)  # operations of a block
BLOCK: Final = 96  # operations in a block
POWER: Final = (16, 6, 24, 0)  # VMs of a block that go off and on; its other operations are keys
SECONDS: Final = "seconds"  # the column of what a process does without messages
REPLIES: Final = "*.reply"
LITTLE_S: Final = 3e-4  # CPU seconds of an operation that does not concern a node
RIDGE: Final = 1e-4  # which divides evenly what no row tells apart
SMALLEST_S: Final = 1e-6  # below that a class is left out
TRIES: Final = 100  # calls of each kind of disk and TPM
ROWS: Final = 2_000  # of a table whose indexes a commit changes
PAUSE_S: Final = 0.005  # before a call of the disk, which is quicker at once after another
MOST_AFTER: Final = 0.8
ROUNDS: Final = 4  # of simulations whose counts divide what was measured
BUS, CLIENT = SHARED_PROCESSES
ROLES: Final = (Role.KMS.value, Role.VCENTER.value, Role.ESXI.value, BUS, CLIENT)
FIRST_TIMES: Final = {WAKEUP: 1.5e-4}  # with which the first simulation counts
ASK_REPLY: Final = "Ask.reply"
HOP: Final = "hop"

Tell = Callable[[str], None]
Times = Mapping[str, Mapping[str, float]]
"""CPU seconds by role (or shared process) and class of work."""


class Schedule(NamedTuple):
    """What the kernel's scheduler counts: seconds on a core, seconds ready and without a core, and
    how often a core was given."""

    cpu_s: float = 0.0
    delay_s: float = 0.0
    switches: int = 0

    def since(self, before: Schedule) -> Schedule:
        """What was counted after ``before``."""
        return Schedule(
            self.cpu_s - before.cpu_s,
            self.delay_s - before.delay_s,
            self.switches - before.switches,
        )


class OperationBlock(NamedTuple):
    """Operations, ``at_once`` at a time; within a tuple of ``asked`` one after the other, so that a
    VM is off before it is switched on. When nothing is asked, time passes."""

    at_once: int
    asked: Sequence[tuple[Request[Any], ...]]

    @property
    def operations(self) -> int:
        """How many it has."""
        return sum(map(len, self.asked))

    @property
    def kind(self) -> str:
        """The class of its only operation; empty when it has more."""
        return type(self.asked[0][0]).__name__ if self.operations == 1 else ""


class MeasuredBlock(msgspec.Struct):
    """A block as real processes carried it out: seconds until its last answer, and until all was
    quiet; what was scheduled of each node, of the broker (``BUS``), and of the client with the
    control plane (``CLIENT``)."""

    kind: str
    operations: int
    latency_s: float
    wall_s: float
    used: dict[str, Schedule]


class CountedBlock(msgspec.Struct):
    """A block in the simulation: until its last answer in virtual seconds; by process its pieces of
    work by class, and its wake-ups."""

    latency_s: float
    counts: dict[str, dict[str, float]]


async def calibrate(hosts: int, operations: int, tell: Tell) -> dict[str, Any]:
    """A profile (``kind: ServiceProfile``) of this machine, as plain data.

    Raises what a lab of real processes raises that cannot be started.
    """
    changes: dict[str, Any] = {"hosts": hosts, "vms": 4 * hosts, "tpm": "none", "pace": 1.0}
    tell(f"a lab of {hosts} hosts is started")
    async with Lab("lab", topology="default", pack=1, **changes) as lab:
        tell(f"{operations} operations of each kind on processes")
        measured = await lab.beside(measure_blocks, "measured", operations)
    how = f"{hosts} hosts, {operations} operations each"
    return await fit_profile(measured, operations, changes, how, tell)


async def fit_profile(
    measured: Sequence[MeasuredBlock],
    operations: int,
    changes: Mapping[str, Any],
    how: str,
    tell: Tell,
) -> dict[str, Any]:
    """The profile with which the simulation of these blocks works as much, and answers as quickly,
    as processes did, which were asked for them once or several times."""
    tell("disk and TPM")
    devices = await asyncio.to_thread(time_devices)
    times: Times = {}
    fit, counted = AfterFit(measured), list[CountedBlock]()
    for number in range(1, ROUNDS + 1):
        tell(f"the same in the simulation, round {number} of {ROUNDS}")
        profile = as_profile(times, measured, devices, fit.after, how)
        counted = await _count(profile, changes, operations)
        counted *= len(measured) // len(counted)
        times = divide(measured, counted)
        fit.adjust(counted, times)
    for line in fit.lines(counted):
        tell(line)
    return as_profile(times, measured, devices, fit.after, how)


class AfterFit:
    """Which share of what waking up takes holds nothing up: so much that single operations take as
    long in the simulation as on processes."""

    def __init__(self, measured: Sequence[MeasuredBlock]) -> None:
        self.after = 0.0
        self._measured = measured
        self._kinds = sorted({row.kind for row in measured if row.kind})

    def _medians(self, rows: Sequence[MeasuredBlock | CountedBlock]) -> dict[str, float]:
        return {
            kind: median(
                row.latency_s
                for row, of in zip(rows, self._measured, strict=True)
                if of.kind == kind
            )
            for kind in self._kinds
        }

    def adjust(self, counted: Sequence[CountedBlock], times: Mapping[str, Any]) -> None:
        """After a simulation: what its operations are too slow by, as a share of their work."""
        simulated, real = self._medians(counted), self._medians(self._measured)
        work_s = sum(
            times[role].get(kind, 0.0) * number
            for row, of in zip(counted, self._measured, strict=True)
            if of.kind
            for process, counts in row.counts.items()
            if (role := _role_of(process)) != Role.ESXI
            for kind, number in counts.items()
            if kind in (WAKEUP, COLD)
        ) / max(sum(bool(row.kind) for row in self._measured), 1)
        late_s = fmean(simulated[kind] - real[kind] for kind in self._kinds)
        if work_s > 0:
            self.after = min(max(self.after + late_s / work_s, 0.0), MOST_AFTER)

    def lines(self, counted: Sequence[CountedBlock]) -> list[str]:
        """The medians of single operations, real and simulated."""
        simulated, real = self._medians(counted), self._medians(self._measured)
        return [
            f"{kind}: p50 {real[kind] * 1e3:.1f} ms, simulated {simulated[kind] * 1e3:.1f}"
            for kind in self._kinds
        ]


def list_blocks(lab: LabCore, name: str, operations: int) -> Iterator[OperationBlock]:
    """What vCenter is asked for: single operations, then blocks of them. Every sixth block comes
    after an empty one, which tells what processes use without being asked."""
    vms = [plan.vm for plan in lab.topology.vms]
    for number in range(max(operations // 4, 10)):
        vm = vms[number % len(vms)]
        yield OperationBlock(1, [(GenerateKey(operation_id=f"calibrate-{name}-single-{number}"),)])
        yield OperationBlock(1, [(PowerOffVm(vm=vm),)])
        yield OperationBlock(1, [(PowerOnVm(vm=vm),)])
    for number in range(-(-3 * operations // BLOCK)):
        if number % 6 == 0:
            yield OperationBlock(1, [])
        power = POWER[number % len(POWER)]
        at = number * power
        pairs: list[tuple[Request[Any], ...]] = [
            (PowerOffVm(vm=vm), PowerOnVm(vm=vm))
            for vm in dict.fromkeys(vms[(at + n) % len(vms)] for n in range(power))
        ]
        keys: list[tuple[Request[Any], ...]] = [
            (GenerateKey(operation_id=f"calibrate-{name}-{number}-{n}"),)
            for n in range(BLOCK - 2 * len(pairs))
        ]
        yield OperationBlock(AT_ONCE[number % len(AT_ONCE)], [*keys, *pairs])


async def _ask_for(lab: LabCore, block: OperationBlock) -> float:
    """The block, and time for what goes on after its answers. Seconds until the last one."""
    begun = asyncio.get_running_loop().time()
    if block.asked:
        await for_each(
            block.asked, partial(_ask_each, lab), at_once=block.at_once, name="calibrate"
        )
    latency_s = asyncio.get_running_loop().time() - begun
    await asyncio.sleep(SETTLE_S if block.asked else IDLE_S)
    return latency_s


async def _ask_each(lab: LabCore, messages: tuple[Request[Any], ...]) -> None:
    for message in messages:
        await lab.ask(lab.topology.vcenter, message, within_s=LIMIT_S)


async def measure_blocks(core: LabCore, name: str, operations: int) -> list[MeasuredBlock]:
    """The blocks on a lab of processes; ``name`` is new to the lab."""
    lab, rows = _process_lab(core), list[MeasuredBlock]()
    for block in list_blocks(lab, name, operations):
        before, begun = schedules_of(lab), time.perf_counter()
        latency_s = await _ask_for(lab, block)
        wall_s, now = time.perf_counter() - begun, schedules_of(lab, client_first=True)
        used = {name: now[name].since(before.get(name, Schedule())) for name in now}
        rows.append(MeasuredBlock(block.kind, block.operations, latency_s, wall_s, used))
    return rows


async def count_blocks(core: LabCore, name: str, operations: int) -> list[CountedBlock]:
    """The blocks in the simulation."""
    lab, rows = _simulated_lab(core), list[CountedBlock]()
    for block in list_blocks(lab, name, operations):
        before = lab.world.count_work()
        latency_s = await _ask_for(lab, block)
        counts = {
            process: {kind: n - before[process].get(kind, 0.0) for kind, n in counts.items()}
            for process, counts in lab.world.count_work().items()
        }
        rows.append(CountedBlock(latency_s, counts))
    return rows


async def _count(
    profile: Mapping[str, Any], changes: Mapping[str, Any], operations: int
) -> list[CountedBlock]:
    with scratch("calibrate") as folder:
        write_profile(profile, folder / "trial.yaml")
        times = {"profile": str(folder / "trial.yaml")}
        async with Lab("sim", topology="default", seed=1, service_times=times, **changes) as lab:
            return await lab.beside(count_blocks, "counted", operations)


def _simulated_lab(core: LabCore) -> SimLab:
    if not isinstance(core, SimLab):
        raise TypeError("work is counted in the simulation only")
    return core


def _process_lab(core: LabCore) -> ProcessLab:
    if not isinstance(core, ProcessLab):
        raise TypeError("only real processes can be measured")
    return core


def schedules_of(lab: ProcessLab, *, client_first: bool = False) -> dict[str, Schedule]:
    """What the processes of one node each, the broker and the client were scheduled so far.

    This is the client, so that what is read before it counts as its own.
    """
    if not isinstance(lab.data, BusServers):
        raise TypeError("only a bus of the lab's own can be measured")
    pids: dict[str, list[int]] = {
        nodes[0]: [pid] for nodes, pid in lab.list_processes() if len(nodes) == 1
    }
    pids[BUS] = [one.pid for one in lab.data.all if one.pid is not None]
    client = [os.getpid(), *([] if lab.control.pid is None else [lab.control.pid])]
    pids = {CLIENT: client, **pids} if client_first else {**pids, CLIENT: client}
    return {name: _schedule(*of) for name, of in pids.items()}


def _schedule(*pids: int) -> Schedule:
    rows = [
        [int(part) for part in (task / "schedstat").read_text().split()]
        for pid in pids
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    cpu, delay, switches = (sum(column) for column in zip(*rows, strict=True)) if rows else (0,) * 3
    return Schedule(cpu / 1e9, delay / 1e9, switches)


# ---- from rows to a profile ----------------------------------------------------------------------


def as_profile(
    times: Times,
    measured: Sequence[MeasuredBlock],
    devices: Mapping[str, tuple[float, float]],
    after: float,
    how: str,
) -> dict[str, Any]:
    """The profile of these ``times``, in seconds by role and class of work; of a role without any,
    wake-ups only. ``devices``: mean and spread in seconds by class."""
    disk = {k: _time(*v) for k, v in devices.items() if not k.startswith("tpm.")}
    tpm = {k: _time(*v) for k, v in devices.items() if k.startswith("tpm.")}
    cores = os.cpu_count() or 1
    nodes: dict[str, Any] = {}
    for role in ROLES:
        spread = _spread_of(measured, role)
        own = {
            kind: _time(seconds, spread)
            for kind, seconds in times.get(role, FIRST_TIMES).items()
            if kind != SECONDS and seconds >= SMALLEST_S
        }
        if role not in SHARED_PROCESSES:
            own |= disk | (tpm if role == Role.ESXI else {})
        if role != Role.ESXI:
            own = {kind: one for kind, one in own.items() if not kind.startswith("datastore.")}
        nodes[role] = {"cores": cores if role == BUS else 1, "times": own}
    machine = f"{os.uname().machine}, {cores} cores, load {os.getloadavg()[0]:.1f} at its end"
    return {
        "apiVersion": "keystead/v1",
        "kind": "ServiceProfile",
        "format": FORMAT,
        "name": "calibrated",
        "source": f"keystead load calibrate, {date.today().isoformat()}: {machine}; {how}",
        "machine": {"cores": cores, "delay": delay_of(measured), "after": round(after, 3)},
        "nodes": nodes,
    }


def delay_of(measured: Sequence[MeasuredBlock]) -> dict[str, Any]:
    """How long a process that is ready waits for a core: the mean over nodes, while single
    operations are carried out. It waits for the end of another program's turn."""
    nodes = [
        used
        for row in measured
        if row.kind
        for name, used in row.used.items()
        if name not in SHARED_PROCESSES
    ]
    switches = sum(used.switches for used in nodes)
    mean_s = sum(used.delay_s for used in nodes) / switches if switches else 0.0
    return {"mean": format_s(mean_s), "distribution": "exponential"}


def write_profile(profile: Mapping[str, Any], path: Path) -> None:
    """The file of a profile; ``OSError``."""
    text = yaml.dump(dict(profile), Dumper=_PlainDumper, sort_keys=False, width=110)
    path.write_text(text, encoding="utf-8")


class _PlainDumper(yaml.SafeDumper):
    """Writes what is there twice twice, since files of keystead have no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _spread_of(measured: Sequence[MeasuredBlock], role: str) -> float:
    """The spread of what a process of ``role`` uses for an operation of one kind, where that is
    more than a little: the mean over kinds."""
    used: dict[str, list[float]] = {}
    for row in (row for row in measured if row.kind):
        mine = [one.cpu_s for name, one in row.used.items() if _role_of(name) == role]
        used.setdefault(row.kind, []).append(max(mine, default=0.0))
    spreads = [_spread(values) for values in used.values() if fmean(values) > LITTLE_S]
    return fmean(spreads) if spreads else 0.5


def _spread(values: Sequence[float]) -> float:
    """Standard deviation over mean, within what a profile may say."""
    mean = fmean(values) if values else 0.0
    return min(max(pstdev(values) / mean, 0.05), 3.0) if mean else 0.5


def _time(mean_s: float, spread: float) -> dict[str, Any]:
    return {"mean": format_s(mean_s), "distribution": "lognormal", "spread": round(spread, 3)}


def divide(
    measured: Sequence[MeasuredBlock], counted: Sequence[CountedBlock]
) -> dict[str, dict[str, float]]:
    """CPU seconds by role and by class of what was counted: least squares, none below 0.

    Single operations count as much as blocks, by operation."""
    return {role: _divide(measured, counted, role) for role in ROLES}


def _divide(
    measured: Sequence[MeasuredBlock], counted: Sequence[CountedBlock], role: str
) -> dict[str, float]:
    rows: list[tuple[float, defaultdict[str, float]]] = []
    for row, counts in zip(measured, counted, strict=True):
        weight = 1 / math.sqrt(row.operations or 1)
        for process, used in row.used.items():
            if _role_of(process) == role:
                found = defaultdict(float, {SECONDS: row.wall_s * weight})
                for kind, number in counts.counts.get(process, {}).items():
                    found[_class_of(kind)] += number * weight
                rows.append((used.cpu_s * weight, found))
    kinds = sorted({kind for _, found in rows for kind in found if kind})
    columns = [[found.get(kind, 0.0) for _, found in rows] for kind in kinds]
    times = least_squares(columns, [used for used, _ in rows])
    return dict(zip(kinds, times, strict=True))


def _class_of(kind: str) -> str:
    """The class that a time is measured for; empty for a call of a device, whose processor time is
    that of the wake-ups that it leads to."""
    if kind.endswith(".reply") and kind != ASK_REPLY:
        return REPLIES
    if kind == HOP:
        return "*"
    return "" if kind in DEVICE_CLASSES else kind


def _role_of(name: str) -> str:
    """By the names of the shipped lab that is measured."""
    return Role.ESXI.value if name.startswith("esxi-") else name


def least_squares(columns: Sequence[Sequence[float]], target: Sequence[float]) -> list[float]:
    """``x >= 0`` for which the sum of ``x[i] * columns[i]`` is nearest to ``target``, by coordinate
    descent."""
    products = [[_dot(a, b) for b in columns] for a in columns]
    aims = [_dot(column, target) for column in columns]
    found = [0.0] * len(columns)
    for _ in range(2_000):
        moved = 0.0
        for i, aim in enumerate(aims):
            rest = aim - sum(p * x for p, x in zip(products[i], found, strict=True))
            rest += products[i][i] * found[i]
            new = max(rest / products[i][i] / (1 + RIDGE), 0.0) if products[i][i] else 0.0
            moved, found[i] = max(moved, abs(new - found[i])), new
        if moved < 1e-9:
            break
    return found


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


# ---- devices -------------------------------------------------------------------------------------


def time_devices() -> dict[str, tuple[float, float]]:
    """Mean and spread of calls of disk, datastore and TPM, in seconds; without libtpms none of a
    TPM. Only what waits for the disk is timed: other calls are work of their node, as the threads
    are that make them."""
    with scratch("calibrate") as folder:
        sync, commit = _time_sync(folder), _time_commit(folder)
        folders = _time_folder_sync(folder)
    at_once = (0.0, 1.0)
    found = {f"disk.{call}": at_once for call in DISK_CALLS}
    found |= {"disk.sync": sync, "disk.sync_folder": folders}
    found |= {"db.transact": commit, "db.query": at_once}
    found |= {f"datastore.{call}": at_once for call in DATASTORE_CALLS}
    found |= {"datastore.write": (sync[0] + folders[0], sync[1]), "datastore.write_blocks": sync}
    return found | (_time_tpm() if not missing_for_libtpms() else {})


def _time_call(
    act: Callable[[], object], tries: int = TRIES, pause_s: float = 0.0
) -> tuple[float, float]:
    taken = []
    for _ in range(tries):
        time.sleep(pause_s)
        begun = time.perf_counter()
        act()
        taken.append(time.perf_counter() - begun)
    return fmean(taken), _spread(taken)


def _time_sync(folder: Path) -> tuple[float, float]:
    with (folder / "file").open("ab", buffering=0) as file:

        def act() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return _time_call(act, pause_s=PAUSE_S)


def _time_folder_sync(folder: Path) -> tuple[float, float]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:

        def act() -> None:
            (folder / "entry").write_bytes(b"x")
            os.replace(folder / "entry", folder / "renamed")
            os.fsync(descriptor)

        return _time_call(act, pause_s=PAUSE_S)
    finally:
        os.close(descriptor)


def _time_commit(folder: Path) -> tuple[float, float]:
    connection = sqlite3.connect(folder / "rows.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table t (x blob, y blob, z blob)")
    for column in "xyz":
        connection.execute(f"create index {column} on t ({column})")
    row = "insert into t values (randomblob(32), randomblob(32), randomblob(32))"
    connection.execute("begin")
    for _ in range(ROWS):
        connection.execute(row)
    connection.execute("commit")
    try:
        return _time_call(lambda: connection.execute(row), pause_s=PAUSE_S)
    finally:
        connection.close()


def _time_tpm() -> dict[str, tuple[float, float]]:
    device = open_device(TpmBackend.LIBTPMS, MemoryNv())
    try:
        device.power_on()
        device.ensure_srk()
        selection = PcrSelection.of([7])
        return {
            "tpm.pcrs": _time_call(lambda: device.pcrs(selection)),
            "tpm.ensure_srk": _time_call(device.ensure_srk),
            "tpm.info": _time_call(device.info),
            "tpm.seal": _time_call(lambda: device.seal(bytes(32), bytes(32)), 20),
        }
    finally:
        device.close()
