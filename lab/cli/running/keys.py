"""``provider set``: an entry of which a part may be taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.options import DEFAULTS, Options
from lab.cli.results import run
from lab.schema.commands import ProviderSet
from lab.schema.commands.keys import Entry
from lab.schema.errors import KeysteadError

Timeout = Annotated[
    int | None,
    Parameter(help="Seconds for each handshake and each answer; -1: as the lab's knob says."),
]
User = Annotated[str, Parameter(help="A KMIP server is told this name, beside the certificate.")]
PasswordFile = Annotated[Path | None, Parameter(help="Its first line is the user's password.")]
Proxy = Annotated[str, Parameter(help="HOST:PORT; not built: it is refused.")]


def provider_set(
    provider: str,
    *,
    server: Annotated[
        tuple[str, ...],
        Parameter(name="--server", negative="", help="Its name; repeat it. Left out: all of them."),
    ] = (),
    timeout: Timeout = None,
    username: User = "",
    password_file: PasswordFile = None,
    no_username: Annotated[bool, Parameter(negative="", help="No user name any more.")] = False,
    proxy: Proxy = "",
    options: Options = DEFAULTS,
) -> int:
    """Change the entries of a standard provider's servers: time-out, user name and password.

    keystead provider set outside --timeout 5
    keystead provider set outside --server 127.0.0.1:5696 --username vc --password-file pw.txt
    """
    if no_username and username:
        raise KeysteadError("KS-USE-003", "--no-username: and there is --username")
    name = "" if no_username else username or None
    password = str(password_file.absolute()) if password_file else ""
    entry = Entry(timeout=timeout, user=name, password_file=password, proxy=proxy)
    return run(ProviderSet(provider, server, entry), options)
