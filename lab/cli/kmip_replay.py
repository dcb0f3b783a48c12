"""``kmip replay``: vCenter's flow against any key server, without a lab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import field, plain, show, table
from lab.cli.progress import Style, telling
from lab.cli.values import duration
from lab.errors import KeysteadError

if TYPE_CHECKING:
    from lab.api.answers.replay import ReplayReport
    from lab.kmip.replay.playing import Plan
    from lab.kmip.replay.running import Settings

MOST_KEYS = 1_000_000


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reached:
    """How the servers are reached, and what they are shown."""

    server: Annotated[tuple[str, ...], Parameter(help="HOST:PORT; again: others of one provider.")]
    cert: Annotated[Path, Parameter(help="PEM: the client's certificate, and those above it.")]
    key: Annotated[Path, Parameter(help="PEM: its private key, not encrypted.")]
    ca: Annotated[Path, Parameter(help="PEM: what the server's certificate must lead to.")]
    expired_cert: Annotated[
        Path | None, Parameter(help="PEM: a certificate of the client that has ended.")
    ] = None
    expired_key: Annotated[Path | None, Parameter(help="PEM: its private key.")] = None
    connection: Annotated[
        Literal["faithful", "pooled"], Parameter(help="One for each task, or kept ones.")
    ] = "faithful"
    timeout: Annotated[str, Parameter(help="For each handshake and each answer.")] = "30s"
    username: Annotated[str, Parameter(help="User name of the server's entry.")] = ""
    password_file: Annotated[
        Path | None, Parameter(help="A file whose first line is the password.")
    ] = None

    def settings(self) -> Settings:
        """The same, read and checked; KS-USE-003, KS-KMIP-004."""
        from lab.kmip.addresses import login, server_addresses
        from lab.kmip.replay.running import Pair, Settings, pair_of

        within_s = duration("--timeout", self.timeout)
        if not within_s:
            raise KeysteadError("KS-USE-003", f"--timeout {self.timeout}: above 0")
        return Settings(
            servers=server_addresses(self.server),
            client=Pair(certificate=self.cert, key=self.key),
            ca=self.ca,
            expired=pair_of("--expired", self.expired_cert, self.expired_key),
            within_s=within_s,
            connection=self.connection,
            login=login(self.username, self.password_file),
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is played."""

    keys: Annotated[int, Parameter(help="How many VMs are encrypted.")] = 3
    soak: Annotated[str, Parameter(help="Go on for so long, a key at a time.")] = ""
    expiry_days: Annotated[
        float, Parameter(help="A certificate with fewer days left ends soon.")
    ] = 30.0

    def plan(self) -> Plan:
        """The same, checked; KS-USE-003."""
        from lab.kmip.replay.playing import Plan

        if not 0 <= self.keys <= MOST_KEYS:
            raise KeysteadError("KS-USE-003", f"--keys {self.keys}: 0 to {MOST_KEYS}")
        if not self.expiry_days >= 0:
            raise KeysteadError("KS-USE-003", f"--expiry-days {self.expiry_days:g}: 0 or more")
        return Plan(
            keys=self.keys, soak_s=duration("--soak", self.soak), expiry_days=self.expiry_days
        )


USUAL: Final = Asked()


def replay(
    *,
    reached: Reached,
    asked: Asked = USUAL,
    progress: Annotated[Style, Parameter(help="How progress is told.")] = Style.AUTO,
    options: Options = DEFAULTS,
) -> int:
    """Play vCenter's flow against a key server, and judge whether a vCenter can work with it.

    keystead kmip replay --server kms:5696 --ca ca.pem --cert vc.pem --key vc.key
    keystead kmip replay --server a:5696 --server b:5696 --ca ca.pem --cert vc.pem --key vc.key

    The server is added to a provider, others than the client are kept out, keys are made, tagged,
    used, and fetched again from each server. The keys stay there, as vCenter destroys none. Exit
    codes: 0 it works, 1 it works with notices, 2 it does not work, 64 what is given here cannot be
    used. Ctrl-C ends it with the report of what was played.
    """
    from lab.kmip.replay.findings import EXIT_CODES, Verdict
    from lab.kmip.replay.running import replayed

    settings, plan = reached.settings(), asked.plan()
    with telling(progress, "vCenter's flow") as tell:
        report = replayed(
            settings, plan, tell=tell, interrupted=lambda until_then: _show(until_then, options)
        )
    _show(report, options)
    return EXIT_CODES[Verdict(report.verdict)]


def _show(report: ReplayReport, options: Options) -> None:
    if options.output not in (Format.TABLE, Format.WIDE):
        show(report, options.output, (), key="step")
        return
    table(_PHASES, report.phases)
    plain("")
    table(_STEPS, report.items)
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
    plain(f"\n{report.verdict}: {report.keys} keys made, {report.seconds:.1f} s")


_PHASES: Final = (field("phase"), field("result"), field("seconds"), field("why"))
_STEPS: Final = (
    field("server"),
    field("step"),
    field("times"),
    field("failed"),
    field("p50_ms", "P50 MS"),
    field("p99_ms", "P99 MS"),
    field("worst_ms", "WORST MS"),
)
