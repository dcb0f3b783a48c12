"""Commands that play many runs for one verdict: ``chaos fuzz`` and ``chaos shrink``, ``chaos
sweep`` (every storage call of a store, struck in every way), and ``conformance``.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lab.cli.arguments import ExperimentName, check_range, duration
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, is_document, plain, say, show
from lab.cli.progress import Style, telling
from lab.schema.errors import KeysteadError
from lab.schema.tables import field

if TYPE_CHECKING:
    from lab.fuzz.world import CampaignWorld
    from lab.schema.answers.experiments import FuzzReport


MOST_SEEDS = 10_000_000
MOST_RUNS = 100_000
MOST_JOBS = 64

Mode = Literal["async", "forward"]
KeyKind = Literal["rawKey", "wrappedKey"]
Shipped = Literal["default", "native", "ha", "trusted", "vsan", "two-vcenters", "kmip"]


_OF_LAB = ("lab", "hosts", "vms", "kms", "kms_mode", "persistence", "key_type")
"""LabOptions that describe the lab: any of them fixes one lab for all seeds."""


def fuzz(
    *,
    seeds: Annotated[int, Parameter(help="Number of seeds.")] = 1000,
    first: Annotated[int, Parameter(name="--from", help="First seed.")] = 0,
    jobs: Annotated[int | None, Parameter(help="Parallel runs. Default: the cores.")] = None,
    time: Annotated[str, Parameter(help="Start no further seed after this time.")] = "",
    tpm: Annotated[Literal["model", "libtpms"], Parameter(help="TPM of the hosts.")] = "model",
    hosts: Annotated[int | None, Parameter(help="Hosts of the lab. Default: 4.")] = None,
    vms: Annotated[int | None, Parameter(help="VMs of the lab. Default: 8.")] = None,
    kms: Annotated[
        int | None, Parameter(help="Key servers: 1, a pair, or 2 to 8 with --kms-mode.")
    ] = None,
    kms_mode: Annotated[Mode | None, Parameter(help="Their replication mode.")] = None,
    lab: Annotated[Shipped | None, Parameter(help="Shipped lab. Default: random.")] = None,
    persistence: Annotated[bool | None, Parameter(help="Key persistence of the hosts.")] = None,
    key_type: Annotated[KeyKind | None, Parameter(help="Keys of standard providers.")] = None,
    kinds: Annotated[tuple[str, ...], Parameter(help="Only this fault; can be repeated.")] = (),
    patch: Annotated[
        str, Parameter(help="Patch to apply first: a Python module or `module:function`.")
    ] = "",
    campaign: Annotated[str, Parameter(help="Name; an existing campaign continues.")] = "",
    shrink: Annotated[bool, Parameter(help="Shrink the findings.")] = True,
    budget: Annotated[int, Parameter(help="Maximum of runs to shrink one finding.")] = 200,
    enough: Annotated[int, Parameter(help="Stop after so many failures; 0: no limit.")] = 0,
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Test random faults in the simulation, seed by seed, and shrink failures to small files.

    keystead chaos fuzz --seeds 500 --time 2m
    keystead chaos fuzz --lab default --seeds 200 --kinds host.power_loss --kinds link.cut
    keystead chaos fuzz --lab kmip --kms 3 --kms-mode forward

    Each seed has a random lab. --lab, or any option that describes the lab, uses one lab for all
    seeds: the default lab, unless --lab names another one. All general checks judge every run. A
    finding is shrunk to an experiment file that reproduces it. A campaign of the same name and
    options continues where it stopped. Exit codes: 0 no finding, 1 findings, 5 a seed gave
    different runs.
    """
    _check_ranges(seeds, first, jobs, budget, enough)
    seconds = duration("--time", time) if time else float("inf")
    from chaos.experiment.generate import RANDOM, Mix
    from lab.fuzz.world import CampaignWorld
    from lab.local.fuzzing import Fuzzing

    _check_kinds(kinds)
    chosen = (lab, hosts, vms, kms, kms_mode, persistence, key_type)
    said = {k: v for k, v in zip(_OF_LAB, chosen, strict=True) if v is not None}
    mix = Mix(kinds=kinds or RANDOM, rare=not kinds)
    world = CampaignWorld(**said, tpm=tpm, patch=patch, drawn=not said, mix=mix)  # type: ignore[arg-type]
    _whole(world)
    size = "drawn" if world.drawn else f"{world.hosts}x{world.vms}"
    name = campaign or f"{tpm}-{size}-{_digest(world)}"
    with telling(progress, "random schedules") as tell:
        fuzzing = Fuzzing(name, world, jobs or os.cpu_count() or 1, budget, enough, say, tell)
        with suppress(ValueError):  # only the main thread of a program has signals
            signal.signal(signal.SIGINT, lambda *_: fuzzing.stop.set())
        report = fuzzing.run(range(first, first + seeds), seconds, shrink=shrink)
    _show(report, options)
    return 130 if fuzzing.stop.is_set() else _exit_code(report)


def _check_ranges(seeds: int, first: int, jobs: int | None, budget: int, enough: int) -> None:
    for option, value, least, most in (
        ("--seeds", seeds, 1, MOST_SEEDS),
        ("--budget", budget, 1, MOST_RUNS),
        ("--enough", enough, 0, MOST_SEEDS),
        ("--from", first, 0, 1 << 62),
        ("--jobs", 1 if jobs is None else jobs, 1, MOST_JOBS),
    ):
        check_range(option, value, least, most)


def _exit_code(report: FuzzReport) -> int:
    broken = any(item.failure.startswith("replay") for item in report.items)
    return 5 if broken else 1 if report.items else 0


def _check_kinds(kinds: tuple[str, ...]) -> None:
    from chaos.errors import ChaosError
    from chaos.faults import fault_type
    from lab.schema.refusal import refusal

    for kind in kinds:
        try:
            fault_type(kind)
        except ChaosError as error:
            raise refusal(error) from None


def _whole(world: CampaignWorld) -> None:
    """Check that such a lab can be built and that the patch exists."""
    from lab.state.checkout import is_patch

    if world.lab == "native" and (world.kms > 1 or world.kms_mode):
        raise KeysteadError("KS-USE-003", f"--kms {world.kms}: the lab native has no key server")
    least = 2 if world.kms_mode else 1
    if world.kms < least:
        mode = f" with --kms-mode {world.kms_mode}" if world.kms_mode else ""
        raise KeysteadError("KS-USE-003", f"--kms {world.kms}: {least} or more{mode}")
    world.topology()
    if world.patch and not is_patch(world.patch):
        raise KeysteadError("KS-USE-002", f"--patch {world.patch}: there is no such module")


def _digest(world: CampaignWorld) -> str:
    import hashlib

    import msgspec

    return hashlib.sha256(msgspec.json.encode(world)).hexdigest()[:8]


def _show(report: FuzzReport, options: LabOptions) -> None:
    if is_document(options.output):
        document(report, options.output)
        return
    columns = (
        field("failure"),
        ("SEEDS", lambda item: _few(item.seeds)),
        field("smallest"),
        field("lab"),
        field("file"),
    )
    if report.items:
        show(report, options.output, columns, key="failure")
    if len(report.labs) > 1:
        plain(f"labs: {len(report.labs)}; most seeds in {_few(tuple(report.labs), 2)}")
    for what, names in report.untried.items():
        if names:
            plain(f"never tried, {what}: {_few(names, 12)}")
    for kind, why in report.undrawn.items():
        plain(f"not drawn, {kind}: {why}")
    rate = f", {60 * report.now / report.seconds:.0f} a minute" if report.now else ""
    plain(
        f"{report.played} seeds ({report.now} now{rate}; {report.cpu_ms:.0f} ms of CPU each, "
        f"{report.twice} played twice): {len(report.items)} findings. Campaign {report.campaign}"
    )


def _few(names: tuple[object, ...], most: int = 6) -> str:
    shown = ", ".join(map(str, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def shrink(
    experiment: ExperimentName,
    *,
    seed: Annotated[int | None, Parameter(help="Seed. Default: the seed of the file.")] = None,
    budget: Annotated[int, Parameter(help="Maximum number of runs.")] = 200,
    to: Annotated[Path, Parameter(help="Folder for the new file.")] = Path(),
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Shrink an experiment that fails in the simulation to a small file with the same failure.

    keystead chaos shrink fuzz-17.yaml
    keystead chaos shrink fuzz-17.yaml --budget 500 --to findings

    The new file has fewer faults, operations, targets and hosts, and shorter, round times.
    """
    check_range("--budget", budget, 1, MOST_RUNS)
    if not to.is_dir():
        raise KeysteadError("KS-USE-003", f"--to {to}: there is no such folder")
    from lab.local.experiment_files import prepare_experiment
    from lab.local.fuzzing import shrink as make_small

    answer = make_small(prepare_experiment(experiment, seed, None, "sim"), budget, to, say)
    if is_document(options.output):
        document(answer, options.output)
        return
    plain(f"{answer.failure}, in {answer.runs} runs:")
    plain(f"  from {answer.before}")
    plain(f"  to   {answer.after}: {answer.shape}")
    plain(f"keystead chaos run {answer.file} --mode sim")


Store = Literal["keystore", "vcenter", "kms", "first-boot", "all"]


def sweep(
    *,
    store: Annotated[Store, Parameter(help="The store to test.")] = "all",
    tpm: Annotated[Literal["model", "libtpms"], Parameter(help="TPM implementation.")] = "model",
    seed: Annotated[int, Parameter(help="Seed of the simulation, also of torn writes.")] = 1,
    jobs: Annotated[int, Parameter(help="Number of parallel plays; 0: number of cores.")] = 0,
    only: Annotated[str, Parameter(help="Pattern for the beginning of a point's name.")] = "",
    patch: Annotated[
        str, Parameter(help="Patch to apply first: a Python module or `module:function`.")
    ] = "",
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Crash a store at each of its storage calls, and check what survives.

        keystead chaos sweep --store keystore --tpm libtpms
        keystead chaos sweep --only 'keystore/esxi-001:archive.*disk.sync*power_loss'

    The command plays a story in virtual time: keys are added, rotated and removed, VMs and
    providers are created and deleted. Each storage call fails once in every way: crash, power loss,
    torn write, full disk, failing disk. Then the node boots. The store must have the state before
    or after the interrupted step, the state after it if the step was acknowledged. Removed data
    must be gone, and the story must run to its end. Exit codes: 0 no rule was broken, 1 one was.
    """
    check_range("--jobs", jobs, 0, MOST_JOBS)
    from lab.state.checkout import load_module

    command = load_module("tests.sweep.command", "keystead chaos sweep")
    style = Style.NONE if options.quiet else progress
    with telling(style, "sweep") as report:
        code: int = command.sweep_and_show(
            store,
            tpm=tpm,
            seed=seed,
            jobs=jobs,
            only=only,
            patch=patch,
            report=report,
            options=options,
        )
    return code


def play(
    *,
    assertion: Annotated[list[str] | None, Parameter(help="A01 to A30. Default: all.")] = None,
    mode: Annotated[Literal["sim", "lab"], Parameter(help="Virtual time or processes.")] = "sim",
    seed: Annotated[int, Parameter(help="Seed of the simulation.")] = 1,
    quick: Annotated[bool, Parameter(help="Only a part of the truth table (A23).")] = False,
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Test the conformance assertions, each in small labs, in virtual or real time.

            keystead conformance --quick
            keystead conformance --assertion A03 --assertion A12 -o json

    Prints one line per assertion: passed or failed, and the observation. A23 is the whole truth
    table and takes minutes; with --quick it plays a part. Exit codes: 0 all passed, 1 one failed.
    """
    from lab.local.conformance import conformance

    style = Style.NONE if options.quiet else progress
    with telling(style, "conformance") as report:
        answer = conformance(assertion or (), mode=mode, seed=seed, quick=quick, report=report)
    if is_document(options.output):
        document(answer, options.output)
        return answer.exit_code
    for one in answer.items:
        if options.output is Format.NAME:
            plain(one.id)
            continue
        what = f"it needs {one.needs}" if one.needs else one.seen
        plain(f"{one.id} {one.standing.value}: {one.title}: {what}")
    say(
        f"{answer.passed} passed, {answer.failed} failed, {answer.not_available} not available; "
        f"seed {answer.seed}, {answer.seconds:g} s"
    )
    return answer.exit_code
