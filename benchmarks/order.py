"""All benchmarks, in the order in which they run: short ones first, those of ``scale`` apart."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.attestation import Attestations
from benchmarks.benchmark import Benchmark
from benchmarks.boot import HostBoot
from benchmarks.creations import KeyCreations
from benchmarks.experiment import SimulatedWithLibtpms, SimulatedWithModel
from benchmarks.keys import KeyDerivation
from benchmarks.keyserver import KeyServerStart
from benchmarks.kmip import KmipCodec, KmipFuzz
from benchmarks.kmip_server import KmipServing
from benchmarks.load import LoadGenerating
from benchmarks.memory import ProcessMemory
from benchmarks.roundtrips import RoundTrips
from benchmarks.scale.rows import ROWS
from benchmarks.startup import UpFifty, UpFiftyPacked, UpThree
from benchmarks.suite import OwnTests
from benchmarks.vsphere import VsphereServing
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
    VsphereServing,
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
