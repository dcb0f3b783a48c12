"""``vm clone``, ``vm template``, ``vm snapshot create|remove|revert``."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.names import VmName
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import field, show_one
from lab.cli.vms import VMS, VMS_WIDE, snapshots_of
from lab.schema.commands import (
    VmClone,
    VmSnapshotCreate,
    VmSnapshotRemove,
    VmSnapshotRevert,
    VmTemplate,
)

SNAPSHOTS = (
    field("vm"),
    field("host"),
    field("power"),
    ("SNAPSHOTS", snapshots_of),
)


def clone(
    vm: VmName,
    clone: str,
    *,
    host: Annotated[str, Parameter(help="Host of the same cluster; the emptiest.")] = "",
    recrypt: Annotated[
        bool, Parameter(negative="", help="New keys: a new KEK, and data keys of its own.")
    ] = False,
    provider: Annotated[str, Parameter(help="Key provider of --recrypt; the default.")] = "",
    tpm: Annotated[
        Literal["", "copy", "replace"],
        Parameter(help="Its virtual TPM: the same, or a new one; as vCenter's knob says."),
    ] = "",
    template: Annotated[bool, Parameter(negative="", help="It is a template itself.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Clone a VM that is off or runs, or a template; the clone is off, and under the same keys.

    keystead vm clone vm-01 vm-01-copy
    keystead vm clone vm-01 vm-01-copy --recrypt --tpm replace
    """
    made = call(options, VmClone(vm, clone, host, recrypt, provider, tpm, template))
    show_one(made, options.output, VMS, VMS_WIDE, key="vm")


def template(
    vm: VmName,
    *,
    off: Annotated[bool, Parameter(negative="", help="It is a VM again.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Make a template of a VM that is off: it is cloned, and not powered on.

    keystead vm template vm-01
    keystead vm template vm-01 --off
    """
    show_one(call(options, VmTemplate(vm, off)), options.output, VMS, VMS_WIDE, key="vm")


def create_snapshot(
    vm: VmName,
    snapshot: str,
    *,
    memory: Annotated[bool, Parameter(help="The memory of a VM that runs, too.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Keep a VM's disks, and its virtual TPM, as they are now; also while it runs.

    keystead vm snapshot create vm-01 before
    keystead vm snapshot create vm-01 running --memory
    """
    answer = call(options, VmSnapshotCreate(vm, snapshot, memory))
    show_one(answer, options.output, SNAPSHOTS, (), key="vm")


def remove_snapshot(vm: VmName, snapshot: str, *, options: Options = DEFAULTS) -> None:
    """Forget a snapshot; the VM stays as it is.

    keystead vm snapshot remove vm-01 before
    keystead vm snapshot remove vm-01 before -o json
    """
    answer = call(options, VmSnapshotRemove(vm, snapshot))
    show_one(answer, options.output, SNAPSHOTS, (), key="vm")


def revert(
    vm: VmName,
    snapshot: str,
    *,
    suppress_power_on: Annotated[
        bool, Parameter(negative="", help="Leave it off, also with memory in the snapshot.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """Have the VM as it was when the snapshot was taken: off, or, with its memory, running.

    keystead vm snapshot revert vm-01 before
    keystead vm snapshot revert vm-01 running --suppress-power-on
    """
    answer = call(options, VmSnapshotRevert(vm, snapshot, suppress_power_on))
    show_one(answer, options.output, SNAPSHOTS, (), key="vm")
