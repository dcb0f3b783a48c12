"""``load calibrate``: how long the processes of a lab work on what, on this machine.

A lab of real processes is asked for blocks of operations, some of them at a time, and then for
single ones.

1. While all messages are heard, each block is a row: the processor time of every node, and the
   messages that it got meanwhile. Least squares with no negative result divide that time by class
   of message.
2. The same blocks while nothing is heard, since that is work too: the processor time of the broker,
   and of the client with the control plane.
3. Single operations: their latency, and how processor times scatter.
4. Calls of disk and TPM are timed by themselves.
5. Single operations are simulated with the profile so far. What the real ones take longer is
   divided evenly among the times that a process has to wake up (decision 107).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any, Final

import msgspec
import yaml

from chaos.fields import format_s, seconds
from chaos.percentiles import value_at
from lab.brokers.bus_servers import BusServers
from lab.client import Lab
from lab.core import LabCore
from lab.processes.process_lab import ProcessLab
from lab.state.scratch import scratch
from lab.topology.service_times import DATASTORE_CALLS, DISK_CALLS, FORMAT
from protocol.messages.agent import TpmBackend
from protocol.messages.base import Request
from protocol.messages.vcenter import GenerateKey, PowerOffVm, PowerOnVm
from protocol.subjects import parse_link
from protocol.terms import NodeName, Role
from protocol.tpm.structures import PcrSelection
from services.runtime.each import for_each
from services.runtime.tpm.backends import missing_for_libtpms, open_device
from services.runtime.tpm.device import MemoryNv

LIMIT_S: Final = 600.0  # lab seconds that one operation may take
IDLE_S: Final = 0.5
SETTLE_S: Final = 0.03  # after operations, for what goes on after their answers
AT_A_TIME: Final = 8  # operations of a block
BLOCK: Final = 24  # operations in a block
POWER: Final = (8, 3, 12, 0)  # VMs of a block that go off and on; its other operations are keys
SECONDS: Final = "seconds"  # the column of what a process does without messages
REPLIES: Final = "*.reply"
LITTLE_S: Final = 3e-4  # CPU seconds of an operation that does not concern a node
SMALLEST_S: Final = 1e-6  # below that a class is left out
TRIES: Final = 100  # calls of each kind of disk and TPM
SPREADS: Final = (0.3, 1.0, 2.0, 3.0)  # of wake-ups, which are tried
TRIAL: Final = "2ms"  # the wake-up time with which latencies are simulated once

Tell = Callable[[str], None]


class MeasuredBlock(msgspec.Struct):
    """So many ``operations``, in real seconds until all was quiet: by node its CPU seconds, and its
    messages where they were heard; CPU seconds of the broker, and of the client together with the
    control plane."""

    operations: int
    wall_s: float
    cpu_s: dict[NodeName, float]
    messages: dict[NodeName, Counter[str]] = {}
    broker_s: float = 0.0
    client_s: float = 0.0


class TimedOperation(msgspec.Struct):
    """A single operation: its latency in seconds, and by node its CPU seconds."""

    kind: str
    latency_s: float
    cpu_s: dict[NodeName, float] = {}


async def calibrate(hosts: int, operations: int, tell: Tell) -> dict[str, Any]:
    """A profile (``kind: ServiceProfile``) of this machine, as plain data.

    Raises what a lab of real processes raises that cannot be started.
    """
    changes: dict[str, Any] = {"hosts": hosts, "vms": 4 * hosts, "tpm": "none", "pace": 1.0}
    tell(f"a lab of {hosts} hosts is started")
    async with Lab("lab", topology="default", pack=1, **changes) as lab:
        tell(f"{operations} operations of each kind, twice, and {_singles(operations)} one by one")
        heard = await lab.beside(_measure_heard, operations)
        unheard = await lab.beside(_measure_unheard, operations)
        timed = await lab.beside(time_operations, "timed", _singles(operations))
    tell("disk and TPM")
    devices = await asyncio.to_thread(time_devices)
    how = f"{hosts} hosts, {operations} operations each"
    profile = as_profile(heard, unheard, timed, devices, how)
    tell("single operations in the simulation")
    await add_wakeup(profile, changes, timed, tell)
    return profile


def _singles(operations: int) -> int:
    return max(min(operations // 4, 50), 10)


async def _measure_heard(core: LabCore, operations: int) -> list[MeasuredBlock]:
    lab = _process_lab(core)
    heard: dict[NodeName, Counter[str]] = {}

    def hear(subject: str, reply: str, payload: bytes) -> None:
        link = parse_link(subject)
        if link is not None:
            kind = REPLIES if link.reply else link.rest
            heard.setdefault(link.dst, Counter())[kind] += 1

    async with lab.tap(hear):
        return [row async for row in _measure_blocks(lab, "heard", operations, heard)]


async def _measure_unheard(core: LabCore, operations: int) -> list[MeasuredBlock]:
    blocks = _measure_blocks(_process_lab(core), "unheard", operations, {})
    return [row async for row in blocks]


async def _measure_blocks(
    lab: ProcessLab, name: str, operations: int, heard: dict[NodeName, Counter[str]]
) -> AsyncIterator[MeasuredBlock]:
    """Idle blocks between others tell what the processes use without being asked."""
    if not isinstance(lab.data, BusServers):
        raise TypeError("only a bus of the lab's own can be measured")
    brokers = [server.pid for server in lab.data.all if server.pid is not None]
    control = [] if lab.control.pid is None else [lab.control.pid]
    vcenter = lab.topology.vcenter
    for block in _list_blocks(lab, name, operations):
        heard.clear()
        before, begun = cpu_of(lab), time.perf_counter()
        broker_s, client_s = _cpu_s(*brokers), time.process_time() + _cpu_s(*control)
        if block:
            await for_each(block, partial(_ask_each, lab), at_once=AT_A_TIME, name="calibrate")
        else:
            await asyncio.sleep(IDLE_S)
        client_s = time.process_time() + _cpu_s(*control) - client_s
        await asyncio.sleep(SETTLE_S)
        wall_s, after = time.perf_counter() - begun, cpu_of(lab)
        got = {node: Counter(counts) for node, counts in heard.items()}
        for message in (message for pair in block for message in pair):
            got.setdefault(vcenter, Counter())[type(message).__name__] += 1
        yield MeasuredBlock(
            sum(map(len, block)),
            wall_s,
            {node: after[node] - before.get(node, 0.0) for node in after},
            got,
            _cpu_s(*brokers) - broker_s,
            client_s,
        )


def _list_blocks(
    lab: LabCore, name: str, operations: int
) -> Iterator[list[tuple[Request[Any], ...]]]:
    """What is asked of vCenter: one after the other within a tuple, so that a VM is off before it
    is switched on. Every sixth block comes after an empty one."""
    vms = [plan.vm for plan in lab.topology.vms]
    for number in range(-(-3 * operations // BLOCK)):
        if number % 6 == 0:
            yield []
        power = POWER[number % len(POWER)]
        at = number * power
        pairs: list[tuple[Request[Any], ...]] = [
            (PowerOffVm(vm=vm), PowerOnVm(vm=vm))
            for vm in dict.fromkeys(vms[(at + n) % len(vms)] for n in range(power))
        ]
        keys = BLOCK - 2 * len(pairs)
        yield [
            *((GenerateKey(operation_id=f"calibrate-{name}-{number}-{n}"),) for n in range(keys)),
            *pairs,
        ]


async def _ask_each(lab: LabCore, messages: tuple[Request[Any], ...]) -> None:
    for message in messages:
        await lab.ask(lab.topology.vcenter, message, within_s=LIMIT_S)


async def time_operations(core: LabCore, name: str, operations: int) -> list[TimedOperation]:
    """So many single operations of each kind on a lab of processes; ``name`` is new to the lab."""
    lab, rows = _process_lab(core), list[TimedOperation]()
    for message in _list_singles(lab, name, operations):
        before, begun = cpu_of(lab), time.perf_counter()
        await lab.ask(lab.topology.vcenter, message, within_s=LIMIT_S)
        latency_s = time.perf_counter() - begun
        await asyncio.sleep(SETTLE_S)
        after = cpu_of(lab)
        used = {node: after[node] - before.get(node, 0.0) for node in after}
        rows.append(TimedOperation(type(message).__name__, latency_s, used))
    return rows


async def simulate_operations(core: LabCore, operations: int) -> list[TimedOperation]:
    """The latencies of single operations in virtual time."""
    loop, rows = asyncio.get_running_loop(), list[TimedOperation]()
    for message in _list_singles(core, "simulated", operations):
        begun = loop.time()
        await core.ask(core.topology.vcenter, message, within_s=LIMIT_S)
        rows.append(TimedOperation(type(message).__name__, loop.time() - begun))
        await asyncio.sleep(SETTLE_S)
    return rows


def _list_singles(lab: LabCore, name: str, operations: int) -> Iterator[Request[Any]]:
    vms = [plan.vm for plan in lab.topology.vms]
    for number in range(operations):
        vm = vms[number % len(vms)]
        yield GenerateKey(operation_id=f"calibrate-{name}-{number}")
        yield PowerOffVm(vm=vm)
        yield PowerOnVm(vm=vm)


def _process_lab(core: LabCore) -> ProcessLab:
    if not isinstance(core, ProcessLab):
        raise TypeError("only real processes can be measured")
    return core


def cpu_of(lab: ProcessLab) -> dict[NodeName, float]:
    """CPU seconds of the processes of one node each, by node (``/proc/PID/task/*/schedstat``)."""
    found: dict[NodeName, float] = {}
    for nodes, pid in lab.list_processes():
        if len(nodes) == 1:
            found[nodes[0]] = _cpu_s(pid)
    return found


def _cpu_s(*pids: int) -> float:
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


# ---- from rows to a profile ----------------------------------------------------------------------


def as_profile(
    heard: Sequence[MeasuredBlock],
    unheard: Sequence[MeasuredBlock],
    timed: Sequence[TimedOperation],
    devices: Mapping[str, tuple[float, float]],
    how: str,
) -> dict[str, Any]:
    """The profile of these measurements. ``devices``: mean and spread in seconds by class."""
    disk = {k: _time(*v) for k, v in devices.items() if not k.startswith("tpm.")}
    tpm = {k: _time(*v) for k, v in devices.items() if k.startswith("tpm.")}
    nodes: dict[str, Any] = {}
    for role in (Role.KMS, Role.VCENTER, Role.ESXI):
        spread = _spread_of(timed, role)
        times = {
            kind: _time(seconds, spread)
            for kind, seconds in divide(heard, role).items()
            if kind != SECONDS and seconds >= SMALLEST_S
        }
        own = times | disk | (tpm if role is Role.ESXI else {})
        if role is not Role.ESXI:
            own = {kind: one for kind, one in own.items() if not kind.startswith("datastore.")}
        nodes[role.value] = {"cores": 1, "times": own}
    cores = os.cpu_count() or 1
    asked = sum(row.operations for row in unheard)
    half = _time(sum(row.client_s for row in unheard if row.operations) / asked / 2, 0.3)
    hop = _time(hop_s(heard, unheard), 0.5)
    nodes["bus"] = {"cores": cores, "times": {"*": hop}}
    nodes["client"] = {"cores": 1, "times": {"Ask": half, "Ask.reply": half}}
    machine = f"{os.uname().machine}, {cores} cores, load {os.getloadavg()[0]:.1f} at its end"
    return {
        "apiVersion": "keystead/v1",
        "kind": "ServiceProfile",
        "format": FORMAT,
        "name": "calibrated",
        "source": f"keystead load calibrate, {date.today().isoformat()}: {machine}; {how}",
        "machine": {"cores": cores, "cold": format_s(cold_s(heard, timed))},
        "nodes": nodes,
    }


def hop_s(heard: Sequence[MeasuredBlock], unheard: Sequence[MeasuredBlock]) -> float:
    """CPU seconds of the broker for one message. The blocks are the same, so that those that were
    not heard led to as many messages as those that were."""
    sent = [sum(sum(of.values()) for of in row.messages.values()) - row.operations for row in heard]
    columns = [list(map(float, sent)), [row.wall_s for row in unheard]]
    return least_squares(columns, [row.broker_s for row in unheard])[0]


def cold_s(heard: Sequence[MeasuredBlock], timed: Sequence[TimedOperation]) -> float:
    """CPU seconds of nodes that a piece of work takes longer when it is alone: what single
    operations use more than those of blocks with as many of each kind."""
    idle = [row for row in heard if not row.operations]
    busy = [row for row in heard if row.operations]
    rate = sum(_total(row.cpu_s) for row in idle) / (sum(row.wall_s for row in idle) or 1.0)
    operations = sum(row.operations for row in busy)
    kinds = sorted({row.kind for row in timed})
    got = sum((of for row in busy for of in row.messages.values()), Counter[str]())
    if not operations or not sum(got[kind] for kind in kinds):
        return 0.0
    together_s = sum(_total(row.cpu_s) - rate * row.wall_s for row in busy) / operations
    alone_s = 0.0
    for kind in kinds:
        used = [
            _total(row.cpu_s) - rate * (row.latency_s + SETTLE_S)
            for row in timed
            if row.kind == kind
        ]
        alone_s += median(used) * got[kind] / sum(got[kind] for kind in kinds)
    return max(alone_s - together_s, 0.0) / (sum(got.values()) / operations)


def _total(cpu_s: Mapping[NodeName, float]) -> float:
    return sum(cpu_s.values())


async def add_wakeup(
    profile: dict[str, Any],
    changes: Mapping[str, Any],
    timed: Sequence[TimedOperation],
    tell: Tell,
) -> None:
    """Simulate single operations, and put into ``profile`` how long processes take to wake up, so
    that they take as long as those that were ``timed`` on processes: the part that is work when
    they are cold, at most as the profile says, and the rest."""
    machine, number = profile["machine"], len(timed) // 3
    trials = [
        profile | {"machine": {"cores": machine["cores"], "wakeup": wakeup}}
        for wakeup in ("0s", TRIAL)
    ]
    without, trial = [await _simulate(one, changes, number) for one in trials]
    missing_s = max(fit_wakeup(timed, without, trial, seconds(TRIAL)), 0.0)
    cold = min(seconds(machine["cold"]), missing_s)
    mean_s = missing_s - cold
    machine["cold"] = format_s(cold)
    found: list[tuple[float, float, list[TimedOperation]]] = []
    for spread in SPREADS:
        machine["wakeup"] = _time(mean_s, spread)
        simulated = await _simulate(profile, changes, number)
        found.append((abs(_tail(simulated) - _tail(timed)), spread, simulated))
    _, spread, simulated = min(found, key=lambda one: one[0])
    # The median of scattered wake-ups lies below their mean, with which the first fit was made.
    mean_s = max(mean_s + fit_wakeup(timed, without, trial, seconds(TRIAL), simulated), 0.0)
    machine["wakeup"] = _time(mean_s, spread)
    simulated = await _simulate(profile, changes, number)
    for kind in sorted({row.kind for row in timed}):
        pair = _latencies(timed, kind), _latencies(simulated, kind)
        p50, p90 = ([f"{(value_at(one, p) or 0) * 1e3:.1f}" for one in pair] for p in (50, 90))
        tell(f"{kind}: p50 {p50[0]} ms, simulated {p50[1]}; p90 {p90[0]} ms, simulated {p90[1]}")
    tell(
        f"a process wakes up in {mean_s * 1e3:.2f} ms, spread {spread:g}, and has "
        f"{cold * 1e3:.2f} ms more work then"
    )


async def _simulate(
    profile: Mapping[str, Any], changes: Mapping[str, Any], operations: int
) -> list[TimedOperation]:
    with scratch("calibrate") as folder:
        write_profile(profile, folder / "trial.yaml")
        times = {"profile": str(folder / "trial.yaml")}
        async with Lab("sim", topology="default", seed=1, service_times=times, **changes) as lab:
            return await lab.beside(simulate_operations, operations)


def fit_wakeup(
    real: Sequence[TimedOperation],
    without: Sequence[TimedOperation],
    trial: Sequence[TimedOperation],
    trial_s: float,
    now: Sequence[TimedOperation] | None = None,
) -> float:
    """How much longer a process should take to wake up for the simulation to have the median
    latencies of ``real``. ``without`` was simulated without wake-ups, ``trial`` with a constant of
    ``trial_s``, and ``now`` (default: ``without``) as it is now."""
    wakeups: dict[str, float] = {}  # on the way of an operation of each kind
    missing_s: dict[str, float] = {}
    for kind in sorted({row.kind for row in real}):
        measured, plain, slow, current = (
            median(_latencies(rows, kind)) for rows in (real, without, trial, now or without)
        )
        wakeups[kind] = max((slow - plain) / trial_s, 0.0)
        missing_s[kind] = measured - current
    squares = sum(count * count for count in wakeups.values())
    wanted = sum(missing_s[kind] * wakeups[kind] for kind in wakeups)
    return wanted / squares if squares else 0.0


def _latencies(rows: Sequence[TimedOperation], kind: str) -> list[float]:
    return sorted(row.latency_s for row in rows if row.kind == kind)


def _tail(rows: Sequence[TimedOperation]) -> float:
    """The 95th percentile of latencies, each in units of its kind's median."""
    middle = {kind: median(_latencies(rows, kind)) for kind in {row.kind for row in rows}}
    return value_at(sorted(row.latency_s / middle[row.kind] for row in rows), 95) or 0.0


def write_profile(profile: Mapping[str, Any], path: Path) -> None:
    """The file of a profile; ``OSError``."""
    text = yaml.dump(dict(profile), Dumper=_PlainDumper, sort_keys=False, width=110)
    path.write_text(text, encoding="utf-8")


class _PlainDumper(yaml.SafeDumper):
    """Writes what is there twice twice, since files of keystead have no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _spread_of(timed: Sequence[TimedOperation], role: Role) -> float:
    """The spread of what a node of ``role`` uses for an operation of one kind, where that is more
    than a little: the mean over kinds."""
    used: dict[str, list[float]] = {}
    for row in timed:
        mine = [seconds for node, seconds in row.cpu_s.items() if _role_of(node) is role]
        used.setdefault(row.kind, []).append(max(mine, default=0.0))
    spreads = [_spread(values) for values in used.values() if fmean(values) > LITTLE_S]
    return fmean(spreads) if spreads else 0.5


def _spread(values: Sequence[float]) -> float:
    """Standard deviation over mean, within what a profile may say."""
    mean = fmean(values) if values else 0.0
    return min(max(pstdev(values) / mean, 0.05), 3.0) if mean else 0.5


def _time(mean_s: float, spread: float) -> dict[str, Any]:
    return {"mean": format_s(mean_s), "distribution": "lognormal", "spread": round(spread, 3)}


def divide(rows: Sequence[MeasuredBlock], role: Role) -> dict[str, float]:
    """CPU seconds by class of message of the nodes of ``role``: least squares, none below 0."""
    mine = [
        (row.wall_s, row.cpu_s[node], row.messages.get(node, Counter()))
        for row in rows
        for node in row.cpu_s
        if _role_of(node) is role
    ]
    names = [SECONDS, *sorted({kind for _, _, got in mine for kind in got})]
    columns = [[wall if n == SECONDS else float(got[n]) for wall, _, got in mine] for n in names]
    found = least_squares(columns, [used for _, used, _ in mine])
    return dict(zip(names, found, strict=True))


def _role_of(node: NodeName) -> Role:
    """By the names of the shipped lab that is measured."""
    return Role.ESXI if node.startswith("esxi-") else Role(node)


def least_squares(columns: Sequence[Sequence[float]], target: Sequence[float]) -> list[float]:
    """``x >= 0`` for which the sum of ``x[i] * columns[i]`` is nearest to ``target``, by coordinate
    descent. A small ridge divides evenly what no row tells apart."""
    products = [[_dot(a, b) for b in columns] for a in columns]
    ridge = 1e-3 * max((products[i][i] for i in range(len(columns))), default=0.0) / 10
    aims = [_dot(column, target) for column in columns]
    found = [0.0] * len(columns)
    for _ in range(2_000):
        moved = 0.0
        for i, aim in enumerate(aims):
            rest = aim - sum(p * x for p, x in zip(products[i], found, strict=True))
            rest += products[i][i] * found[i]
            new = max(rest / (products[i][i] + ridge), 0.0) if products[i][i] else 0.0
            moved, found[i] = max(moved, abs(new - found[i])), new
        if moved < 1e-9:
            break
    return found


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


# ---- devices -------------------------------------------------------------------------------------


def time_devices() -> dict[str, tuple[float, float]]:
    """Mean and spread of calls of disk, datastore and TPM, in seconds; without libtpms none of a
    TPM. What waits for the disk is timed: reads and writes are work of their node. Medians count,
    not the slowest tenth, which have waited for a core: that is what waking up takes."""
    with scratch("calibrate") as folder:
        sync, commit = _time_sync(folder), _time_commit(folder)
        folders = _time_folder_sync(folder)
    hand_over = _time_thread()
    found = {f"disk.{call}": hand_over for call in DISK_CALLS}
    found |= {"disk.sync": sync, "disk.sync_folder": folders}
    found |= {"db.transact": commit, "db.query": hand_over}
    found |= {f"datastore.{call}": hand_over for call in DATASTORE_CALLS}
    found |= {"datastore.write": (sync[0] + folders[0], sync[1]), "datastore.write_blocks": sync}
    return found | (_time_tpm() if not missing_for_libtpms() else {})


def _time_thread() -> tuple[float, float]:
    """What it takes to hand a call over to a thread, and its result back."""
    with ThreadPoolExecutor(1) as pool:
        return _time_call(lambda: pool.submit(int).result())


def _time_call(act: Callable[[], object], tries: int = TRIES) -> tuple[float, float]:
    taken = []
    for _ in range(tries):
        begun = time.perf_counter()
        act()
        taken.append(time.perf_counter() - begun)
    return median(taken), _spread(sorted(taken)[: -(-tries * 9 // 10)])


def _time_sync(folder: Path) -> tuple[float, float]:
    with (folder / "file").open("ab", buffering=0) as file:

        def act() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return _time_call(act)


def _time_folder_sync(folder: Path) -> tuple[float, float]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:

        def act() -> None:
            (folder / "entry").write_bytes(b"x")
            os.replace(folder / "entry", folder / "renamed")
            os.fsync(descriptor)

        return _time_call(act)
    finally:
        os.close(descriptor)


def _time_commit(folder: Path) -> tuple[float, float]:
    connection = sqlite3.connect(folder / "rows.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table t (x blob)")
    try:
        return _time_call(lambda: connection.execute("insert into t values (zeroblob(200))"))
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
