"""All benchmarks, in the order in which they run: short ones first, those of ``scale`` apart."""

from __future__ import annotations

from collections.abc import Sequence

from lab.bench.attestation import Attestations
from lab.bench.benchmark import Benchmark
from lab.bench.boot import HostBoot
from lab.bench.creations import KeyCreations
from lab.bench.experiment import SimulatedWithLibtpms, SimulatedWithModel
from lab.bench.keys import KeyDerivation
from lab.bench.keyserver import KeyServerStart
from lab.bench.kmip import KmipCodec, KmipFuzz
from lab.bench.kmip_server import KmipServing
from lab.bench.load import LoadGenerating
from lab.bench.memory import ProcessMemory
from lab.bench.roundtrips import RoundTrips
from lab.bench.scale.rows import ROWS
from lab.bench.startup import UpFifty, UpFiftyPacked, UpThree
from lab.bench.suite import OwnTests
from lab.schema.errors import KeysteadError

BENCHMARKS: tuple[type[Benchmark], ...] = (
    SimulatedWithModel,
    SimulatedWithLibtpms,
    UpThree,
    UpFifty,
    UpFiftyPacked,
    ProcessMemory,
    RoundTrips,
    KeyDerivation,
    KmipCodec,
    KmipFuzz,
    KeyCreations,
    KeyServerStart,
    KmipServing,
    LoadGenerating,
    HostBoot,
    Attestations,
    OwnTests,
)


SCALE = "scale"  # the name of all its rows together


def select_benchmarks(names: Sequence[str]) -> tuple[type[Benchmark], ...]:
    """Those of these names in their own order, and all but ``scale`` when there is none.

    KS-USE-002 for a name that nothing has.
    """
    every = (*BENCHMARKS, *ROWS)
    listed = [SCALE, *(b.name for b in every)]
    strange = [n for n in names if n not in listed]
    if strange:
        raise KeysteadError(
            "KS-USE-002", f"there is no benchmark {strange[0]}", f"one of: {', '.join(listed)}"
        )
    if not names:
        return BENCHMARKS
    return tuple(b for b in every if b.name in names or (SCALE in names and b in ROWS))
