"""``load calibrate``, ``load validate``, ``load predict``: service times measured on this machine,
what the simulation predicts beside what real processes do, and which node a storm saturates
first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.arguments import check_range, duration
from lab.cli.experiments.chaos import Given, Seed, show_progress, stopping
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, plain, say, table
from lab.schema.errors import KeysteadError
from lab.schema.tables import field

if TYPE_CHECKING:
    from lab.schema.answers.load import LoadPrediction, PredictedRun


MOST_HOSTS = 50
MOST_OPERATIONS = 2_000


def calibrate(
    file: Path,
    *,
    hosts: Annotated[int, Parameter(help="Hosts of the lab that is measured.")] = 10,
    operations: Annotated[int, Parameter(help="Operations of each kind.")] = 200,
) -> None:
    """Measure a lab of real processes on this machine, and write a profile of its service times.

    keystead load calibrate machine.yaml
    keystead load calibrate machine.yaml --hosts 4 --operations 500

    CPU time by class of message, disk and TPM. A Lab file uses it with
    `service_times: {profile: /path/machine.yaml}`. On a busy machine repeat it and compare.
    """
    import asyncio

    from lab.local.calibration import calibrate as measure
    from lab.local.calibration import write_profile

    check_range("--hosts", hosts, 1, MOST_HOSTS)
    check_range("--operations", operations, 1, MOST_OPERATIONS)
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise KeysteadError("KS-USE-003", f"{file}: no file can be written there")
    profile = asyncio.run(measure(hosts, operations, say))
    try:
        write_profile(profile, file)
    except OSError as error:
        raise KeysteadError("KS-USE-003", f"{file}: {error.strerror}") from None
    for role, node in profile["nodes"].items():
        for kind, time in node["times"].items():
            plain(f"{role:8} {kind:24} {time['mean']:>14}  spread {time['spread']}")


def validate(
    *,
    rates: Annotated[str, Parameter(help="Operations a second, as 5,10,20.")] = "5,10,20",
    duration_: Annotated[str, Parameter(name="--duration", help="Of each rate.")] = "20s",
    hosts: Annotated[int, Parameter(help="Hosts of both labs.")] = 2,
    repeat: Annotated[int, Parameter(help="Times each rate is offered; medians count.")] = 3,
    seed: Annotated[int, Parameter(help="Of the arrivals.")] = 1,
) -> None:
    """Offer one load to real processes and to the simulation, and print the figures side by side.

    keystead load validate
    keystead load validate --rates 100,300,500,900 --duration 5s --hosts 10

    The machine is measured before each rate, as `keystead load calibrate` does it. Rates rise until
    one is not served: there the lab is saturated.
    """
    import asyncio

    from lab.cli.loads.load import check_seed
    from lab.local.prediction import list_lines
    from lab.local.prediction import validate as compare

    try:
        wanted = [float(part) for part in rates.split(",")]
    except ValueError:
        wanted = []
    if not wanted or not all(0 < rate <= 5000 for rate in wanted):
        raise KeysteadError("KS-USE-003", f"--rates {rates}: numbers above 0, at most 5000")
    check_range("--hosts", hosts, 1, MOST_HOSTS)
    check_range("--repeat", repeat, 1, 20)
    check_seed(seed)
    seconds = duration("--duration", duration_)
    if not 1 <= seconds <= 600:
        raise KeysteadError("KS-USE-003", f"--duration {duration_}: 1s to 10m")
    found = asyncio.run(compare(hosts, wanted, seconds, seed, repeat, say))
    for line in list_lines(found):
        plain(line)


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
    if clusters is not None:
        check_range("--clusters", clusters, 1, MOST_CLUSTERS)
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


def format_running(seconds: float) -> str:
    """When all VMs run, in ``seconds`` after the end of the last fault; before it when negative."""
    if seconds < 0:
        return f"all VMs run {-seconds:g} s before the last fault ends"
    return f"all VMs run {seconds:g} s after the last fault"


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
        plain(format_running(run.all_running_s))
    elif run.booted:
        plain("not all VMs run again")
    p99 = "" if run.p99_ms is None else f", p99 of operations {run.p99_ms:g} ms"
    for name in run.failed:
        plain(f"fail: {name}")
    plain(f"{run.verdict.upper()}  run {run.run}{p99}")
