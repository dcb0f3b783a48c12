"""``load calibrate``: how long the processes of a lab work on what, on this machine.

A lab of real processes is asked for one operation at a time. Each operation is a row: the processor
time of every node, and the messages that it got meanwhile. Least squares with no negative result
divides that time by class of message. Disk and TPM are timed by themselves.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Final

import msgspec
import yaml

from chaos.units import format_s
from lab.client import Lab
from lab.core import LabCore
from lab.processes.process_lab import ProcessLab
from lab.state.scratch import scratch
from protocol.messages.agent import TpmBackend
from protocol.messages.base import Request
from protocol.messages.vcenter import GenerateKey, PowerOffVm, PowerOnVm
from protocol.subjects import parse_link
from protocol.terms import NodeName, Role, VmName
from protocol.tpm.structures import PcrSelection
from services.runtime.tpm.backends import missing_for_libtpms, open_device
from services.runtime.tpm.nv import MemoryNv

LIMIT_S: Final = 600.0  # lab seconds that one operation may take
IDLE_S: Final = 0.5
SECONDS: Final = "seconds"  # the column of what a node does without messages
REPLIES: Final = "*.reply"
SMALLEST_S: Final = 1e-6  # below that a class is left out
TRIES: Final = 100  # calls of each kind of disk and TPM

Tell = Callable[[str], None]


class MeasuredOperation(msgspec.Struct):
    """One operation: its latency in real seconds, and by node its CPU seconds and messages."""

    kind: str
    latency_s: float
    cpu_s: dict[NodeName, float]
    messages: dict[NodeName, Counter[str]]


async def calibrate(hosts: int, operations: int, tell: Tell) -> dict[str, Any]:
    """A profile (``kind: ServiceProfile``) of this machine, as plain data.

    Raises what a lab of real processes raises that cannot be started.
    """
    tell(f"a lab of {hosts} hosts is started")
    changes: dict[str, Any] = {"hosts": hosts, "vms": hosts, "pack": 1, "tpm": "none"}
    async with Lab("lab", topology="default", **changes) as lab:
        tell(f"{operations} operations of each kind, one at a time")
        rows = await lab.beside(_measure, operations)
        vms = len(await lab.vms())
    tell("disk and TPM")
    devices = await asyncio.to_thread(time_devices)
    return as_profile(rows, devices, f"{hosts} hosts, {vms} VMs, {operations} operations each")


async def _measure(core: LabCore, operations: int) -> list[MeasuredOperation]:
    if not isinstance(core, ProcessLab):
        raise TypeError("only real processes can be measured")
    heard: dict[NodeName, Counter[str]] = {}

    def hear(subject: str, reply: str, payload: bytes) -> None:
        link = parse_link(subject)
        if link is not None:
            kind = REPLIES if link.reply else link.rest
            heard.setdefault(link.dst, Counter())[kind] += 1

    rows: list[MeasuredOperation] = []
    vcenter, vm = core.topology.vcenter, core.topology.vms[0].vm
    async with core.tap(hear):
        for kind, message in _list_work(vm, operations):
            heard.clear()
            before, begun = cpu_of(core), time.perf_counter()
            if message is None:
                await asyncio.sleep(IDLE_S)
            else:
                await core.ask(vcenter, message, within_s=LIMIT_S)
                heard.setdefault(vcenter, Counter())[kind] += 1
            latency_s = time.perf_counter() - begun
            after = cpu_of(core)
            used = {node: after[node] - before.get(node, 0.0) for node in after}
            rows.append(
                MeasuredOperation(kind, latency_s, used, {n: Counter(c) for n, c in heard.items()})
            )
    return rows


def _list_work(vm: VmName, operations: int) -> Iterator[tuple[str, Request[Any] | None]]:
    """What is asked of vCenter, one after the other; None: nothing for a while."""
    for number in range(operations):
        if number % 10 == 0:
            yield "", None
        yield "GenerateKey", GenerateKey(operation_id=f"calibrate-{number}")
        yield "PowerOffVm", PowerOffVm(vm=vm)
        yield "PowerOnVm", PowerOnVm(vm=vm)


def cpu_of(lab: ProcessLab) -> dict[NodeName, float]:
    """CPU seconds of the processes of one node each, by node (``/proc/PID/task/*/schedstat``)."""
    found: dict[NodeName, float] = {}
    for nodes, pid in lab.list_processes():
        tasks = Path(f"/proc/{pid}/task")
        spent = sum(int((t / "schedstat").read_text().split()[0]) for t in tasks.iterdir())
        if len(nodes) == 1:
            found[nodes[0]] = spent / 1e9
    return found


# ---- from rows to a profile ----------------------------------------------------------------------


def as_profile(
    rows: Sequence[MeasuredOperation], devices: Mapping[str, tuple[float, float]], how: str
) -> dict[str, Any]:
    """The profile of these measurements. ``devices``: mean and spread in seconds by class."""
    nodes: dict[str, Any] = {}
    spreads = {
        kind: _spread([r.latency_s for r in rows if r.kind == kind]) for kind in _kinds(rows)
    }
    for role in (Role.KMS, Role.VCENTER, Role.ESXI):
        times = {
            kind: _time(seconds, spreads.get(kind, 0.5))
            for kind, seconds in divide(rows, role).items()
            if kind != SECONDS and seconds >= SMALLEST_S
        }
        disk = {k: _time(*v) for k, v in devices.items() if not k.startswith("tpm.")}
        tpm = {k: _time(*v) for k, v in devices.items() if k.startswith("tpm.")}
        nodes[role.value] = {
            "cores": 1,
            "times": times | disk | (tpm if role is Role.ESXI else {}),
        }
    cores = os.cpu_count() or 1
    machine = f"{os.uname().machine}, {cores} cores, load {os.getloadavg()[0]:.1f} at its end"
    return {
        "apiVersion": "keystead/v1",
        "kind": "ServiceProfile",
        "name": "calibrated",
        "source": f"keystead load calibrate, {date.today().isoformat()}: {machine}; {how}",
        "nodes": nodes,
    }


def write_profile(profile: Mapping[str, Any], path: Path) -> None:
    """The file of a profile; ``OSError``."""
    path.write_text(yaml.safe_dump(dict(profile), sort_keys=False, width=110), encoding="utf-8")


def _kinds(rows: Sequence[MeasuredOperation]) -> list[str]:
    return sorted({row.kind for row in rows})


def _spread(values: Sequence[float]) -> float:
    """Standard deviation over mean, within what a profile may say."""
    mean = fmean(values) if values else 0.0
    return min(max(pstdev(values) / mean, 0.05), 3.0) if mean else 0.5


def _time(mean_s: float, spread: float) -> dict[str, Any]:
    return {"mean": format_s(mean_s), "distribution": "lognormal", "spread": round(spread, 3)}


def divide(rows: Sequence[MeasuredOperation], role: Role) -> dict[str, float]:
    """CPU seconds by class of message of the nodes of ``role``: least squares, none below 0."""
    mine = [
        (row.latency_s, row.cpu_s[node], row.messages.get(node, Counter()))
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
    """Mean and spread of calls of disk and TPM, in seconds; without libtpms none of a TPM."""
    with scratch("calibrate") as folder:
        found = {"disk.sync": _time_sync(folder), "db.transact": _time_commit(folder)}
    return found | (_time_tpm() if not missing_for_libtpms() else {})


def _timed(act: Callable[[], object], tries: int = TRIES) -> tuple[float, float]:
    taken = []
    for _ in range(tries):
        begun = time.perf_counter()
        act()
        taken.append(time.perf_counter() - begun)
    return fmean(taken), _spread(taken)


def _time_sync(folder: Path) -> tuple[float, float]:
    with (folder / "file").open("ab", buffering=0) as file:

        def act() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return _timed(act)


def _time_commit(folder: Path) -> tuple[float, float]:
    connection = sqlite3.connect(folder / "rows.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table t (x blob)")
    try:
        return _timed(lambda: connection.execute("insert into t values (zeroblob(200))"))
    finally:
        connection.close()


def _time_tpm() -> dict[str, tuple[float, float]]:
    device = open_device(TpmBackend.LIBTPMS, MemoryNv())
    try:
        device.power_on()
        device.ensure_srk()
        selection = PcrSelection.of([7])
        return {
            "tpm.pcrs": _timed(lambda: device.pcrs(selection)),
            "tpm.ensure_srk": _timed(device.ensure_srk),
            "tpm.info": _timed(device.info),
            "tpm.seal": _timed(lambda: device.seal(bytes(32), bytes(32)), 20),
        }
    finally:
        device.close()
