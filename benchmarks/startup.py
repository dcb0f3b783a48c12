"""From nothing to a ready lab of real processes."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from benchmarks.benchmark import Bar, Benchmark, Figures, Report, Sense
from benchmarks.staging import folder, make_lab, need_tpm
from lab.building.provision import provision


class _Up(Benchmark):
    """What ``up`` does in the supervisor, on a new lab of the default file: identities, brokers,
    fork server, processes, boots at pace 30 on real TPMs, provider, hosts and VMs, until all
    hosts are connected and all VMs run."""

    unit: ClassVar[str] = "s"
    shape: ClassVar[dict[str, Any]]
    quick_shape: ClassVar[dict[str, Any]] = {"hosts": 2, "vms": 1}

    async def run(self, report: Report) -> Figures:
        need_tpm()
        steps: dict[str, float] = {}
        with folder() as where:
            begun = time.perf_counter()
            lab = make_lab(where, **(self.quick_shape if self.quick else self.shape))
            ready_s = 0.0

            def note(text: str, step: int, total: int) -> None:
                steps[f"until_step_{step}_s"] = time.perf_counter() - begun

            try:
                await lab.start()
                await provision(lab, note)
                ready_s = time.perf_counter() - begun
            finally:
                await lab.close()
        return Figures(ready_s, steps)


class UpThree(_Up):
    name = "up-3"
    measures = "a new lab until ready: 3 hosts, 6 encrypted VMs"
    bar = Bar(Sense.BELOW, 3.0)
    shape: ClassVar[dict[str, Any]] = {}


class UpFifty(_Up):
    name = "up-50"
    measures = "a new lab until ready: 50 hosts, a process each"
    bar = Bar(Sense.BELOW, 15.0)
    shape: ClassVar[dict[str, Any]] = {"hosts": 50}


class UpFiftyPacked(_Up):
    name = "up-50-packed"
    measures = "a new lab until ready: 50 hosts in 2 processes"
    bar = Bar(Sense.BELOW, 10.0)
    shape: ClassVar[dict[str, Any]] = {"hosts": 50, "pack": 25}
    quick_shape: ClassVar[dict[str, Any]] = {"hosts": 2, "pack": 2, "vms": 1}
