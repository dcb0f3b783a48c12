"""``kmip``: a key server without a lab."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, is_document, plain, say, show_one
from lab.cli.progress import Style, telling
from lab.schema.errors import KeysteadError
from lab.schema.tables import field, moment
from protocol import names
from protocol.printable import one_line, quote_if_needed
from protocol.terms import RootKind

if TYPE_CHECKING:
    from lab.schema.answers.kmip import KmipServer


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
    from lab.kmip.addresses import server_login
    from lab.kmip.serving import KmipServerSettings
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
    from lab.kmip.resealing import Reseal
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
    from lab.kmip.certificates import ServerFiles

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
