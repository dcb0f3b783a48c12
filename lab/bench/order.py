"""All benchmarks, in the order in which they run: short ones first."""

from __future__ import annotations

from collections.abc import Sequence

from lab.bench.benchmark import Benchmark
from lab.bench.boot import HostBoot
from lab.bench.creations import KeyCreations
from lab.bench.experiment import SimulatedWithLibtpms, SimulatedWithModel
from lab.bench.memory import ProcessMemory
from lab.bench.roundtrips import RoundTrips
from lab.bench.startup import UpFifty, UpFiftyPacked, UpThree
from lab.bench.suite import OwnTests
from lab.errors import KeysteadError

BENCHMARKS: tuple[type[Benchmark], ...] = (
    SimulatedWithModel,
    SimulatedWithLibtpms,
    UpThree,
    UpFifty,
    UpFiftyPacked,
    ProcessMemory,
    RoundTrips,
    KeyCreations,
    HostBoot,
    OwnTests,
)


def chosen(names: Sequence[str]) -> tuple[type[Benchmark], ...]:
    """Those of these names, all when there is none, in their own order; KS-USE-002."""
    known = {b.name for b in BENCHMARKS}
    strange = [n for n in names if n not in known]
    if strange:
        listed = ", ".join(b.name for b in BENCHMARKS)
        raise KeysteadError(
            "KS-USE-002", f"there is no benchmark {strange[0]}", f"one of: {listed}"
        )
    return tuple(b for b in BENCHMARKS if not names or b.name in names)
