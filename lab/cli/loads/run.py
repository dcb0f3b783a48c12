"""``load run``: a load on a lab, alone or beside the faults of an experiment."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from chaos.checks.result import CheckOutcome
from lab.cli.experiments.chaos import Given, Pace, Seed, Tpm, play_experiment
from lab.cli.invocation import Format
from lab.cli.loads.load import NO_FILES, LoadFiles, check_seed, read
from lab.cli.loads.load import tell as told
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import plain, say
from lab.schema.errors import KeysteadError

if TYPE_CHECKING:
    from chaos.verdict import Verdict
    from lab.runs.store import RunFolder

MIX = "power:60,challenge:35,key:5"


def run(
    file: Annotated[str, Parameter(help="Experiment with a `load`. Default: no faults.")] = "",
    *,
    mode: Annotated[Literal["lab", "sim"], Parameter(help="Real processes or virtual time.")],
    on: Annotated[str | None, Parameter(help="Use this running lab instead of a new one.")] = None,
    lab: Annotated[str, Parameter(help="Lab file, if there is no experiment.")] = "default",
    hosts: Annotated[int | None, Parameter(help="Hosts of each cluster.")] = None,
    vms: Annotated[int | None, Parameter(help="VMs of each cluster.")] = None,
    rate: Annotated[
        str | None, Parameter(help="2/s of lab time, a ramp 1/s..4/s, or steps 1/s:30s,4/s:1m.")
    ] = None,
    duration_: Annotated[
        str, Parameter(name="--duration", help="Duration; not for steps, which have their own.")
    ] = "",
    warmup: Annotated[str, Parameter(help="Warm-up time at the first rate, not measured.")] = "",
    mix: Annotated[str | None, Parameter(help=f"Operations with weights. Default: {MIX}.")] = None,
    threshold: Annotated[
        tuple[str, ...], Parameter(help="Threshold, such as 'power.p99 < 5s'; can be repeated.")
    ] = (),
    arrivals: Annotated[
        Literal["poisson", "even"] | None, Parameter(help="Distribution of the arrivals.")
    ] = None,
    seed: Seed = None,
    tpm: Tpm = None,
    pace: Pace = None,
    given: Given = None,
    files: LoadFiles = NO_FILES,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Load a lab with operations at a fixed rate, and judge the results.

    keystead load run --mode sim --hosts 8 --rate 2/s --duration 5m --threshold 'power.p99 < 5s'
    keystead load run load-boot-storm --mode sim --with hosts=24

    Times and rates are in lab time, as in an experiment file. With a FILE the command plays its
    faults and its `load`. Exit codes are those of `chaos run`: a threshold that does not hold is a
    failed check of the run.
    """
    said = {
        "--rate": rate,
        "--duration": duration_,
        "--warmup": warmup,
        "--mix": mix,
        "--threshold": threshold,
        "--arrivals": arrivals,
        "--hosts": hosts,
        "--vms": vms,
        "--lab": lab if lab != "default" else "",
    }
    _check_filled({**said, "--lab": lab, "--on": on})
    _check_beside(file, on or "", said, given or ())
    files.check()
    how = (mode, seed if file or seed is not None else 1, tpm, pace, on or "", False)
    if file:
        folder, verdict = play_experiment(file, *how, given=given or (), control=False)
    else:
        check_seed(seed or 0)
        load = _load(rate or "2/s", duration_, warmup, mix or MIX, threshold, arrivals)
        folder, verdict = _alone(lab, {"hosts": hosts, "vms": vms}, load, how)
    return _tell(folder, verdict, files, options)


def _alone(
    lab: str, sizes: dict[str, int | None], load: dict[str, Any], args: tuple[Any, ...]
) -> tuple[RunFolder, Verdict]:
    """A load and nothing else, played with these ``args``; KS-USE-003 for a lab that cannot be, as
    nobody has seen the file that is written here."""
    from lab.load.experiment_loads import experiment
    from lab.local.experiment_files import BadFile

    changes = {name: size for name, size in sizes.items() if size is not None}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "load.yaml"
        path.write_text(experiment(lab, changes, load), encoding="utf-8")
        try:
            return play_experiment(str(path), *args, given=(), control=False)
        except BadFile as error:
            raise KeysteadError("KS-USE-003", "; ".join(error.said)) from None


def _check_filled(said: Mapping[str, object]) -> None:
    """KS-USE-003 for an option with an empty text, as of a variable that a shell does not have."""
    for name, value in said.items():
        if value == "" and name not in ("--duration", "--warmup"):
            raise KeysteadError("KS-USE-003", f"{name}: it is empty")


def _check_beside(file: str, on: str, said: Mapping[str, object], given: Sequence[str]) -> None:
    """Nothing is said twice, by an option and by a file or a lab."""
    if on:
        _check_running(said)
    if file:
        _check_file(file, [name for name, value in said.items() if value], given)
    elif given:
        text = f"--with {given[0]}: without a FILE there are no parameters"
        raise KeysteadError("KS-USE-003", text, "name an experiment, or use the options of a lab")


def _check_file(file: str, extra: list[str], given: Sequence[str]) -> None:
    """It offers a load, and nothing beside it says what the load is: ``extra`` are such options."""
    from lab.local.experiment_files import offers_load

    if extra:
        text = f"{', '.join(extra)}: the file {file} says that itself"
        raise KeysteadError("KS-USE-003", text, "change the file, or a parameter of it: --with")
    if not offers_load(file, given):
        raise KeysteadError("KS-LOAD-003", f"{file} has no `load`")


def _check_running(said: Mapping[str, object]) -> None:
    """KS-USE-003 for what a running lab has itself."""
    if extra := [name for name in ("--lab", "--hosts", "--vms") if said[name] not in (None, "")]:
        text = f"{', '.join(extra)}: a running lab has its own (--on)"
        raise KeysteadError(
            "KS-USE-003", text, "leave it out, or leave out --on for a lab of its own"
        )


def _tell(folder: RunFolder, verdict: Verdict, files: LoadFiles, options: LabOptions) -> int:
    """What came of it, on the screen and in files; the exit code. The page is that of the run, with
    all that the lab did beside its load."""
    from lab.load.stored_loads import of_run, write
    from lab.local.stored.reports import page_of

    report = of_run(folder)
    if report is None:
        raise KeysteadError("KS-LOAD-003", f"the run {folder.run} has no load")
    told(report, options)
    for reason in verdict.reasons:
        say(f"because: {reason}")
    if options.output in (Format.TABLE, Format.WIDE):
        _print_verdict(verdict)
    write(folder, report)
    files.write(report, lambda: page_of(folder.run))
    return verdict.exit_code


def _print_verdict(verdict: Verdict) -> None:
    """The checks that did not hold, and the verdict of the run in one line."""
    for check in verdict.checks:
        if check.result is CheckOutcome.FAIL:
            plain(f"fail: {check.name}: {check.text}")
    plain(
        f"{verdict.verdict.upper()} (exit {verdict.exit_code})  run {verdict.run}  "
        f"seed {verdict.seed}  trace {verdict.trace_hash[:16]}"
    )


def _load(
    rate: str,
    duration: str,
    warmup: str,
    mix: str,
    thresholds: tuple[str, ...],
    arrivals: str | None,
) -> dict[str, Any]:
    """The `load` of a file; KS-USE-003 and KS-LOAD-001 for what cannot be offered or judged."""
    from chaos.load.arrivals import read_mix, read_profile
    from chaos.load.planned import WORDS, check_mix, read_threshold
    from lab.cli.arguments import duration as seconds_of

    before = seconds_of("--warmup", warmup)
    read("--rate", lambda: read_profile(rate, duration, before))
    if "reboot" in (part.partition(":")[0].strip() for part in mix.split(",")):
        text = "--mix: a host's reboot is no operation but a fault"
        fix = "a file with a `load` and `host.reboot` in its schedule, as load-patch-day"
        raise KeysteadError("KS-USE-003", text, fix)
    weights = read("--mix", lambda: check_mix(read_mix(mix, WORDS)))
    for text in thresholds:
        read("--threshold", partial(read_threshold, text, tuple(weights)), "KS-LOAD-001")
    given = {"for": duration, "warmup": warmup, "arrivals": arrivals}
    return {
        "rate": rate,
        **{name: value for name, value in given.items() if value},
        "mix": weights,
        **({"thresholds": list(thresholds)} if thresholds else {}),
    }
