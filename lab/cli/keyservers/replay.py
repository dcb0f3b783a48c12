"""``kmip replay``: vCenter's flow against any key server, without a lab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.options import PRINTED, Printed
from lab.cli.output import plain, say, show, table
from lab.cli.progress import Style, telling
from lab.cli.values import duration
from lab.schema.errors import KeysteadError
from lab.schema.tables import field

if TYPE_CHECKING:
    from lab.kmip.replay.playing import ReplayPlan
    from lab.kmip.replay.running import ReplaySettings
    from lab.schema.answers.replay import ReplayReport

MOST_KEYS = 1_000_000
_FLOWS = Path("keystead-trust-flows")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reached:
    """The servers, and the certificates for them."""

    server: Annotated[
        tuple[str, ...], Parameter(help="HOST:PORT; repeat it for several servers of one provider.")
    ]
    cert: Annotated[Path, Parameter(help="vCenter's certificate and its chain, PEM.")]
    key: Annotated[Path, Parameter(help="Private key of the certificate, PEM, not encrypted.")]
    ca: Annotated[Path, Parameter(help="Authority of the server's certificate, PEM.")]
    identity: Annotated[
        tuple[str, ...],
        Parameter(
            help="ROLE=CERT,KEY of more clients: expired, other, vsan-host, key-provider-service."
        ),
    ] = ()
    trust_flows: Annotated[
        Path | None, Parameter(help="Folder of `kmip trust-flows`, to test these flows.")
    ] = None
    connection: Annotated[
        Literal["faithful", "pooled"],
        Parameter(help="One connection per task, or pooled connections."),
    ] = "faithful"
    timeout: Annotated[str, Parameter(help="Time-out of each handshake and each answer.")] = "30s"
    username: Annotated[str, Parameter(help="User name of the server's entry.")] = ""
    password_file: Annotated[
        Path | None, Parameter(help="File whose first line is the password.")
    ] = None

    def settings(self) -> ReplaySettings:
        """Read and check the options. Raises KS-USE-003, KS-KMIP-004."""
        from lab.kmip.addresses import login, server_addresses
        from lab.kmip.replay.identities import EXPIRED, Pair, identities, of_flows
        from lab.kmip.replay.running import ReplaySettings
        from lab.kmip.replay.trust_flows import parts

        within_s = duration("--timeout", self.timeout)
        if not within_s:
            raise KeysteadError("KS-USE-003", f"--timeout {self.timeout}: above 0")
        given = identities(self.identity)
        flows = self.trust_flows
        return ReplaySettings(
            servers=server_addresses(self.server),
            client=Pair(certificate=self.cert, key=self.key),
            ca=self.ca,
            expired=given.get(EXPIRED),
            others={name: pair for name, pair in given.items() if name != EXPIRED},
            flows={} if flows is None else of_flows(flows, parts(flows)),
            within_s=within_s,
            connection=self.connection,
            login=login(self.username, self.password_file),
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """The phases and their sizes."""

    vcenter: Annotated[
        Literal["7.0", "8.0", "9.0"], Parameter(help="Release of vCenter to play.")
    ] = "8.0"
    phase: Annotated[
        tuple[Literal["flow", "failover", "isolation", "storm"], ...],
        Parameter(help="Phase to play after trust; can be repeated. Default: all."),
    ] = ()
    keys: Annotated[int, Parameter(help="Number of VMs to encrypt.")] = 3
    hosts: Annotated[int, Parameter(help="Number of hosts that fetch their keys at once.")] = 32
    primary_key: Annotated[
        str, Parameter(help="Id of a trusted provider's primary key. Default: a new key.")
    ] = ""
    visible: Annotated[
        str, Parameter(help="Time limit until a new key is at the other servers.")
    ] = "30s"
    outage: Annotated[str, Parameter(help="Command that stops the first server.")] = ""
    recovery: Annotated[str, Parameter(help="Command that starts it again.")] = ""
    soak: Annotated[str, Parameter(help="Duration of a soak test, one key at a time.")] = ""
    expiry_days: Annotated[
        float, Parameter(help="Report a certificate that expires within this number of days.")
    ] = 30.0
    cleanup: Annotated[
        bool, Parameter(negative="", help="Destroy the keys at the end, which vCenter does not do.")
    ] = False

    def plan(self, reached: Reached) -> ReplayPlan:
        """Check the options. Raises KS-USE-003."""
        from lab.kmip.replay.commands import split
        from lab.kmip.replay.failover import Outage
        from lab.kmip.replay.findings import PlayPhase
        from lab.kmip.replay.playing import PHASES, ReplayPlan
        from lab.kmip.replay.storm import MOST_HOSTS
        from lab.kmip.replay.trust_flows import parts

        _between("--keys", self.keys, 0, MOST_KEYS)
        _between("--hosts", self.hosts, 1, MOST_HOSTS)
        if not self.expiry_days >= 0:
            raise KeysteadError("KS-USE-003", f"--expiry-days {self.expiry_days:g}: 0 or more")
        if bool(self.outage) is not bool(self.recovery):
            raise KeysteadError(
                "KS-USE-003", "give --outage and --recovery together, or neither of them"
            )
        for option, command in (("--outage", self.outage), ("--recovery", self.recovery)):
            if command:
                split(option, command)
        flows = reached.trust_flows
        return ReplayPlan(
            vcenter=self.vcenter,
            phases=frozenset(map(PlayPhase, self.phase or PHASES)),
            keys=self.keys,
            hosts=self.hosts,
            soak_s=duration("--soak", self.soak),
            expiry_days=self.expiry_days,
            visible_s=duration("--visible", self.visible),
            primary_key=self.primary_key,
            flows=() if flows is None else parts(flows),
            outage=Outage(self.outage, self.recovery) if self.outage else None,
            isolation=any(text.startswith("other=") for text in reached.identity),
            cleanup=self.cleanup,
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReplayFiles:
    """The files of the report."""

    html: Annotated[Path | None, Parameter(help="File for the report as HTML.")] = None
    junit: Annotated[Path | None, Parameter(help="File for the report as JUnit XML.")] = None

    def check(self) -> None:
        """Raise KS-USE-003 if a file cannot be written, before anything is played."""
        from lab.local.stored.reports import place_for

        place_for("--html", self.html)
        place_for("--junit", self.junit)

    def write(self, report: ReplayReport) -> None:
        """Write the files. Raises KS-OUT-001 if that fails."""
        from lab.kmip.replay.junit import replay_junit
        from lab.kmip.replay.page import page
        from lab.local.stored.reports import write

        if self.html is not None:
            write(self.html, page(report).encode())
        if self.junit is not None:
            write(self.junit, replay_junit(report))
        for file in filter(None, (self.html, self.junit)):
            say(f"written: {file}")


USUAL: Final = ReplayOptions()
NO_FILES: Final = ReplayFiles()


def replay(
    *,
    reached: Reached,
    asked: ReplayOptions = USUAL,
    files: ReplayFiles = NO_FILES,
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: Printed = PRINTED,
) -> int:
    """Play vCenter's KMIP flow against a key server, and report whether it works with vCenter.

    keystead kmip replay --server kms:5696 --ca ca.pem --cert vc.pem --key vc.key
    keystead kmip replay --server a:5696 --server b:5696 --ca ca.pem --cert vc.pem --key vc.key
    keystead kmip replay --server kms --ca ca.pem --cert vc.pem --key vc.key --html report.html

    Phases: trust (certificates), flow (keys as vCenter, vSAN hosts and a Key Provider Service use
    them), failover (several servers), isolation (another client), storm (many hosts at once). The
    keys stay at the server, because vCenter destroys no keys, unless --cleanup is given. Exit
    codes: 0 it works, 1 it works with notices, 2 it does not work, 64 invalid options. Ctrl-C ends
    the command with a report of the steps so far.
    """
    from lab.kmip.replay.findings import EXIT_CODES, ReplayVerdict
    from lab.kmip.replay.running import run_replay

    settings, plan = reached.settings(), asked.plan(reached)
    files.check()

    def write_and_show(report: ReplayReport) -> None:
        files.write(report)
        _show(report, options)

    with telling(Style.NONE if options.quiet else progress, "vCenter's flow") as tell:
        report = run_replay(settings, plan, tell=tell, interrupted=write_and_show)
    write_and_show(report)
    return EXIT_CODES[ReplayVerdict(report.verdict)]


def trust_flows(
    *,
    folder: Annotated[
        Path, Parameter(help="Folder of the files; existing files are kept.")
    ] = _FLOWS,
    common_name: Annotated[
        str, Parameter(help="Name of vCenter in its certificates.")
    ] = "vcenter.keystead.test",
    options: Printed = PRINTED,
) -> None:
    """Create the files that a vCenter gives to a key server in each of its four trust flows.

    keystead kmip trust-flows --folder vc
    keystead kmip trust-flows --folder vc --common-name vc.example -o json

    root-ca: the server trusts an authority. certificate: it trusts a self-signed certificate of
    vCenter. signing-request: its authority signs a request. upload: it issues a certificate and a
    private key. The command prints the steps for the server's owner; run it again to see the
    progress. `kmip replay --trust-flows FOLDER` plays the flows that are complete.
    """
    from lab.kmip.replay.trust_flows import ensure_parts
    from lab.schema.answers.replay import TrustFlowList, TrustFlowPart

    parts = ensure_parts(folder, common_name)
    answer = TrustFlowList(items=tuple(TrustFlowPart(**part._asdict()) for part in parts))
    columns = (field("flow"), field("ready"), field("give"), field("then", "THEN"))
    show(answer, options.output, columns, key="flow")


def _between(option: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise KeysteadError("KS-USE-003", f"{option} {value}: {least} to {most}")


def _show(report: ReplayReport, options: Printed) -> None:
    if options.output not in (Format.TABLE, Format.WIDE):
        show(report, options.output, (), key="step")
        return
    table(_PHASES, report.phases)
    plain("")
    wide = options.output is Format.WIDE
    table(_STEPS, [step for step in report.items if wide or step.phase in ("flow", "storm")])
    for found in report.findings:
        often = "once" if found.times == 1 else f"{found.times} times"
        plain(f"\n{found.level}: {found.title} ({found.id})")
        plain(f"  at:      {found.server}, {found.step}, {often}")
        plain(f"  seen:    {found.seen}")
        plain(f"  vCenter: {found.vcenter}")
        plain(f"  fix:     {found.fix}")
    for check in report.checks:
        if check.why:
            plain(f"\nskipped: {check.check} ({check.phase}, {check.server})")
            plain(f"  {check.why}")
    left = f", {len(report.left)} of them left" if report.left else ""
    plain(f"\n{report.verdict}: {report.keys} keys made{left}, {report.seconds:.1f} s")


_PHASES: Final = (
    field("phase"),
    field("result"),
    field("seconds"),
    ("MEASURED OR WHY NOT PLAYED", lambda row: row.why or row.measures or ""),
)
_STEPS: Final = (
    field("phase"),
    field("server"),
    field("step"),
    field("times"),
    field("failed"),
    field("p50_ms", "P50 MS"),
    field("p99_ms", "P99 MS"),
    field("worst_ms", "WORST MS"),
)
