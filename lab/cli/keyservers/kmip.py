"""``kmip``: a key server without a lab."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from lab.cli.options import LAB_DEFAULTS, Format, LabOptions
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
    progress: Annotated[Style, Parameter(help="How progress is told.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Play conversations in KMIP's XML (test cases of OASIS), each against a fresh key server.

    keystead kmip cases kmip-1.2
    keystead kmip cases kmip-1.2 -o json

    Requests and answers go through the bytes of KMIP. A file passes when every field that it
    expects is there with its value; dates, and what a server draws, are judged by their kind.
    It is skipped, and says why, when it needs what is not built. Exit codes: 0 none failed, 1
    one did.
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
    listen: Annotated[str, Parameter(help="Address and port; port 0 is any.")] = "127.0.0.1:5696",
    folder: Annotated[Path, Parameter(help="Where it keeps what it has.")] = FOLDER,
    cert: Annotated[Path | None, Parameter(help="The server's certificate, PEM.")] = None,
    key: Annotated[Path | None, Parameter(help="Its private key, PEM.")] = None,
    ca: Annotated[Path | None, Parameter(help="Who issues clients' certificates, PEM.")] = None,
    trust: Annotated[Pem, Parameter(help="A client's certificate, PEM (repeatable).")] = (),
    revoke: Annotated[Pem, Parameter(help="One that is refused from now on, PEM.")] = (),
    role: Annotated[Role, Parameter(help="What the clients of --trust may do.")] = "owner",
    scope: Annotated[str, Parameter(help="Whose keys they share.")] = "default",
    audit: Annotated[Audit, Parameter(help="When rows of reads are on the disk.")] = "durable",
    accept_rollback: Annotated[bool, Parameter(help="Serve from an older database.")] = False,
    username: Annotated[str, Parameter(help="What clients have to say, too.")] = "",
    password_file: Annotated[Path | None, Parameter(help="Its first line: the password.")] = None,
    passphrase_file: Annotated[
        Path | None, Parameter(help="Its first line seals the keys, instead of a key file.")
    ] = None,
    rotate_kek: Annotated[bool, Parameter(help="Wrap all keys under another KEK.")] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Run a key server that speaks KMIP 1.0 to 1.4 over TLS, without a lab, until Ctrl-C.

    keystead kmip serve --listen 127.0.0.1:0 --folder /tmp/keys
    keystead kmip serve --trust app.pem --role client --scope apps -o json
    keystead kmip serve --passphrase-file words

    Without --cert, --key and --ca certificates are made in the folder, those of a first client
    too. Who has been given a role and a scope by --trust keeps it in the server's own table, as
    has who lost it by --revoke. A client that TLS lets pass and that the table does not have is
    answered Permission Denied. With ``--audit durable`` the trail has a key's reading on the disk
    before the key leaves; with ``buffered`` a twentieth of a second later, which a crash loses.
    With --username, who does not say that name with its password gets no key either.
    A folder that a passphrase seals asks for it at each start.
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
    folder: Annotated[Path, Parameter(help="Where the server keeps what it has.")] = FOLDER,
    passphrase_file: Annotated[
        Path | None, Parameter(help="Its first line is the new passphrase.")
    ] = None,
    old_passphrase_file: Annotated[
        Path | None, Parameter(help="Its first line opens the keys now.")
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Have another passphrase, or a key file, seal the keys of a server that does not run.

    keystead kmip set-root --root passphrase --passphrase-file new --old-passphrase-file words
    keystead kmip set-root --folder /tmp/keys --root keyfile --old-passphrase-file words

    It is one change on the disk: whenever the machine stops, the keys open with the old one or
    with the new one. The keys themselves are not touched, and the trail has it (Change Root).
    """
    from lab.kmip.resealing import Reseal
    from lab.local.kmip import set_root as run

    answer = run(Reseal(folder, root, passphrase_file, old_passphrase_file), _report_record)
    columns = (field("folder"), field("root"), ("KEK", lambda row: row.kek))
    show_one(answer, options.output, columns, key="folder")


def cut_trail(
    *,
    before: Annotated[str, Parameter(help="A date, or a date and time (UTC): 2026-08-30.")],
    to: Annotated[Path, Parameter(help="A new file, in which they are then.")],
    folder: Annotated[Path, Parameter(help="Where the server keeps what it has.")] = FOLDER,
    passphrase_file: Annotated[
        Path | None, Parameter(help="Its first line opens the keys.")
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Move old rows of the audit trail into a file, of a server that does not run.

    keystead kmip cut-trail --before 2026-08-30 --to trail-2026-08.jsonl
    keystead kmip cut-trail --folder /tmp/keys --before 2026-08-30T12:00 --to old.jsonl -o json

    The file is on the disk before a row goes, and proves itself (``kmip verify-trail``). The trail
    goes on behind the cut, which is signed and stays: nobody else can shorten it unseen.
    """
    from lab.kmip.trails import Cutting
    from lab.local.kmip import cut_trail as run

    answer = run(Cutting(folder, _time(before), to, passphrase_file), _report_record)
    if not answer.rows:
        say("no row of the trail is older than that; nothing was cut, and there is no file")
    show_one(answer, options.output, _TRAIL, key="digest")


def verify_trail(
    *files: Path,
    folder: Annotated[
        Path | None, Parameter(help="The server that they are from, which does not run.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, Parameter(help="Its first line opens the server's keys.")
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Check files of ``kmip cut-trail``, in their order: every row, and that none is missing.

    keystead kmip verify-trail trail-2026-08.jsonl trail-2026-09.jsonl
    keystead kmip verify-trail trail-2026-08.jsonl --folder /tmp/keys -o json

    Whoever writes a file anew, with all of its digests, is found out with --folder: the server
    knows where its trail was cut, and has signed that.
    """
    from lab.kmip.trails import Verifying
    from lab.local.kmip import verify_trail as run

    if not files:
        raise KeysteadError("KS-USE-003", "name one file or several, in their order")
    if folder is None and passphrase_file is not None:
        raise KeysteadError("KS-USE-003", "--passphrase-file is of a server: give its --folder")
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
        raise KeysteadError("KS-USE-003", "--cert, --key, --ca: all three are given, or none")
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
