"""What is answered on this machine without asking a lab: labs, runs, experiments, explanations."""

from __future__ import annotations

from typing import Any

import msgspec

from chaos.checks.result import CheckOutcome, Scene
from chaos.entries import DescribedEntry
from chaos.verdict import Verdict
from lab.schema.answers.base import Answer
from lab.schema.answers.experiments import Conformance, Sweep
from lab.schema.answers.kmip import KMIP
from lab.schema.answers.lab import MACHINES
from lab.schema.answers.load import LOADS
from lab.schema.answers.matrix import MATRIX
from protocol.terms import Role


class Brokers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The version of nats-server, and the addresses of the two brokers of a lab."""

    server: str
    data: str = ""
    control: str = ""


class Lab(Answer, frozen=True, kw_only=True):
    """A lab that was started.

    ``seconds`` until it was ready; ``pack``: the most hosts in a process; ``tpm`` counts hosts by
    what lies under them; machines that ask ``pools`` for a place bring more; ``missing`` is what is
    wrong, ``notices`` what is no harm; ``examples`` (in documents: ``try``) fit this lab.
    """

    name: str
    state: str
    seconds: float
    brokers: Brokers
    pace: float
    pack: int
    processes: int
    hosts: int
    vms: int
    tpm: dict[str, int]
    pools: tuple[str, ...] = ()
    seed: int
    folder: str
    supervisor: int
    missing: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    examples: tuple[str, ...] = msgspec.field(name="try", default=())


class LabDown(Answer, frozen=True, kw_only=True):
    """A lab that does not run: ``stopped`` now, and its folder ``removed``."""

    name: str
    stopped: bool
    removed: bool


class ListedLab(msgspec.Struct, frozen=True, kw_only=True):
    """A lab of this user; what cannot be read of it, or does not answer, is None.

    ``nodes`` that it has and ``running`` ones are asked of the lab itself; ``reason``: why it was
    killed or is silent, or what is damaged. An ``attached`` one runs elsewhere: no ``folder``."""

    name: str
    state: str
    nodes: int | None = None
    running: int | None = None
    reason: str = ""
    hosts: int | None = None
    vms: int | None = None
    pace: float | None = None
    supervisor: int = 0
    seed: int | None = None
    folder: str = ""


class LabList(Answer, frozen=True, kw_only=True):
    """Labs of this user, by name."""

    items: tuple[ListedLab, ...]


class Version(Answer, frozen=True, kw_only=True):
    """Versions of keystead and of what it runs on; None: it is not there."""

    keystead: str | None
    python: str
    nats_server: str | None
    tpm2_pytss: str | None


class Error(Answer, frozen=True, kw_only=True):
    """What an error id means, what to do about it, and the exit code of a command with it."""

    id: str
    title: str
    why: str
    fix: str
    exit_code: int


class ErrorList(Answer, frozen=True, kw_only=True):
    """Errors by id."""

    items: tuple[Error, ...]


class Match(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that has to do with a word: its kind (term, command, fault, ..., rule, error), and
    the command that shows all of it (``see``; none for a term, whose ``text`` is all there is)."""

    kind: str
    name: str
    text: str
    see: str = ""


class MatchList(Answer, frozen=True, kw_only=True):
    """What ``keystead explain`` found, the closest first."""

    query: str
    items: tuple[Match, ...]


class Rule(Answer, frozen=True, kw_only=True):
    """A rule of the product: what it says in a line and in a paragraph, and its group."""

    id: str
    title: str
    text: str
    group: str


class RuleList(Answer, frozen=True, kw_only=True):
    """Rules in the order of their page."""

    items: tuple[Rule, ...]


class Knob(Answer, frozen=True, kw_only=True):
    """A knob of a lab file: what it decides, its range in words, the rule, who reads it, and
    ``instead``: what values other than the default change."""

    name: str
    text: str
    default: Any
    unit: str
    values: str
    rule: str
    instead: str
    read_by: tuple[Role, ...]


class KnobList(Answer, frozen=True, kw_only=True):
    """Knobs by name."""

    items: tuple[Knob, ...]


class Reference(Answer, frozen=True, kw_only=True):
    """One thing that an experiment's file can name; ``noun`` is fault, probe, op and so on."""

    noun: str
    entry: DescribedEntry


class ReferenceList(Answer, frozen=True, kw_only=True):
    """Everything of one noun that an experiment's file can name."""

    noun: str
    items: tuple[DescribedEntry, ...]


class ShippedExperiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment that comes with keystead, and its file."""

    experiment: str
    title: str
    file: str


class ExperimentList(Answer, frozen=True, kw_only=True):
    """Shipped experiments by name."""

    items: tuple[ShippedExperiment, ...]


class LintReport(Answer, frozen=True, kw_only=True):
    """Every error of an experiment's or of a Lab file, each with its place."""

    file: str
    items: tuple[str, ...]


class NewLab(Answer, frozen=True, kw_only=True):
    """A Lab file that was written, to be changed; editors complete it by the file ``schema``."""

    name: str
    file: str
    schema: str


class NewExperiment(Answer, frozen=True, kw_only=True):
    """An experiment file that was written, to be changed."""

    experiment: str
    file: str


class FaultInterval(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of a run, from ``began`` to when it was seen gone (None: it was not), in seconds of
    the run. ``error`` is why it could not be made."""

    id: str
    fault: str
    summary: str
    began: float
    ended: float | None
    error: str = ""


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run on disk; ``verdict`` is "running" while it is played, and "broken off" when the process
    that played it has ended without one. ``began`` is in Unix seconds."""

    run: str
    experiment: str
    mode: str
    tpm: str
    seed: int
    verdict: str
    exit_code: int | None
    began: float
    trace: str
    folder: str


class RunDescription(Answer, frozen=True, kw_only=True):
    """Everything that is known of a stored run.

    ``title`` is its experiment's, ``began`` Unix seconds; ``faults`` are lines of what was done,
    with the seconds of the run at which it began and was seen gone; ``fork_of`` is a run that was
    the same up to ``fork_at``, in seconds of the run; ``verdict`` is None while it runs, or when it
    was broken off: ``state`` says which (running, broken off, ended). ``problem`` says what is
    wrong with its history.
    ``examples`` (in documents: ``try``) are commands that go on from here.
    """

    run: str
    experiment: str
    title: str
    mode: str
    seed: int
    tpm: str
    code: str
    python: str
    began: float
    replay_of: str
    fork_of: str = ""
    fork_at: float = 0.0
    hosts: int
    vms: int
    seconds: float | None
    faults: tuple[FaultInterval, ...]
    verdict: Verdict | None
    state: str
    problem: str
    records: int
    folder: str
    examples: tuple[str, ...] = msgspec.field(name="try", default=())


class RunList(Answer, frozen=True, kw_only=True):
    """Stored runs, in order of time; ``damaged`` are folders of runs that cannot be read."""

    items: tuple[StoredRun, ...]
    damaged: tuple[str, ...] = ()


class JudgedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a check says of a run; ``invariant`` is its number (S for safety, L for liveness).

    ``records`` it rests on, by number; of a failure the ``scene`` around the first of them, and
    the command that shows it again.
    """

    check: str
    invariant: str
    result: CheckOutcome
    text: str
    records: tuple[int, ...]
    scene: Scene | None = None
    reproduce: str = ""


class CheckedRun(Answer, frozen=True, kw_only=True):
    """The checks of a stored run, judged again; ``verdict`` is the worst that counts of them.

    ``ended`` is the verdict that the run itself came to, such as ``interrupted``, which knows more
    than its checks; empty when it came to none.
    """

    run: str
    verdict: CheckOutcome
    ended: str = ""
    items: tuple[JudgedCheck, ...]


class ProbeFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found; ``fix`` is empty when there is nothing to do."""

    probe: str
    health: str
    text: str
    fix: str = ""


class DoctorReport(Answer, frozen=True, kw_only=True):
    """What was tried of all that a lab needs."""

    items: tuple[ProbeFinding, ...]


class KnownBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark: what it measures, in which unit, and the bar that its median has to meet."""

    benchmark: str
    measures: str
    unit: str
    bar: str


class BenchmarkList(Answer, frozen=True, kw_only=True):
    """Benchmarks in the order in which they run."""

    items: tuple[KnownBenchmark, ...]


class BenchmarkRow(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one benchmark; None and empty when it was not measured, and why.

    ``met``: its median keeps the bar; ``met_at_best``: its best repeat does.
    """

    benchmark: str
    measures: str
    outcome: str
    unit: str
    min: float | None
    median: float | None
    max: float | None
    bar: str
    met: bool | None
    met_at_best: bool | None
    values: tuple[float, ...]
    details: dict[str, float]
    text: str


class MeasuredMachine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that figures were taken on.

    ``file_system`` is that of the folder that benchmarks write to; ``code`` is a digest of the
    sources. Loads are processes that wanted a core, averaged over a minute.
    """

    cpu: str
    cores: int
    memory_mib: int
    kernel: str
    file_system: str
    python: str
    nats_server: str
    libtpms: str
    commit: str
    code: str
    load_at_start: float
    load_at_end: float


class BenchmarkReport(Answer, frozen=True, kw_only=True):
    """Figures of this machine; ``quick``: with less of everything, so that they say little.

    ``repeat``: how often each was run; None for as often as a benchmark says itself.
    """

    quick: bool
    repeat: int | None
    machine: MeasuredMachine
    items: tuple[BenchmarkRow, ...]


LOCAL: tuple[type[Answer], ...] = (
    Lab,
    LabDown,
    LabList,
    Version,
    Error,
    ErrorList,
    MatchList,
    Rule,
    RuleList,
    Knob,
    KnobList,
    Reference,
    ReferenceList,
    ExperimentList,
    NewExperiment,
    NewLab,
    LintReport,
    RunList,
    RunDescription,
    CheckedRun,
    *MATRIX,
    Conformance,
    Sweep,
    *KMIP,
    *LOADS,
    *MACHINES,
    DoctorReport,
    BenchmarkList,
    BenchmarkReport,
)
