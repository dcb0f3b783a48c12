"""``load validate``: one load on real processes and in the simulation, with this machine's profile.

The same arrivals, drawn from one seed, are offered to vCenter in both: keys are generated, VMs go
off and on. A real lab runs at pace 1, so that lab seconds are real ones.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from lab.client import Lab
from lab.core import LabCore
from protocol.errors import ProductError
from protocol.messages.base import Request
from protocol.messages.vcenter import GenerateKey, PowerOffVm, PowerOnVm
from services.runtime.seeded import stream

LIMIT_S: Final = 60.0
"""Lab seconds after which an operation has failed."""
KEYS: Final = 0.7
"""The share of operations that generate a key; the others are for the power of a VM."""
KEPT_UP: Final = 0.9
"""A rate is served when such a share of its operations has ended with the last arrival."""
THROUGHPUT_WITHIN: Final = 0.10
P50_WITHIN: Final = 0.15
P99_WITHIN: Final = 0.30
"""How far a prediction may be from what is measured, as a share of it."""

Mode = Literal["lab", "sim"]
Tell = Callable[[str], None]


class ServedRate(msgspec.Struct, frozen=True):
    """What came of a nominal ``rate`` of operations a second: arrivals as they were drawn, and
    those that ended well until the last arrival, both a second; latencies in milliseconds; how
    many failed."""

    rate: float
    arrived_per_s: float
    ok_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def kept_up(self) -> bool:
        """Whether the lab served about as much as arrived."""
        return self.ok_per_s >= KEPT_UP * self.arrived_per_s


class Compared(msgspec.Struct, frozen=True):
    """The same rate on real processes and in the simulation."""

    real: ServedRate
    simulated: ServedRate

    @property
    def agrees(self) -> bool:
        """Whether the simulated figures are within their limits of the real ones."""
        return all(
            abs(simulated - real) <= limit * real
            for simulated, real, limit in (
                (self.simulated.ok_per_s, self.real.ok_per_s, THROUGHPUT_WITHIN),
                (self.simulated.p50_ms, self.real.p50_ms, P50_WITHIN),
                (self.simulated.p99_ms, self.real.p99_ms, P99_WITHIN),
            )
        )


async def validate(
    profile: Path, hosts: int, rates: Sequence[float], seconds: float, seed: int, tell: Tell
) -> list[Compared]:
    """Offer each rate for ``seconds`` in both modes; KS-TOPO-001 for the profile."""
    found: dict[Mode, list[ServedRate]] = {}
    for mode in ("sim", "lab"):
        tell(f"{mode}: {hosts} hosts, {len(rates)} rates of {seconds:g} s each")
        found[mode] = await _serve(mode, profile, hosts, rates, seconds, seed)
    return [Compared(*pair) for pair in zip(found["lab"], found["sim"], strict=True)]


async def _serve(
    mode: Mode, profile: Path, hosts: int, rates: Sequence[float], seconds: float, seed: int
) -> list[ServedRate]:
    changes: dict[str, Any] = {"hosts": hosts, "vms": 4 * hosts, "tpm": "none", "pace": 1.0}
    if mode == "sim":
        changes["service_times"] = {"profile": str(profile.absolute())}
    else:
        changes["pack"] = 1
    async with Lab(mode, topology="default", seed=seed, **changes) as lab:
        return [await lab.beside(offer, rate, seconds, seed) for rate in rates]


async def offer(lab: LabCore, rate: float, seconds: float, seed: int) -> ServedRate:
    """Offer Poisson arrivals to the lab's vCenter for ``seconds``, and wait for what they led to.

    Latency counts from when an operation was due (decision 70).
    """
    loop = asyncio.get_running_loop()
    draws = stream(seed, "validate", str(rate))
    vms = [plan.vm for plan in lab.topology.vms]
    begun, ended, latencies, failed = loop.time(), 0, [], 0
    last = begun + seconds

    async def one(message: Request[Any], due: float) -> None:
        nonlocal ended, failed
        try:
            await lab.ask(lab.topology.vcenter, message, within_s=LIMIT_S)
        except ProductError:
            failed += 1
            return
        latencies.append(loop.time() - due)
        ended += loop.time() <= last

    async with asyncio.TaskGroup() as group:
        due, number = begun, 0
        while (due := due + draws.expovariate(rate)) < last:
            number += 1
            await asyncio.sleep(max(due - loop.time(), 0.0))
            message: Request[Any]
            if draws.random() < KEYS:
                message = GenerateKey(operation_id=f"validate-{rate:g}-{number}")
            else:
                vm = vms[draws.randrange(0, len(vms))]
                message = PowerOffVm(vm=vm) if draws.random() < 0.5 else PowerOnVm(vm=vm)
            group.create_task(one(message, due))
    return ServedRate(
        rate,
        number / seconds,
        ended / seconds,
        percentile(latencies, 0.5) * 1e3,
        percentile(latencies, 0.99) * 1e3,
        failed,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank; 0 without values."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def list_lines(compared: Sequence[Compared]) -> list[str]:
    """The table, and the first rate in each mode that was not served."""
    lines = ["RATE/S  OK/S REAL  OK/S SIM  P50 REAL  P50 SIM  P99 REAL  P99 SIM  SIM/REAL P50  P99"]
    for pair in compared:
        real, sim = pair.real, pair.simulated
        lines.append(
            f"{real.rate:<6g}  {real.ok_per_s:<9.1f}  {sim.ok_per_s:<8.1f}  {real.p50_ms:<8.1f}  "
            f"{sim.p50_ms:<7.1f}  {real.p99_ms:<8.1f}  {sim.p99_ms:<7.1f}  "
            f"{_ratio(sim.p50_ms, real.p50_ms):<12}  {_ratio(sim.p99_ms, real.p99_ms)}"
        )
    real_at = next((f"{one.real.rate:g}/s" for one in compared if not one.real.kept_up), "none")
    sim_at = next((f"{p.simulated.rate:g}/s" for p in compared if not p.simulated.kept_up), "none")
    agreed = sum(pair.agrees for pair in compared)
    return [
        *lines,
        f"first rate that is not served: {real_at} on processes, {sim_at} simulated",
        f"{agreed} of {len(compared)} rates agree: throughput within {THROUGHPUT_WITHIN:.0%}, "
        f"p50 within {P50_WITHIN:.0%}, p99 within {P99_WITHIN:.0%}",
    ]


def _ratio(a: float, b: float) -> str:
    return f"{a / b:.2f}" if b else "-"
