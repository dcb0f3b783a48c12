"""The rows of ``scale``, in the order in which they run."""

from __future__ import annotations

from benchmarks.benchmark import Benchmark
from benchmarks.scale.beginnings import SnapshotRuns
from benchmarks.scale.building import BuildRatio, BuildThousand, Growth
from benchmarks.scale.capacity import Capacity
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
from benchmarks.scale.schedules import SchedulesWithLibtpms, SchedulesWithModel
from benchmarks.scale.serving import CreationCost, PortCost

ROWS: tuple[type[Benchmark], ...] = (
    BuildRatio,
    BuildThousand,
    Growth,
    Pushes,
    ListOfHosts,
    Observer,
    SnapshotRuns,
    SchedulesWithModel,
    SchedulesWithLibtpms,
    WholeCommand,
    CreationCost,
    PortCost,
    IdleHost,
    SiteOutage,
    UpFourHundred,
    UpVirtualTpms,
    UpThousand,
    UpMaximum,
    Capacity,
)
