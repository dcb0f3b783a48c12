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
        Parameter(help="NAME=VALUE typed at the loader; NAME=- asks for it.", negative=""),
    ] = (),
    accept_rollback: Annotated[
        bool,
        Parameter(help="A key server serves though its database is an older one.", negative=""),
    ] = False,
    options: Options = DEFAULTS,
) -> int:
    """Power hosts (or vcenter, kms) on.

    keystead host power-on esxi-001
    keystead host power-on esxi-001 --boot-option encryptionRecoveryKey=-
    keystead host power-on kms --boot-option kmsPassphrase=-
    keystead host power-on kms --accept-rollback
    """
    accepted = {"acceptRollback": "true"} if accept_rollback else {}
    return run(HostPowerOn(hosts, {**accepted, **boot_options(boot_option)}), options)
