"""``host power-on``: its boot options may be secrets, which a terminal asks for."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lab.cli.names import NodeName
from lab.cli.options import DEFAULTS, Options
from lab.cli.results import run
from lab.cli.values import boot_options
from lab.schema.commands import HostPowerOn


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
