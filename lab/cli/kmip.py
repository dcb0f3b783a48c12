"""``kmip``: KMIP without a lab: a key server in the foreground, conversations in XML, and ``kmip
replay``, vCenter's flow against any key server.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from lab.cli.arguments import check_range, duration
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, PRINTED, LabOptions, Printed
from lab.cli.output import document, is_document, plain, say, show, show_one, table
from lab.cli.progress import Style, telling
from lab.schema.errors import KeysteadError
from lab.schema.tables import field, moment
from protocol import names
from protocol.printable import one_line, quote_if_needed
from protocol.terms import RootKind

if TYPE_CHECKING:
    from lab.kmip.replay.running import ReplayPlan, ReplaySettings
    from lab.schema.answers.kmip import KmipServer, ReplayReport


FOLDER: Final = Path("keystead-kmip")


def cases(
    folder: Path,
    *,
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Play KMIP test cases of OASIS (XML files), each against a new key server.

    keystead kmip cases kmip-1.2
    keystead kmip cases kmip-1.2 -o json

    Requests and responses are encoded as KMIP (TTLV). A file passes if all its expected fields have
    the expected values; of dates and random values only the type is compared. A file is skipped,
    with the reason, if it needs a feature that the server does not have. Exit codes: 0 no file
    failed, 1 a file failed.
    """
    from lab.local.kmip import cases as play

    style = Style.NONE if options.quiet else progress
    with telling(style, "conversations") as report:
        answer = play(folder, report)
    if is_document(options.output):
        document(answer, options.output)
        return 1 if answer.failed else 0
    for one in answer.cases:
        what = f"{one.result}: {one.why}" if one.why else one.result
        plain(one.file if options.output is Format.NAME else f"{one.file} {what}")
    say(f"{answer.passed} passed, {answer.failed} failed, {answer.skipped} skipped")
    return 1 if answer.failed else 0


Role = Literal["client", "operator", "owner", "vsan", "kps"]
Audit = Literal["durable", "buffered"]
Pem = tuple[Path, ...]


def serve(
    *,
    listen: Annotated[str, Parameter(help="HOST:PORT; 0: any free port.")] = "127.0.0.1:5696",
    folder: Annotated[Path, Parameter(help="Folder of the key server.")] = FOLDER,
    cert: Annotated[Path | None, Parameter(help="The server's certificate, PEM.")] = None,
    key: Annotated[Path | None, Parameter(help="Its private key, PEM.")] = None,
    ca: Annotated[Path | None, Parameter(help="Authority of client certificates, PEM.")] = None,
    trust: Annotated[Pem, Parameter(help="Client certificate to accept; can be repeated.")] = (),
    revoke: Annotated[Pem, Parameter(help="Client certificate to refuse; can be repeated.")] = (),
    role: Annotated[Role, Parameter(help="Role of the clients of --trust.")] = "owner",
    scope: Annotated[str, Parameter(help="Scope of the clients of --trust.")] = "default",
    audit: Annotated[Audit, Parameter(help="When reads get on the audit trail.")] = "durable",
    accept_rollback: Annotated[bool, Parameter(help="Serve from an older database.")] = False,
    username: Annotated[str, Parameter(help="User name that clients must also send.")] = "",
    password_file: Annotated[Path | None, Parameter(help="File with the password.")] = None,
    passphrase_file: Annotated[
        Path | None, Parameter(help="File with a passphrase that seals the keys.")
    ] = None,
    rotate_kek: Annotated[bool, Parameter(help="Wrap all keys under a new KEK.")] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Run a key server that speaks KMIP 1.0 to 1.4 over TLS, without a lab, until Ctrl-C.

    keystead kmip serve --listen 127.0.0.1:0 --folder /tmp/keys
    keystead kmip serve --trust app.pem --role client --scope apps -o json
    keystead kmip serve --passphrase-file words

    Without --cert, --key and --ca the server creates its certificates in the folder, and a first
    client certificate. --trust and --revoke change the server's table of clients, which it keeps.
    A client with a valid certificate that is not in the table gets Permission Denied. With
    ``--audit durable`` the audit record of a read is on disk before the key is sent; with
    ``buffered`` it is written up to 50 ms later, and a crash can lose it. With --username clients
    must also send that user name and its password. A server with a passphrase needs it at each
    start.
    """
    from lab.kmip.credentials import server_login
    from lab.kmip.server import KmipServerSettings
    from lab.local.kmip import serve as run
    from services.kms.settings.config import Auditing, KmsRole

    host, port = _place(listen)
    if fault := names.SCOPE.fault(scope):
        raise KeysteadError("KS-USE-003", f"--scope: {fault}")
    settings = KmipServerSettings(
        folder=folder,
        host=host,
        port=port,
        files=_files(cert, key, ca),
        trust=trust,
        revoke=revoke,
        role=KmsRole(role),
        scope=scope,
        audit=Auditing(audit),
        accept_rollback=accept_rollback,
        login=server_login(username, password_file),
        passphrase_file=passphrase_file,
        rotate_kek=rotate_kek,
    )
    run(settings, lambda server: _serves(server, options), _report_record)


def set_root(
    *,
    root: Annotated[RootKind, Parameter(help="keyfile or passphrase.")],
    folder: Annotated[Path, Parameter(help="Folder of the key server.")] = FOLDER,
    passphrase_file: Annotated[
        Path | None, Parameter(help="File whose first line is the new passphrase.")
    ] = None,
    old_passphrase_file: Annotated[
        Path | None, Parameter(help="File whose first line is the present passphrase.")
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Seal the keys of a stopped key server with another passphrase or with a key file.

    keystead kmip set-root --root passphrase --passphrase-file new --old-passphrase-file words
    keystead kmip set-root --folder /tmp/keys --root keyfile --old-passphrase-file words

    The change is atomic: after a crash either the old or the new root opens the keys. The keys
    themselves do not change. The audit trail records the change (Change Root).
    """
    from lab.kmip.server import Reseal
    from lab.local.kmip import set_root as run

    answer = run(Reseal(folder, root, passphrase_file, old_passphrase_file), _report_record)
    columns = (field("folder"), field("root"), ("KEK", lambda row: row.kek))
    show_one(answer, options.output, columns, key="folder")


def cut_trail(
    *,
    before: Annotated[str, Parameter(help="Date, or date and time (UTC), such as 2026-08-30.")],
    to: Annotated[Path, Parameter(help="New file for the rows.")],
    folder: Annotated[Path, Parameter(help="Folder of the key server.")] = FOLDER,
    passphrase_file: Annotated[
        Path | None, Parameter(help="File whose first line is the passphrase.")
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Move old rows of a stopped key server's audit trail to a file.

    keystead kmip cut-trail --before 2026-08-30 --to trail-2026-08.jsonl
    keystead kmip cut-trail --folder /tmp/keys --before 2026-08-30T12:00 --to old.jsonl -o json

    The file is on disk before the rows are removed; ``kmip verify-trail`` checks it. The trail
    keeps a signed record of the cut, so that rows cannot be removed unnoticed in another way.
    """
    from lab.kmip.trails import Cutting
    from lab.local.kmip import cut_trail as run

    answer = run(Cutting(folder, _time(before), to, passphrase_file), _report_record)
    if not answer.rows:
        say("no row of the trail is older; nothing was cut, and no file was written")
    show_one(answer, options.output, _TRAIL, key="digest")


def verify_trail(
    *files: Path,
    folder: Annotated[
        Path | None, Parameter(help="Folder of the key server, which must be stopped.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, Parameter(help="File whose first line is the passphrase.")
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Verify files of ``kmip cut-trail``, in their order: all rows, and that none is missing.

    keystead kmip verify-trail trail-2026-08.jsonl trail-2026-09.jsonl
    keystead kmip verify-trail trail-2026-08.jsonl --folder /tmp/keys -o json

    With --folder the files are also compared with the server's signed records of its cuts, which
    detects a file that was forged with correct digests.
    """
    from lab.kmip.trails import Verifying
    from lab.local.kmip import verify_trail as run

    if not files:
        raise KeysteadError("KS-USE-003", "name one file or several, in their order")
    if folder is None and passphrase_file is not None:
        raise KeysteadError("KS-USE-003", "--passphrase-file needs --folder")
    answer = run(Verifying(files, folder, passphrase_file), _report_record)
    show_one(answer, options.output, _TRAIL, key="digest")


def _time(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        shown = f"--before {quote_if_needed(text)}: a date, or a date and time, as 2026-08-30T12:00"
        raise KeysteadError("KS-USE-003", shown) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


_TRAIL: Final = (
    field("rows"),
    field("first"),
    field("last"),
    ("SINCE", lambda row: moment(row.since)),
    ("UNTIL", lambda row: moment(row.until)),
    field("digest"),
)


def _place(listen: str) -> tuple[str, int]:
    """Address and port; one of IPv6 is in brackets, or nobody knows where its port begins."""
    host, _, port = listen.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    plain_host = bare and (bare != host or ":" not in host) and not set(bare) & set("[]")
    if not plain_host or not port.isdecimal() or int(port[:6]) > 65_535:
        text = (
            f"--listen {quote_if_needed(listen)}: an address and a port, as host:port or [::1]:port"
        )
        raise KeysteadError("KS-USE-003", text)
    return bare, int(port)


def _files(cert: Path | None, key: Path | None, ca: Path | None) -> Any:
    """The files that were given; None when they are to be made."""
    from lab.kmip.credentials import ServerFiles

    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None or ca is None:
        raise KeysteadError("KS-USE-003", "give --cert, --key and --ca together, or none of them")
    return ServerFiles(cert, key, ca)


def _serves(server: KmipServer, options: LabOptions) -> None:
    if is_document(options.output):
        document(server, options.output)
    else:
        plain(f"KMIP is served at {server.address}, with the keys of {server.folder}")
        plain(f"  authority of its certificate: {server.authority}")
        if server.client_certificate:
            plain(f"  a first client: {server.client_certificate} with {server.client_key}")
        for one in server.clients:
            standing = "revoked" if one.revoked else f"{one.role} in scope {one.scope}"
            plain(one_line(f"  {one.name}: {standing}"))
        say("Ctrl-C ends it")
    sys.stdout.flush()


def _report_record(kind: str, fields: dict[str, Any]) -> None:
    """What the server writes down, if somebody has to know of it."""
    if fields.get("level") in ("warning", "error"):
        said = ", ".join(f"{name}={value}" for name, value in fields.items() if name != "level")
        say(f"{kind}: {said}")


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
        from lab.kmip.credentials import login, server_addresses
        from lab.kmip.replay.running import ReplaySettings
        from lab.kmip.replay.trust_flows import EXPIRED, Pair, identities, of_flows, parts

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
        from lab.kmip.replay.failover import Outage
        from lab.kmip.replay.findings import PlayPhase
        from lab.kmip.replay.isolation_and_storm import MOST_HOSTS
        from lab.kmip.replay.running import PHASES, ReplayPlan, split
        from lab.kmip.replay.trust_flows import parts

        check_range("--keys", self.keys, 0, MOST_KEYS)
        check_range("--hosts", self.hosts, 1, MOST_HOSTS)
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
        from lab.kmip.replay.page import page
        from lab.kmip.replay.reporting import replay_junit
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
    from lab.schema.answers.kmip import TrustFlowList, TrustFlowPart

    parts = ensure_parts(folder, common_name)
    answer = TrustFlowList(items=tuple(TrustFlowPart(**part._asdict()) for part in parts))
    columns = (field("flow"), field("ready"), field("give"), field("then", "THEN"))
    show(answer, options.output, columns, key="flow")


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
