"""``provider set``: change the entries of key servers, or remove a user name from them."""

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
    Parameter(help="Time-out in seconds of each handshake and each answer; -1: the lab's knob."),
]
User = Annotated[
    str, Parameter(help="User name for a KMIP server, in addition to the certificate.")
]
PasswordFile = Annotated[
    Path | None, Parameter(help="File whose first line is the password of that user.")
]
Proxy = Annotated[str, Parameter(help="HOST:PORT. Proxies are not supported: refused.")]


def provider_set(
    provider: str,
    *,
    server: Annotated[
        tuple[str, ...],
        Parameter(
            name="--server", negative="", help="Name of a server; can be repeated. Default: all."
        ),
    ] = (),
    timeout: Timeout = None,
    username: User = "",
    password_file: PasswordFile = None,
    no_username: Annotated[bool, Parameter(negative="", help="Remove the user name.")] = False,
    proxy: Proxy = "",
    options: Options = DEFAULTS,
) -> int:
    """Change the entries of a standard provider's servers: time-out, user name and password.

    keystead provider set outside --timeout 5
    keystead provider set outside --server 127.0.0.1:5696 --username vc --password-file pw.txt
    """
    if no_username and username:
        raise KeysteadError("KS-USE-003", "use --username or --no-username, not both")
    name = "" if no_username else username or None
    password = str(password_file.absolute()) if password_file else ""
    entry = Entry(timeout=timeout, user=name, password_file=password, proxy=proxy)
    return run(ProviderSet(provider, server, entry), options)
