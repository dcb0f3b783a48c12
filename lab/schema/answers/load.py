"""What a load came to: figures of each operation, over time, and against its thresholds."""

from __future__ import annotations

from typing import Final

import msgspec

from lab.schema.answers.base import Answer

EXIT_CODES: Final = {"pass": 0, "none": 0, "fail": 1, "unknown": 2, "interrupted": 130}
"""By the verdict of a load on something that is no lab."""


class LoadOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation (``all``: all of them) after the warm-up: how often it was ``offered``, how
    often it went well, and ids of errors of those that did not.

    Latency is in milliseconds from when an operation was due, of those that went well or had no
    answer; None when there was none. ``histogram`` is HdrHistogram's own form, in microseconds.
    """

    operation: str
    offered: int
    ok: int
    failed: int
    offered_per_s: float
    ok_per_s: float
    errors: dict[str, int]
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    histogram: str = ""


class LoadMoment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the time, from ``at`` seconds on, by when operations were due; the warm-up too.

    ``p99_of`` is by operation.
    """

    at: float
    offered: int
    ok: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    p99_of: dict[str, float] = {}


class LoadThreshold(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold as it was given, the measured ``value`` in its unit (milliseconds, a share,
    operations a second), and whether it holds: None when there was nothing to measure."""

    threshold: str
    value: float | None
    holds: bool | None


class LoadChange(msgspec.Struct, frozen=True, kw_only=True):
    """The rate that was in force from ``at`` seconds after the begin of the load on, its warm-up
    with it: somebody changed it while it ran."""

    at: float
    rate: str


class LoadGenerator(msgspec.Struct, frozen=True, kw_only=True):
    """How the generator itself did.

    ``drawn`` arrivals were due after the warm-up, so many a second; ``held`` had to wait because
    ``outstanding`` were under way; ``late`` are those that it began more than 10 ms late by
    itself, and ``saturated`` says that they are so many, or that it used a core up, so that the
    figures are about the generator.
    ``cpu_share`` is of one core; None where the generator is a part of the lab.
    """

    drawn: int
    drawn_per_s: float
    outstanding: int
    held: int
    late: int
    late_p99_ms: float
    late_max_ms: float
    saturated: bool
    cpu_share: float | None


class LoadReport(Answer, frozen=True, kw_only=True):
    """A load that was offered to ``target``, in ``seconds`` of ``rate`` after ``warmup``.

    ``verdict``: pass, fail, unknown (a threshold has nothing to hold, or fails by what may be the
    generator's own lateness; or nothing was drawn), none (there is no threshold), interrupted.
    ``items``: each operation, then all. ``changes`` of its rate while it ran are in order.
    """

    target: str
    run: str
    seed: int
    spread: str
    rate: str
    mix: dict[str, int]
    warmup: float
    seconds: float
    verdict: str
    generator: LoadGenerator
    items: tuple[LoadOperation, ...]
    thresholds: tuple[LoadThreshold, ...]
    moments: tuple[LoadMoment, ...]
    facts: dict[str, str] = {}
    changes: tuple[LoadChange, ...] = ()


class LoadRate(Answer, frozen=True, kw_only=True):
    """The ``rate`` of a load that runs, in place of ``was``, from ``at`` seconds after its begin
    on."""

    run: str
    rate: str
    was: str
    at: float


class LoadDifference(msgspec.Struct, frozen=True, kw_only=True):
    """An operation of two loads; None where one of them did not have it, or measured nothing."""

    operation: str
    a_ok_per_s: float | None
    b_ok_per_s: float | None
    a_failed: int | None
    b_failed: int | None
    a_p50_ms: float | None
    b_p50_ms: float | None
    a_p99_ms: float | None
    b_p99_ms: float | None
    p99_ratio: float | None


class LoadCondition(msgspec.Struct, frozen=True, kw_only=True):
    """What was not the same for two loads to begin with."""

    what: str
    a: str
    b: str


class LoadComparison(Answer, frozen=True, kw_only=True):
    """Two stored loads beside each other. ``p99_ratio`` is of the second over the first."""

    a: str
    b: str
    conditions: tuple[LoadCondition, ...]
    items: tuple[LoadDifference, ...]


class PredictedNode(msgspec.Struct, frozen=True, kw_only=True):
    """What a node had to do: ``busy_s`` seconds of work on ``cores``, the greatest share of them
    that worked in a second, from when on it was saturated first (seconds of the run) and for how
    many seconds in all, and how many requests waited for a core at most."""

    node: str
    cores: int
    busy_s: float
    peak: float
    saturated_at: float | None
    saturated_s: int
    most_waiting: int


class PredictedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated run; ``failed`` are names of checks.

    ``all_running_s``: seconds from the planned end of the last fault until the VMs of all hosts
    that booted ran again; None when some did not, or no host booted. ``p99_ms``: of all operations
    of the load, None without any. ``first``: the node that was saturated first, empty when none
    was.
    """

    run: str
    verdict: str
    failed: tuple[str, ...]
    all_running_s: float | None
    booted: int
    p99_ms: float | None
    first: str
    items: tuple[PredictedNode, ...]


class LoadPrediction(Answer, frozen=True, kw_only=True):
    """An experiment with service times, and again with twice the cores of ``doubled_node``, which
    is a role where hosts are saturated first. None was saturated: ``doubled`` is None."""

    experiment: str
    profile: str
    hosts: int
    vms: int
    seed: int
    predicted: PredictedRun
    doubled_node: str = ""
    doubled: PredictedRun | None = None


LOADS: Final = (LoadReport, LoadComparison, LoadRate, LoadPrediction)
"""What is answered about loads without asking a lab."""
