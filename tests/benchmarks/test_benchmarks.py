"""Each benchmark runs in its quick form and tells what it says it tells; no time is judged."""

from __future__ import annotations

import asyncio
import math
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from benchmarks.attestation import Attestations
from benchmarks.benchmark import Benchmark, Figures, NotMeasured
from benchmarks.boot import HostBoot
from benchmarks.creations import KeyCreations
from benchmarks.experiment import SimulatedWithLibtpms, SimulatedWithModel
from benchmarks.keys import KeyDerivation
from benchmarks.keyserver import KeyServerStart
from benchmarks.kmip import KmipCodec, KmipFuzz
from benchmarks.kmip_server import KmipServing
from benchmarks.load import LoadGenerating
from benchmarks.memory import ProcessMemory
from benchmarks.order import BENCHMARKS
from benchmarks.roundtrips import RoundTrips
from benchmarks.scale.beginnings import SnapshotRuns
from benchmarks.scale.building import BuildRatio, BuildThousand, Growth
from benchmarks.scale.capacity import Capacity, Share, Size, share
from benchmarks.scale.command import WholeCommand
from benchmarks.scale.living import (
    IdleHost,
    SiteOutage,
    UpFourHundred,
    UpMaximum,
    UpThousand,
    UpVirtualTpms,
)
from benchmarks.scale.looking import ListOfHosts, Observer
from benchmarks.scale.pushes import Pushes
from benchmarks.scale.rows import ROWS
from benchmarks.scale.schedules import SchedulesWithLibtpms, SchedulesWithModel
from benchmarks.scale.serving import CreationCost, PortCost
from benchmarks.scale.within import Census
from benchmarks.startup import UpFifty, UpFiftyPacked, UpThree
from benchmarks.suite import OwnTests
from benchmarks.vsphere import VsphereServing
from tests.e2e.modes import needs_tpm

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
needs_vsphere = pytest.mark.skipif(
    find_spec("pyVmomi") is None, reason="the extra vsphere is not installed"
)

STEPS = {f"until_step_{n}_s" for n in range(1, 6)}
AT_REST = {"up_cpu_s", "rested_s", "pss_gib", "idle_percent", "busiest_percent"}
DETAILS: dict[type[Benchmark], set[str]] = {
    SimulatedWithModel: {"virtual_s"},
    SimulatedWithLibtpms: {"virtual_s"},
    UpThree: STEPS,
    UpFifty: STEPS,
    UpFiftyPacked: STEPS,
    ProcessMemory: {"ks-kms_mib", "ks-vcenter_mib", "ks-esxi-001_mib", "largest_private_mib"},
    RoundTrips: {"bare_per_s", "port_per_s", "node_per_s"},
    KeyDerivation: {"derive_us", "wrap_us", "unwrap_us"},
    KmipCodec: {"encode_us", "key_decode_us", "key_encode_us"},
    KmipFuzz: {"understood", "refused"},
    KeyCreations: {"p50_ms", "p99_ms", "sync_us"},
    KeyServerStart: {"cpu_s", "by_name_ms", "by_attribute_ms"},
    LoadGenerating: {"offered_off_percent", "pooled_us", "faithful_us", "late_p99_ms"},
    KmipServing: {
        "get_p99_ms",
        "get_server_us",
        *(
            f"{what}_{figure}"
            for what in ("durable_get", "create", "durable_create", "versions")
            for figure in ("per_s", "p99_ms", "server_us")
        ),
        "handshake_per_s",
        *(f"pykmip_{what}_per_s" for what in ("get", "create", "handshake")),
        *(f"{what}_ratio" for what in ("get", "create", "handshake")),
    },
    HostBoot: {"measure_ms", "unseal_ms", "archive_ms", "keys_ms", "power_on_ms"},
    Attestations: {"p50_ms", "p99_ms"},
    BuildRatio: {"small_s", "large_s"},
    BuildThousand: {"per_host_ms"},
    Growth: {"build_2_s", "build_4_s", "idle_2_s", "idle_4_s"},
    Pushes: {"most", "least"},
    ListOfHosts: {"few_ms", "many_ms"},
    Observer: {"play_ms", "idle_ms", "virtual_s"},
    SnapshotRuns: {"fresh_ms", "forked_ms", "per_core_s"},
    SchedulesWithModel: {"run_ms", "virtual_s", "passed"},
    SchedulesWithLibtpms: {"run_ms", "virtual_s", "passed"},
    WholeCommand: {"help_s"},
    CreationCost: {"asker_us"},
    PortCost: {"port_us", "raw_us"},
    IdleHost: {"up_s", "up_cpu_s", "lab_percent"},
    SiteOutage: {"booted_s", "cpu_s"},
    VsphereServing: {
        *("retrieve_cpu_s", "idle_cpu_percent", "idle_pss_mib", "server_us"),
        *("wait_p99_ms", "wait_p50_ms", "wait_cpu_ms"),
    },
    UpFourHundred: {"up_cpu_s"},
    UpVirtualTpms: AT_REST,
    UpThousand: AT_REST,
    UpMaximum: AT_REST,
    Capacity: {"idle_uncached"}.union(
        f"{what}_{quantity}"
        for what in ("host", "vm", "foretold", "seen")
        for quantity in Census.__struct_fields__
    ),
}
LIVING = (IdleHost, SiteOutage, UpFourHundred, UpVirtualTpms, UpThousand, UpMaximum)
REAL_TPM = (
    SimulatedWithLibtpms,
    SchedulesWithLibtpms,
    UpThree,
    UpFifty,
    UpFiftyPacked,
    HostBoot,
    Attestations,
    *LIVING,
)
DEAR = (
    *(SchedulesWithLibtpms, SnapshotRuns, UpFifty, UpFourHundred, UpThousand, UpVirtualTpms),
    *(UpMaximum, WholeCommand, Capacity, VsphereServing),
)
"""Another size of one that is cheaper, or seconds of a core."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    return tmp_path


def measured(made: type[Benchmark]) -> tuple[Figures, list[str]]:
    """A quick run in a loop of its own, and its progress."""
    told: list[str] = []
    return asyncio.run(made(quick=True).run(told.append)), told


def lab_processes() -> set[int]:
    """Our descendants that belong to a lab, not to a fork server of simulations."""
    words = ("lab.processes.preload", "nats-server", "benchmarks.echo")
    found: set[int] = set()
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.NoSuchProcess:  # it ends while we look; a zombie is one too
            continue
        if any(word in line for word in words):
            found.add(process.pid)
    return found


def marks_of(made: type[Benchmark]) -> list[pytest.MarkDecorator]:
    marks = ((needs_tpm, REAL_TPM), (needs_vsphere, (VsphereServing,)), (pytest.mark.slow, DEAR))
    return [mark for mark, those in marks if made in those]


def test_each_benchmark_is_tried_here() -> None:
    assert {*DETAILS, OwnTests} == {*BENCHMARKS, *ROWS}


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [pytest.param(b, id=b.name, marks=marks_of(b)) for b in DETAILS],
)
def test_a_quick_run_gives_figures_and_leaves_nothing(made: type[Benchmark], home: Path) -> None:
    before = lab_processes()
    figures, _ = measured(made)
    assert math.isfinite(figures.value) and figures.value > 0
    assert set(figures.details) == DETAILS[made]
    assert all(math.isfinite(value) for value in figures.details.values())
    differences = ("host_", "vm_")  # of figures that are small here, and noise is not
    assert all(n.startswith(differences) or value >= 0 for n, value in figures.details.items())
    assert list(home.iterdir()) == []
    assert lab_processes() == before


def test_a_plane_goes_through_three_labs() -> None:
    made = Share(base=7.0, host=0.5, vm=0.25)
    sizes = Size(10, 20), Size(10, 80), Size(40, 80)
    assert share([made.of(size) for size in sizes], sizes) == made


async def test_the_own_tests_are_listed_and_not_run() -> None:
    with pytest.raises(NotMeasured, match=r"keystead test"):
        await OwnTests(quick=True).run(print)


@pytest.mark.slow
@needs_tpm
def test_the_experiment_plays_the_whole_outage() -> None:
    figures, _ = measured(SimulatedWithModel)
    assert figures.details["virtual_s"] > 300


@pytest.mark.slow
@needs_tpm
def test_a_start_reaches_its_steps_in_order() -> None:
    figures, _ = measured(UpFiftyPacked)
    seen = [figures.details[f"until_step_{n}_s"] for n in range(1, 6)]
    assert seen == sorted(seen)
    assert figures.value >= seen[-1]


@pytest.mark.slow
def test_a_random_schedule_is_played_to_its_verdict() -> None:
    figures, _ = measured(SchedulesWithModel)
    assert figures.details["virtual_s"] > 270
    assert figures.details["passed"] == 1.0


@pytest.mark.slow
def test_every_host_gets_every_key() -> None:
    figures, _ = measured(Pushes)
    assert figures.details["least"] >= 1  # of six keys, gathered
    assert figures.details["least"] <= figures.value <= figures.details["most"]


@pytest.mark.slow
def test_a_command_is_charged_with_the_processes_that_it_starts() -> None:
    figures, _ = measured(WholeCommand)
    assert figures.value > 2 * figures.details["help_s"]  # a fork server and its worker


def test_a_round_trip_over_the_port_costs_more_than_a_raw_one() -> None:
    figures, _ = measured(PortCost)
    assert figures.details["port_us"] > figures.details["raw_us"] > 0
