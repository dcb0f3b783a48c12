"""``kmip replay``: vCenter's flow against any key server, without a lab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import field, plain, say, show
from lab.cli.progress import Style, telling
from lab.cli.values import duration
from lab.errors import KeysteadError

if TYPE_CHECKING:
    from lab.api.answers.kmip import ReplayReport

MOST_KEYS = 1_000_000


def replay(
    *,
    server: Annotated[tuple[str, ...], Parameter(help="HOST:PORT; again: others of one provider.")],
    cert: Annotated[Path, Parameter(help="PEM: the client's certificate, and those above it.")],
    key: Annotated[Path, Parameter(help="PEM: its private key, not encrypted.")],
    ca: Annotated[Path, Parameter(help="PEM: what the server's certificate must lead to.")],
    keys: Annotated[int, Parameter(help="How many keys are made.")] = 3,
    soak: Annotated[str, Parameter(help="Go on for so long, a key at a time.")] = "",
    connection: Annotated[
        Literal["faithful", "pooled"], Parameter(help="One for each task, or kept ones.")
    ] = "faithful",
    timeout: Annotated[str, Parameter(help="For each handshake and each answer.")] = "30s",
    username: Annotated[str, Parameter(help="User name of the server's entry.")] = "",
    password_file: Annotated[
        Path | None, Parameter(help="A file whose first line is the password.")
    ] = None,
    progress: Annotated[Style, Parameter(help="How progress is told.")] = Style.AUTO,
    options: Options = DEFAULTS,
) -> int:
    """Play vCenter's flow against a key server; tell each step, and what vCenter would do.

    keystead kmip replay --server kms:5696 --ca ca.pem --cert vc.pem --key vc.key
    keystead kmip replay --server a:5696 --server b:5696 --ca ca.pem --cert vc.pem --key vc.key

    The server is added, looked at, asked for keys, which are tagged, used, and fetched again from
    each of the servers. The keys stay there, as vCenter destroys none. Exit codes: 0 it works, 1
    encryption works and something does not, 2 a vCenter could not work with it, 64 what is given
    here cannot be used. Ctrl-C ends it with the report of what was played.
    """
    if not 0 <= keys <= MOST_KEYS:
        raise KeysteadError("KS-USE-003", f"--keys {keys}: 0 to {MOST_KEYS}")
    soak_s, within_s = duration("--soak", soak), duration("--timeout", timeout)
    if not within_s:
        raise KeysteadError("KS-USE-003", f"--timeout {timeout}: above 0")
    from lab.kmip.certificates import certificates, pair
    from lab.kmip.replaying import login, replayed, server_names
    from services.runtime.streams import TlsIdentity

    names = server_names(server)
    shown = TlsIdentity(*pair(cert, key), certificates(ca))
    by = login(username, password_file)
    with telling(progress, "vCenter's flow") as tell:
        report = replayed(
            names,
            shown,
            keys=keys,
            soak_s=soak_s,
            within_s=within_s,
            pooled=connection == "pooled",
            login=by,
            tell=tell,
            interrupted=lambda until_then: _show(until_then, options),
        )
    _show(report, options)
    return {"works": 0, "degraded": 1}.get(report.verdict, 2)


def _show(report: ReplayReport, options: Options) -> None:
    columns = (
        field("server"),
        field("step"),
        field("times"),
        field("failed"),
        field("p50_ms", "P50 MS"),
        field("p99_ms", "P99 MS"),
        field("worst_ms", "WORST MS"),
    )
    show(report, options.output, columns, key="step")
    if options.output not in (Format.TABLE, Format.WIDE):
        return
    for found in report.findings:
        often = "once" if found.times == 1 else f"{found.times} times"
        plain(f"{found.weight}: {found.phase}, {found.step} at {found.server}, {often}")
        plain(f"  {found.error}")
        plain(f"  vCenter: {found.vcenter}")
    say(f"{report.verdict}: {report.keys} keys made, {report.seconds:.1f} s")
