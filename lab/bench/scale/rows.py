"""The rows of ``scale``, in the order in which they run."""

from __future__ import annotations

from lab.bench.benchmark import Benchmark
from lab.bench.scale.beginnings import SnapshotRuns
from lab.bench.scale.building import BuildRatio, BuildThousand, Growth
from lab.bench.scale.capacity import Capacity
from lab.bench.scale.command import WholeCommand
from lab.bench.scale.living import (
    IdleHost,
    SiteOutage,
    UpFourHundred,
    UpMaximum,
    UpThousand,
    UpVirtualTpms,
)
from lab.bench.scale.looking import ListOfHosts, Observer
from lab.bench.scale.pushes import Pushes
from lab.bench.scale.schedules import SchedulesWithLibtpms, SchedulesWithModel
from lab.bench.scale.serving import CreationCost, PortCost

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
