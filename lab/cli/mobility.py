"""``vm migrate``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.names import VmName
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import show_one
from lab.cli.vms import VMS, VMS_WIDE
from lab.schema.commands import VmMigrate, VmSetMigrateEncryption
from protocol.terms import MigrateEncryption

_STREAM = {True: "encrypted", False: "clear"}
MIGRATION = (
    ("VM", lambda r: r.vm.vm),
    ("HOST", lambda r: r.vm.host),
    ("POWER", lambda r: r.vm.power),
    ("SWITCH-OVER", lambda r: None if r.gap_s is None else f"{r.gap_s:.3f} s"),
    ("STREAM", lambda r: None if r.encrypted is None else _STREAM[r.encrypted]),
    ("MEMORY", lambda r: None if r.size is None else f"{r.size} bytes"),
)


def migrate(
    vm: VmName,
    *,
    host: Annotated[str, Parameter(help="The host that it goes to, of the same cluster.")],
    to_vcenter: Annotated[
        str, Parameter(help="The host is one of this vCenter, which has the VM then.")
    ] = "",
    to_user: Annotated[
        str, Parameter(help="Who asks for it at that vCenter; else the user of this command.")
    ] = "",
    options: Options = DEFAULTS,
) -> None:
    """Move a VM to another host: vMotion when it runs, registered there when it is off.

    keystead vm migrate vm-01 --host esxi-002
    keystead vm migrate vm-01 --host esxi-003 --to-vcenter vcenter-b
    keystead vm migrate vm-01 --host esxi-002 -o json
    """
    answer = call(options, VmMigrate(vm, host, to_vcenter, to_user))
    show_one(answer, options.output, MIGRATION, (), key="vm")


def set_stream(vm: VmName, policy: MigrateEncryption, *, options: Options = DEFAULTS) -> None:
    """Whether the memory of a VM in clear travels encrypted: disabled, opportunistic, required.

    keystead vm set-migrate-encryption vm-08 disabled
    keystead vm set-migrate-encryption vm-08 required -o json
    """
    answer = call(options, VmSetMigrateEncryption(vm, policy))
    show_one(answer, options.output, VMS, VMS_WIDE, key="vm")
