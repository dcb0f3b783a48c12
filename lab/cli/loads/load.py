"""``load kmip``, ``load compare``: an open-loop load on a key server, and its comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import Parameter

from lab.cli.loads.files import NO_FILES, LoadFiles
from lab.cli.loads.results import tell as told
from lab.cli.loads.results import tell_both as told_both
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import say
from lab.cli.progress import Style, telling
from lab.cli.values import duration
from lab.schema.errors import KeysteadError

if TYPE_CHECKING:
    from chaos.load.profile import Profile
    from lab.load.offering import LoadedServer
    from lab.load.report import LoadTerms
    from lab.runs.store import RunFolder
    from lab.schema.answers.load import LoadReport

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
        from lab.kmip.addresses import login, server_addresses
        from lab.kmip.certificates import certificates, pair
        from lab.load.offering import LoadedServer
        from services.runtime.streams import TlsIdentity

        _between("--vcenters", self.vcenters, 1, MOST_VCENTERS)
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
        from chaos.load.arrivals import Spread, read_mix
        from chaos.load.profile import length, read_profile
        from chaos.load.threshold import read_threshold
        from lab.load.report import LoadTerms

        _between("--outstanding", self.outstanding, 1, MOST_OUTSTANDING)
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
    from lab.load.kept import begin
    from lab.load.offering import fits, offer_load
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
    from lab.load.kept import compare_loads, load_of
    from lab.local.stored.reports import place_for, write

    place_for("--html", html)
    first, second = load_of(a), load_of(b)
    answer = compare_loads(first, second)
    told_both(answer, options)
    if html is not None:
        from lab.load.page import pair

        write(html, pair(first, second, answer).encode())
        say(f"written: {html}")


def _keep_report(
    report: LoadReport, folder: RunFolder, options: LabOptions, files: LoadFiles
) -> None:
    """As a run, on the terminal, in files. Where the first is refused (KS-LAB-005) the others have
    the figures all the same: nobody can measure them again."""
    from lab.load.kept import keep

    try:
        kept = keep(report, folder)
    except KeysteadError:
        told(report, options)
        try:
            files.write(report)
        except KeysteadError as error:
            say(f"error {error.id}: {error}")
        raise
    told(kept, options)
    files.write(kept)


def read(option: str, read: Callable[[], T], id: str = "KS-USE-003") -> T:
    """What an option says; its ``ValueError`` for people."""
    try:
        return read()
    except ValueError as error:
        raise KeysteadError(id, f"{option}: {error}") from None


def check_seed(seed: int) -> None:
    """KS-USE-003 for what is no seed."""
    _between("--seed", seed, 0, SEEDS - 1)


def _between(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise KeysteadError("KS-USE-003", f"{what} {value}: {least} to {most}")
