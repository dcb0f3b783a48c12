"""``load kmip``, ``load compare``, ``load rate``: an open-loop load on a key server, its
comparison, and another rate for a load that runs. Also the report files of a load, and its
results for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import Parameter

from lab.cli.arguments import check_range, duration
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, plain, say, show
from lab.cli.progress import Style, telling
from lab.schema.errors import KeysteadError
from lab.schema.tables import field

if TYPE_CHECKING:
    from chaos.load.arrivals import Profile
    from lab.load.offering import LoadedServer
    from lab.load.report import LoadTerms
    from lab.runs.store import RunFolder
    from lab.schema.answers.load import LoadComparison, LoadOperation, LoadRate, LoadReport


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LoadFiles:
    """The report files of a load."""

    html: Annotated[Path | None, Parameter(help="File for a report in HTML.")] = None
    hgrm: Annotated[
        Path | None, Parameter(help="File for HdrHistogram percentiles of all operations.")
    ] = None

    def check(self) -> None:
        """KS-USE-003 where one cannot be written, before a load is offered for it."""
        from lab.local.stored.reports import place_for

        place_for("--html", self.html)
        place_for("--hgrm", self.hgrm)
        if self.html is not None and self.hgrm is not None:
            if self.html.resolve() == self.hgrm.resolve():
                text = f"--hgrm {self.hgrm}: --html is written there"
                raise KeysteadError("KS-USE-003", text)

    def write(self, report: LoadReport, page: Callable[[], bytes] | None = None) -> None:
        """``page`` makes the page of the run that has more to tell than its load. KS-OUT-001 where
        that is refused."""
        from lab.local.stored.reports import write

        if self.html is not None:
            write(self.html, _alone(report) if page is None else page())
            say(f"written: {self.html}")
        if self.hgrm is not None:
            from chaos.load.histogram import decode_histogram, percentile_file

            write(self.hgrm, percentile_file(decode_histogram(report.items[-1].histogram)))
            say(f"written: {self.hgrm}")


def _alone(report: LoadReport) -> bytes:
    from lab.load.page import page

    return page(report).encode()


NO_FILES = LoadFiles()


COLUMNS = (
    field("operation"),
    field("offered"),
    field("ok"),
    field("failed"),
    field("ok_per_s", "OK/S"),
    field("p50_ms", "P50 MS"),
    field("p90_ms", "P90 MS"),
    field("p99_ms", "P99 MS"),
    field("p999_ms", "P99.9 MS"),
    field("max_ms", "MAX MS"),
)


def tell(report: LoadReport, options: LabOptions) -> None:
    """Show it."""
    show(report, options.output, COLUMNS, (("ERRORS", _errors),), key="operation")
    if options.output not in (Format.TABLE, Format.WIDE):
        return
    for one in report.items[:-1]:
        if one.errors:
            plain(f"{one.operation}: {_errors(one)}")
    for held in report.thresholds:
        word = {True: "holds", False: "does not hold", None: "nothing to measure"}[held.holds]
        value = "" if held.value is None else f", measured {_value(held.threshold, held.value)}"
        plain(f"{held.threshold}: {word}{value}")
    _own(report)


def _errors(one: LoadOperation) -> str:
    return ", ".join(f"{times} {name}" for name, times in one.errors.items())


def _value(threshold: str, value: float) -> str:
    if ".errors" in threshold:
        return f"{value * 100:g}%"
    return f"{value:g}/s" if ".rate" in threshold else f"{value:g} ms"


def _own(report: LoadReport) -> None:
    """How the generator did, and what that says of the figures."""
    own, every = report.generator, report.items[-1]
    cpu = "" if own.cpu_share is None else f", own CPU {own.cpu_share * 100:.0f} % of a core"
    say(
        f"drawn {own.drawn} ({own.drawn_per_s:g}/s), offered {every.offered}"
        f" ({every.offered_per_s:g}/s), of its own late {own.late}"
        f" (p99 {own.late_p99_ms:g} ms){cpu}"
    )
    if own.held:
        say(f"{own.held} waited for others: {own.outstanding} were under way (--outstanding)")
    if own.saturated:
        say("the load generator was saturated and started too many operations late")
    for change in report.changes:
        say(f"its rate was {change.rate} from {change.at:g} s on: it was changed while it ran")
    facts = ", ".join(f"{name} {value}" for name, value in report.facts.items())
    say(f"{report.verdict}: {facts}")
    if report.run:
        say(f"run {report.run}")


def tell_rate(answer: LoadRate, options: LabOptions) -> None:
    """A changed rate."""
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
    else:
        plain(f"{answer.run}: {answer.rate} from {answer.at:g} s on, in place of {answer.was}")


def tell_both(answer: LoadComparison, options: LabOptions) -> None:
    """Two loads; what was not the same to begin with is on stderr."""
    columns = (
        field("operation"),
        field("a_ok_per_s", "OK/S A"),
        field("b_ok_per_s", "OK/S B"),
        field("a_failed", "FAILED A"),
        field("b_failed", "FAILED B"),
        field("a_p50_ms", "P50 MS A"),
        field("b_p50_ms", "P50 MS B"),
        field("a_p99_ms", "P99 MS A"),
        field("b_p99_ms", "P99 MS B"),
        field("p99_ratio", "P99 B/A"),
    )
    show(answer, options.output, columns, key="operation")
    for one in answer.conditions:
        say(f"not the same: {one.what}: {one.a} and {one.b}")


T = TypeVar("T")
MOST_VCENTERS = 1_000
MOST_OUTSTANDING = 20_000
SEEDS = 1 << 63


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Target:
    """A key server, and the certificates for it."""

    server: Annotated[str, Parameter(help="HOST:PORT of a key server.")]
    cert: Annotated[Path, Parameter(help="Client certificate and its chain, PEM.")]
    key: Annotated[Path, Parameter(help="Private key of the certificate, PEM, not encrypted.")]
    ca: Annotated[Path, Parameter(help="Authority of the server's certificate, PEM.")]
    vcenters: Annotated[
        int, Parameter(help="Number of vCenters, each with its own connections.")
    ] = 4
    connection: Annotated[
        Literal["faithful", "pooled"],
        Parameter(help="One connection per session, or pooled connections."),
    ] = "faithful"
    timeout: Annotated[str, Parameter(help="Time-out of each handshake and each answer.")] = "30s"
    username: Annotated[str, Parameter(help="User name of the server's entry.")] = ""
    password_file: Annotated[
        Path | None, Parameter(help="File whose first line is the password.")
    ] = None

    def load_server(self) -> LoadedServer:
        """Read the files. Raises KS-USE-003, KS-KMIP-004."""
        from lab.kmip.credentials import certificates, login, pair, server_addresses
        from lab.load.offering import LoadedServer
        from services.runtime.streams import TlsIdentity

        check_range("--vcenters", self.vcenters, 1, MOST_VCENTERS)
        within_s = duration("--timeout", self.timeout)
        if not within_s:
            raise KeysteadError("KS-USE-003", f"--timeout {self.timeout}: above 0")
        [address] = server_addresses((self.server,))
        return LoadedServer(
            address=str(address),
            identity=TlsIdentity(*pair(self.cert, self.key), certificates(self.ca)),
            vcenters=self.vcenters,
            within_s=within_s,
            pooled=self.connection == "pooled",
            login=login(self.username, self.password_file),
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The load, and its thresholds."""

    rate: Annotated[
        str, Parameter(help="300/s, a ramp 100/s..400/s, or steps 100/s:30s,400/s:1m.")
    ] = "50/s"
    duration: Annotated[str, Parameter(help="Duration; not for steps, which have their own.")] = ""
    warmup: Annotated[str, Parameter(help="Warm-up time at the first rate, not measured.")] = ""
    mix: Annotated[
        str | None, Parameter(help="Operations with weights, such as get:80,create:20.")
    ] = None
    threshold: Annotated[
        tuple[str, ...], Parameter(help="Threshold, such as 'get.p99 < 50ms'; can be repeated.")
    ] = ()
    arrivals: Annotated[
        Literal["poisson", "even"], Parameter(help="Distribution of the arrivals.")
    ] = "poisson"
    seed: Annotated[int, Parameter(help="Seed of the arrivals.")] = 1
    outstanding: Annotated[int, Parameter(help="Maximum of operations under way.")] = 500

    def read_offer(
        self, target: str, known: Sequence[str], usual: Mapping[str, int]
    ) -> tuple[LoadTerms, Profile]:
        """Read the options. Raises KS-USE-003, KS-LOAD-001."""
        from chaos.load.arrivals import Spread, length, read_mix, read_profile
        from chaos.load.planned import read_threshold
        from lab.load.report import LoadTerms

        check_range("--outstanding", self.outstanding, 1, MOST_OUTSTANDING)
        check_seed(self.seed)
        warmup = duration("--warmup", self.warmup)
        profile = read("--rate", lambda: read_profile(self.rate, self.duration, warmup))
        mix = self.mix
        weights = dict(usual) if mix is None else read("--mix", lambda: read_mix(mix, known))
        limits = [
            read("--threshold", partial(read_threshold, text, tuple(weights)), "KS-LOAD-001")
            for text in self.threshold
        ]
        asked = LoadTerms(
            target=target,
            rate=self.rate,
            mix=weights,
            spread=Spread(self.arrivals),
            seed=self.seed,
            warmup=warmup,
            length=length(profile),
            thresholds=tuple(limits),
            outstanding=self.outstanding,
        )
        return asked, profile


USUAL = LoadOptions()


def kmip(
    target: Target,
    offer: LoadOptions = USUAL,
    *,
    files: LoadFiles = NO_FILES,
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Load a key server like vCenters do, at a fixed rate that does not depend on its answers.

    keystead load kmip --server kms:5696 --ca ca.pem --cert vc.pem --key vc.key --duration 1m
    keystead load kmip --server kms:5696 --ca ca.pem --cert vc.pem --key vc.key --vcenters 20 \
--rate 100/s..400/s --duration 2m --threshold 'get.p99 < 50ms'

    The seed determines all arrivals in advance. Latency is measured from the time at which an
    operation was due. Operations: get, create, activate, locate, destroy. Created keys stay at the
    server; the results are stored as a run. Exit codes: 0 all thresholds hold, 1 one does not,
    2 unknown: nothing was measured, or the load generator was too slow; 130 after Ctrl-C or
    SIGTERM, with a report until then.
    """
    from lab.load.offering import fits, offer_load
    from lab.load.stored_loads import begin
    from lab.load.vcenters import DEFAULT_MIX, OPERATIONS
    from lab.schema.answers.load import EXIT_CODES

    files.check()
    asked, profile = offer.read_offer(target.server, OPERATIONS, DEFAULT_MIX)
    server = target.load_server()
    fits(server, asked)
    folder = begin(asked.seed)
    say(f"run {folder.run}: {asked.rate} at {server.address}")
    with telling(Style.NONE if options.quiet else progress, "load") as tell:
        report = offer_load(
            server,
            asked._replace(target=server.address),
            profile,
            folder,
            tell=tell,
            interrupted=lambda until: _keep_report(until, folder, options, files),
        )
    _keep_report(report, folder, options, files)
    return EXIT_CODES[report.verdict]


def compare(
    a: str,
    b: str,
    *,
    html: Annotated[Path | None, Parameter(help="File for the comparison in HTML.")] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Compare two stored loads: rates, errors, latencies, and differences of their settings.

    keystead load compare load-kmip-1 load-kmip-1-2
    keystead load compare load-kmip-1 load-kmip-1-2 --html both.html
    """
    from lab.load.stored_loads import compare_loads, load_of
    from lab.local.stored.reports import place_for, write

    place_for("--html", html)
    first, second = load_of(a), load_of(b)
    answer = compare_loads(first, second)
    tell_both(answer, options)
    if html is not None:
        from lab.load.page import pair

        write(html, pair(first, second, answer).encode())
        say(f"written: {html}")


def _keep_report(
    report: LoadReport, folder: RunFolder, options: LabOptions, files: LoadFiles
) -> None:
    """As a run, on the terminal, in files. Where the first is refused (KS-LAB-005) the others have
    the figures all the same: nobody can measure them again."""
    from lab.load.stored_loads import keep

    try:
        kept = keep(report, folder)
    except KeysteadError:
        tell(report, options)
        try:
            files.write(report)
        except KeysteadError as error:
            say(f"error {error.id}: {error}")
        raise
    tell(kept, options)
    files.write(kept)


def read(option: str, read: Callable[[], T], id: str = "KS-USE-003") -> T:
    """What an option says; its ``ValueError`` for people."""
    try:
        return read()
    except ValueError as error:
        raise KeysteadError(id, f"{option}: {error}") from None


def check_seed(seed: int) -> None:
    """KS-USE-003 for what is no seed."""
    check_range("--seed", seed, 0, SEEDS - 1)


def rate(rate: str, run: str = "", *, options: LabOptions = LAB_DEFAULTS) -> None:
    """Change the rate of a running load, from now to its end.

    keystead load rate 400/s
    keystead load rate 400/s load-kmip-1

    RUN is needed if several loads run; the rate 0/s pauses the load. The later arrivals are drawn
    again from the seed, and the report shows the change. The rate of a load in virtual time cannot
    be changed; use steps.
    """
    from chaos.load.arrivals import read_rate
    from lab.runs.load_control import tell, the_one
    from lab.schema.answers.load import LoadRate

    read("RATE", lambda: read_rate(rate))
    folder = the_one(run)
    changed = tell(folder, rate)
    answer = LoadRate(run=folder.run, rate=rate.strip(), was=changed.was, at=changed.at)
    tell_rate(answer, options)
