"""``load predict``: which node a storm saturates first, and what doubling it buys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.experiments.chaos import Given, Seed, show_progress, stopping
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, plain, say, table
from lab.schema.errors import KeysteadError
from lab.schema.tables import field

if TYPE_CHECKING:
    from lab.schema.answers.load import LoadPrediction, PredictedRun

MOST_CLUSTERS = 100


def predict(
    file: str,
    *,
    profile: Annotated[
        str, Parameter(help="Shipped profile (keystead, hsm), or the path of one.")
    ] = "keystead",
    clusters: Annotated[
        int | None, Parameter(help="Clusters of the lab; hosts and VMs are for each of them.")
    ] = None,
    seed: Seed = None,
    given: Given = None,
    html: Annotated[Path | None, Parameter(help="File for the report in HTML.")] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Play an experiment in virtual time with service times: which node is saturated first, when
    all VMs run again, and what twice the cores of that node would change.

    keystead load predict load-push-storm --with hosts=50 --with vms=800 --clusters 5
    keystead load predict load-boot-storm --profile hsm --html storm.html

    Each node has cores of its own. Both runs are stored; their pages (`keystead report RUN`) have
    plots of the work of nodes and of the requests that wait. A hypothesis that does not hold is
    part of the prediction: the exit code is 0.
    """
    from lab.local.prediction import predict as play
    from lab.local.stored.reports import page_of, place_for, write
    from lab.play.play import play_sim

    place_for("--html", html)
    if clusters is not None and not 1 <= clusters <= MOST_CLUSTERS:
        raise KeysteadError("KS-USE-003", f"--clusters {clusters}: 1 to {MOST_CLUSTERS}")
    with show_progress(quiet=options.quiet) as show:
        found = play(
            file,
            profile,
            clusters,
            given or (),
            seed,
            say,
            lambda made, folder: play_sim(made, folder, show, stopping),
        )
    if options.output in (Format.TABLE, Format.WIDE):
        _tell(found)
    else:
        document(found, options.output)
    if html is not None:
        write(html, page_of(found.predicted.run))
        say(f"written: {html}")


def _tell(found: LoadPrediction) -> None:
    plain(
        f"{found.experiment}, {found.hosts} hosts, {found.vms} VMs, profile {found.profile}, "
        f"seed {found.seed}"
    )
    _tell_run(found.predicted)
    if found.doubled is None:
        busiest = max(found.predicted.items, key=lambda one: one.peak, default=None)
        if busiest is not None:
            plain(f"no node is saturated; the busiest is {busiest.node}, {busiest.peak:.0%}")
        return
    first = next(one for one in found.predicted.items if one.node == found.predicted.first)
    plain(
        f"saturated first: {first.node}, {first.saturated_at:g} s after the run began, for "
        f"{first.saturated_s} s in all"
    )
    plain("")
    plain(f"with {2 * first.cores} cores of {found.doubled_node} in place of {first.cores}:")
    _tell_run(found.doubled)
    then = found.doubled.first
    plain(f"saturated first then: {then}" if then else "no node is saturated then")


def _tell_run(run: PredictedRun) -> None:
    columns = (
        field("node"),
        field("cores"),
        field("busy_s", "BUSY S"),
        ("PEAK", lambda one: f"{one.peak:.0%}"),
        ("SATURATED AT", lambda one: "-" if one.saturated_at is None else f"{one.saturated_at:g}s"),
        field("saturated_s", "SATURATED S"),
        field("most_waiting", "MOST WAITING"),
    )
    table(columns, run.items)
    if run.all_running_s is not None:
        plain(f"all VMs run {run.all_running_s:g} s after the last fault")
    elif run.booted:
        plain("not all VMs run again")
    p99 = "" if run.p99_ms is None else f", p99 of operations {run.p99_ms:g} ms"
    for name in run.failed:
        plain(f"fail: {name}")
    plain(f"{run.verdict.upper()}  run {run.run}{p99}")
