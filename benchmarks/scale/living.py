"""Labs of real processes: many hosts that come up, idle, and come back after a loss of power."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.scale.building import CLUSTER
from benchmarks.scale.shapes import lab_of
from benchmarks.scale.spent import cpu_s_of_all, cpu_s_of_each, memory_of_all
from benchmarks.staging import folder, lab_for, make_lab, need_tpm
from chaos.draws import Draws
from chaos.observe.guests import Guests
from chaos.observe.look import all_hosts
from lab.building.course import unheard
from lab.building.provision import provision
from lab.processes.process_lab import ProcessLab
from protocol.terms import NodeName
from services.runtime.each import for_each

LIMIT_S = 900.0  # seconds; no bar, only the end of a lab that hangs
SETTLE_S = 10.0
IDLE_S = 30.0  # at pace 1 a period of the guests' work
LOOK_EVERY_S, REST_EVERY_S = 0.25, 2.0
PLANTS_AT_ONCE = 64
SEED = 1


class _Living(Benchmark):
    """``shape`` is what differs from the default lab, whose hosts have real TPMs."""

    shape: ClassVar[dict[str, Any]]
    quick_shape: ClassVar[dict[str, Any]] = {"hosts": 2, "vms": 2, "pack": 2}
    repeats: ClassVar[int] = 1

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[tuple[ProcessLab, dict[str, float]]]:
        """A lab that is ready; the seconds until it was, and the CPU seconds of all its parts."""
        with folder() as where:
            begun, before = time.perf_counter(), cpu_s_of_all()
            lab = self.build_lab(where)
            try:
                try:
                    async with asyncio.timeout(LIMIT_S):
                        await lab.start()
                        await provision(lab, unheard)
                except TimeoutError:
                    raise CannotRun(f"not ready within {LIMIT_S:g} s") from None
                took = time.perf_counter() - begun
                yield lab, {"up_s": took, "up_cpu_s": cpu_s_of_all() - before}
            finally:
                await lab.close()

    def build_lab(self, where: Path) -> ProcessLab:
        """The lab, not started."""
        return make_lab(where, **{**self.shape, **(self.quick_shape if self.quick else {})})

    async def idle(self) -> tuple[float, float]:
        """How many percent of one processor the lab takes when nobody wants anything of it, and
        its busiest process alone, which cannot have more than a hundred."""
        settle, last = (0.2, 0.5) if self.quick else (SETTLE_S, IDLE_S)
        await asyncio.sleep(settle)
        begun, before, each = time.perf_counter(), cpu_s_of_all(), cpu_s_of_each()
        await asyncio.sleep(last)
        took = time.perf_counter() - begun
        busiest = max(now - each.get(pid, 0.0) for pid, now in cpu_s_of_each().items())
        return 100.0 * (cpu_s_of_all() - before) / took, 100.0 * busiest / took

    async def at_rest(self, lab: ProcessLab) -> dict[str, float]:
        """Memory, and what idling takes, from ``SETTLE_S`` after ``rested_s``."""
        rested_s = await self._time_until_rest_s(lab)
        memory = memory_of_all()
        idle, busiest = await self.idle()
        return {
            "rested_s": rested_s,
            "pss_gib": memory,
            "idle_percent": idle,
            "busiest_percent": busiest,
        }

    async def _time_until_rest_s(self, lab: ProcessLab) -> float:
        """How many seconds it takes from now until vCenter has looked at every host's TPM: it does
        so beside its other work, a few hosts at a time, so a lab that is ready still has it to do.
        """
        begun = time.perf_counter()

        async def all_looked_at() -> bool:
            hosts = await all_hosts(lab, lab.vcenter)
            return all(host.attestation is not None for host in hosts if host.tpm_present)

        try:
            async with asyncio.timeout(LIMIT_S):
                while not await all_looked_at():
                    await asyncio.sleep(REST_EVERY_S)
        except TimeoutError:
            raise CannotRun(f"not at rest within {LIMIT_S:g} s") from None
        return time.perf_counter() - begun


class IdleHost(_Living):
    name: ClassVar[str] = "idle-host"
    measures: ClassVar[str] = "a host with 2 VMs that idles at pace 30, in a lab of 200"
    unit: ClassVar[str] = "% of a core"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 0.15)
    shape: ClassVar[dict[str, Any]] = {"hosts": 200, "vms": 400, "pack": 50}

    async def run(self, report: Report) -> Figures:
        async with self.ready() as (lab, details):
            percent, _ = await self.idle()
            return Figures(percent / len(lab.hosts()), {**details, "lab_percent": percent})


class UpFourHundred(_Living):
    name: ClassVar[str] = "up-400"
    measures: ClassVar[str] = "a new lab until ready: 400 hosts, 400 VMs, 50 a process, pace 30"
    unit: ClassVar[str] = "s"
    bar: ClassVar[Bar] = Bar(Sense.BELOW, 60.0)
    shape: ClassVar[dict[str, Any]] = {"hosts": 400, "vms": 400, "pack": 50}

    async def run(self, report: Report) -> Figures:
        async with self.ready() as (_, details):
            return Figures(details["up_s"], {"up_cpu_s": details["up_cpu_s"]})


class _UpToRest(_Living):
    """Its idle cost and its memory have bars too."""

    async def run(self, report: Report) -> Figures:
        async with self.ready() as (lab, details):
            more = await self.at_rest(lab)
            return Figures(details["up_s"], {"up_cpu_s": details["up_cpu_s"], **more})


class UpVirtualTpms(_UpToRest):
    """Every VM has a TPM of its own, which is manufactured, certified, started and sealed to.

    At pace 1 a boot takes 25 seconds, which is in the figure.
    """

    name: ClassVar[str] = "up-100-vtpm"
    measures: ClassVar[str] = "a new lab until ready: 100 hosts, 500 VMs with vTPM, 25 a process"
    unit: ClassVar[str] = "s"
    bar: ClassVar[Bar] = Bar(Sense.BELOW, 60.0)
    also: ClassVar[dict[str, Bar]] = {"pss_gib": Bar(Sense.BELOW, 2.0)}
    shape: ClassVar[dict[str, Any]] = {
        "hosts": 100,
        "vms": 500,
        "pack": 25,
        "pace": 1.0,
        "vtpm": True,
    }
    quick_shape: ClassVar[dict[str, Any]] = {**_Living.quick_shape, "pace": 30.0}


class UpThousand(_UpToRest):
    name: ClassVar[str] = "up-1000"
    measures: ClassVar[str] = "a new lab until ready: 1,000 hosts, 2,000 VMs, 250 a process, pace 4"
    unit: ClassVar[str] = "s"
    bar: ClassVar[Bar] = Bar(Sense.BELOW, 240.0)
    also: ClassVar[dict[str, Bar]] = {
        "pss_gib": Bar(Sense.BELOW, 2.5),
        "idle_percent": Bar(Sense.BELOW, 80.0),
    }
    shape: ClassVar[dict[str, Any]] = {"hosts": 1000, "vms": 2000, "pack": 250, "pace": 4.0}


class UpMaximum(_UpToRest):
    """As many hosts as one vCenter may have (published maximum: 2,500)."""

    name: ClassVar[str] = "up-2500"
    measures: ClassVar[str] = "a new lab until ready: 2,500 hosts, 5,000 VMs, 50 processes, pace 1"
    unit: ClassVar[str] = "s"
    bar: ClassVar[Bar] = Bar(Sense.BELOW, LIMIT_S)
    also: ClassVar[dict[str, Bar]] = {
        "pss_gib": Bar(Sense.BELOW, 6.0),
        "idle_percent": Bar(Sense.BELOW, 100.0),
    }

    def build_lab(self, where: Path) -> ProcessLab:
        """In clusters of fifty."""
        need_tpm()
        hosts, clusters = (4, 2) if self.quick else (2500, 50)
        of_hosts: dict[str, Any] = {"tpm": "libtpms", "pack": min(hosts, CLUSTER)}
        return lab_for(where, lab_of(hosts, clusters, pace=30.0 if self.quick else 1.0, **of_hosts))


class SiteOutage(_Living):
    """All hosts lose power in the same moment and get it back in the same moment.

    From the power's return until each guest has read and checked its disk for us.
    """

    name: ClassVar[str] = "site-outage"
    measures: ClassVar[str] = "power back until all VMs answer: 200 hosts, 400 VMs, keys persisted"
    unit: ClassVar[str] = "s"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 5.0)
    shape: ClassVar[dict[str, Any]] = {**IdleHost.shape, "key_persistence": True}

    async def run(self, report: Report) -> Figures:
        async with self.ready() as (lab, _):
            guests = Guests(lab, Draws(SEED, "guests"))
            plans = lab.topology.vms
            unplanted = await for_each(
                plans, lambda plan: guests.plant(plan.vm, plan.host), at_once=PLANTS_AT_ONCE
            )
            if any(unplanted):
                raise CannotRun(next(why for why in unplanted if why))
            await for_each(lab.hosts(), lambda host: lab.power_off(host, "power_loss"))
            begun, before = time.perf_counter(), cpu_s_of_all()
            booted: dict[NodeName, float] = {}

            async def come_back(host: NodeName) -> None:
                await lab.power_on(host)
                booted[host] = time.perf_counter() - begun
                for plan in (p for p in plans if p.host == host):
                    while not (await guests.challenge(plan.vm, host)).right:
                        await asyncio.sleep(LOOK_EVERY_S)

            async with asyncio.timeout(LIMIT_S):
                await for_each(lab.hosts(), come_back)
            took = time.perf_counter() - begun
            details = {"booted_s": max(booted.values()), "cpu_s": cpu_s_of_all() - before}
            return Figures(took, details)
