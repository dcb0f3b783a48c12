"""What a process of a service takes: its share of memory, before a TPM is loaded into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from benchmarks.benchmark import Bar, Benchmark, Figures, Report, Sense
from benchmarks.staging import folder, make_lab
from lab.building.provision import provision


class ProcessMemory(Benchmark):
    """The largest process of a ready lab whose hosts have no TPM.

    PSS: private pages, and of each shared page the share of one of those that share it. Pages of
    libraries are shared with every process of the machine that has them open, so the figure is
    highest where nothing else runs; ``largest_private_mib`` does not depend on that.
    """

    name: ClassVar[str] = "process-memory"
    measures: ClassVar[str] = "PSS of the largest service process, ready lab of 3 hosts, no TPM"
    unit: ClassVar[str] = "MiB"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 14.0)

    async def run(self, report: Report) -> Figures:
        shape: dict[str, Any] = {"hosts": 1, "vms": 1} if self.quick else {}
        with folder() as where:
            lab = make_lab(where, tpm="none", **shape)
            try:
                await lab.start()
                await provision(lab, lambda text, step, total: None)
                found = {name_of(pid): memory_of(pid) for pid in lab.agents.pids}
            finally:
                await lab.close()
        largest = max(found.values(), key=lambda m: m["Pss"])
        details = {f"{name}_mib": m["Pss"] for name, m in found.items()}
        private = largest["Private_Dirty"] + largest["Private_Clean"]
        return Figures(largest["Pss"], {**details, "largest_private_mib": private})


def memory_of(pid: int) -> dict[str, float]:
    """The kernel's account of a process (``smaps_rollup``), in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return {name.rstrip(":"): int(kib) / 1024 for name, kib, *_ in fields}


def name_of(pid: int) -> str:
    """``ks-`` and the first node of the process."""
    return Path(f"/proc/{pid}/comm").read_text().strip()
