"""Commands whose secrets a terminal prompts for: ``host power-on`` (boot options), ``provider set``
(entries of key servers).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.arguments import NodeName, boot_options
from lab.cli.options import DEFAULTS, Options
from lab.cli.results import run
from lab.schema.commands import HostPowerOn, ProviderSet
from lab.schema.commands.keys import Entry, KeyTypeName, ProviderKeys
from lab.schema.errors import KeysteadError


def power_on(
    *hosts: NodeName,
    boot_option: Annotated[
        tuple[str, ...],
        Parameter(help="Boot option NAME=VALUE; NAME=- prompts for the value.", negative=""),
    ] = (),
    accept_rollback: Annotated[
        bool,
        Parameter(help="Start a key server even with an older database.", negative=""),
    ] = False,
    options: Options = DEFAULTS,
) -> int:
    """Power on hosts or other nodes.

    keystead host power-on esxi-001
    keystead host power-on esxi-001 --boot-option encryptionRecoveryKey=-
    keystead host power-on kms --boot-option kmsPassphrase=-
    keystead host power-on kms --accept-rollback
    """
    accepted = {"acceptRollback": "true"} if accept_rollback else {}
    return run(HostPowerOn(hosts, {**accepted, **boot_options(boot_option)}), options)


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

KeyTypes = Annotated[
    KeyTypeName,
    Parameter(help="rawKey: keys are at the key server. wrappedKey: only their wrapping key is."),
]
WrappingKeyId = Annotated[
    str, Parameter(help="Id of a key at the key server that wraps new keys; never replaced.")
]
RotationDays = Annotated[
    int | None,
    Parameter(
        help="vCenter creates the wrapping key, and another one after so many days: 30 to 3650."
    ),
]


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
    key_type: KeyTypes = "",
    wrapping_key: WrappingKeyId = "",
    rotation_days: RotationDays = None,
    options: Options = DEFAULTS,
) -> int:
    """Change the entries of a standard provider's servers: time-out, user name and password. Or
    change what its new keys are [KEY-07].

    keystead provider set outside --timeout 5
    keystead provider set outside --server 127.0.0.1:5696 --username vc --password-file pw.txt
    keystead provider set kms-provider --key-type wrappedKey --rotation-days 90
    """
    if no_username and username:
        raise KeysteadError("KS-USE-003", "use --username or --no-username, not both")
    name = "" if no_username else username or None
    password = str(password_file.absolute()) if password_file else ""
    entry = Entry(timeout=timeout, user=name, password_file=password, proxy=proxy)
    keys = ProviderKeys(key_type=key_type, wrapping_key=wrapping_key, rotation_days=rotation_days)
    return run(ProviderSet(provider, server, entry, keys), options)
