"""``get vms``, ``vm create|encrypt|recrypt|decrypt|add-disk|remove-disk|add-tpm|remove-tpm``,
``vm on|off|unlock``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.listing import PLAIN, Listing, View
from lab.cli.names import VmName
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import field, say, show, show_one
from lab.schema.commands import (
    Command,
    GetVms,
    VmAddDisk,
    VmAddTpm,
    VmCreate,
    VmDecrypt,
    VmEncrypt,
    VmOff,
    VmOn,
    VmRecrypt,
    VmRemoveDisk,
    VmRemoveTpm,
    VmUnlock,
)

if TYPE_CHECKING:
    from lab.schema.answers import Vm, VmPowerList


def snapshots_of(row: Vm) -> list[str] | None:
    """Its snapshots, those that have the guest's memory marked; None when it has none."""
    with_memory = row.with_memory
    return [f"{name} (memory)" if name in with_memory else name for name in row.snapshots] or None


def _state(row: Vm) -> str:
    """Its power, and why that may not be so: its host is not seen, or does not list it."""
    orphaned = row.connection == "orphaned"
    return f"{row.power}{' (orphaned)' if orphaned else ' (stale)' if row.stale else ''}"


def _crypto(row: Vm) -> str:
    return row.crypto or ("not encrypted" if row.key is None else "unknown")


VMS = (
    field("vm"),
    field("host"),
    ("POWER", _state),
    ("CRYPTO", _crypto),
    ("KEY", lambda r: _short(r.key)),
    ("MISSING", lambda r: [_short(k) for k in r.missing]),
)
VMS_WIDE = (
    ("VTPM", lambda r: "yes" if r.vtpm else "no"),
    ("TEMPLATE", lambda r: "yes" if r.template else "no"),
    ("SNAPSHOTS", snapshots_of),
    field("connection"),
    field("cluster"),
    field("key", "KEY ID"),
    field("lock_event"),
    field("alarms"),
)
DISKS = (
    field("label", "DISK"),
    field("blocks"),
    ("KEY", lambda r: _short(r.key) or "not encrypted"),
)
POWER = (field("vm"), field("host"), field("power"), field("error", "REFUSED"))


UUID_LENGTH = 36


def _short(key: str | None) -> str | None:
    """``provider/1234abcd…``: enough to tell keys apart in a table. The id of a trusted provider's
    key is a ciphertext; all begin alike, so its end is shown: ``provider/…9f3kQ2xA``."""
    if not key or "/" not in key:
        return key
    provider, _, rest = key.rpartition("/")
    if len(rest) > UUID_LENGTH:
        return f"{provider}/…{rest.rstrip('=')[-8:]}"
    return f"{provider}/{rest[:8]}" + ("…" if len(rest) > 8 else "")


def get_vms(*vms: VmName, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """VMs as vCenter sees them: power, locked or not, keys that are missing.

    keystead get vms
    keystead get vms vm-01 vm-02 -o json
    keystead get vms -w --sort-by host
    """
    Listing(VMS, VMS_WIDE, key="vm").get(GetVms(), vms, view, options)


def create(
    vm: str,
    *,
    cluster: Annotated[str, Parameter(help="Cluster; the first when left out.")] = "",
    host: Annotated[str, Parameter(help="Host; the emptiest when left out.")] = "",
    encrypted: Annotated[bool, Parameter(negative="", help="Encrypt it at once.")] = False,
    provider: Annotated[str, Parameter(help="Key provider; the default when left out.")] = "",
    firmware: Annotated[str, Parameter(help="efi, or bios: then without virtual TPM.")] = "efi",
    hardware: Annotated[int, Parameter(help="Virtual hardware version.")] = 21,
    options: Options = DEFAULTS,
) -> None:
    """Create a VM, powered off.

    keystead vm create vm-07 --encrypted
    keystead vm create vm-08 --host esxi-002
    """
    command = VmCreate(vm, cluster, host, encrypted, provider, firmware, hardware)
    made = call(options, command)
    show_one(made, options.output, VMS, VMS_WIDE, key="vm")


def encrypt(
    vm: VmName,
    *,
    provider: Annotated[str, Parameter(help="Key provider; the default when left out.")] = "",
    options: Options = DEFAULTS,
) -> None:
    """Encrypt a powered-off VM under a new key.

    keystead vm encrypt vm-08
    keystead vm encrypt vm-08 --provider kms-provider
    """
    answer = call(options, VmEncrypt(vm, provider))
    show_one(answer, options.output, VMS, VMS_WIDE, key="vm")


def recrypt(
    vm: VmName,
    *,
    deep: Annotated[
        bool, Parameter(negative="", help="New data keys too: powered off, data rewritten.")
    ] = False,
    provider: Annotated[str, Parameter(help="Key provider; the default when left out.")] = "",
    disk: Annotated[
        int | None, Parameter(help="Of this hard disk alone; all when left out.")
    ] = None,
    options: Options = DEFAULTS,
) -> None:
    """Put an encrypted VM under a new key, also while it runs, also of another provider.

    keystead vm recrypt vm-01
    keystead vm recrypt vm-01 --disk 2 --provider second-provider
    """
    answer = call(options, VmRecrypt(vm, provider, deep, disk))
    show_one(answer, options.output, VMS, VMS_WIDE, key="vm")


def decrypt(vm: VmName, *, options: Options = DEFAULTS) -> None:
    """Take the encryption off a VM that is powered off.

    keystead vm decrypt vm-01
    keystead vm decrypt vm-01 -o json
    """
    show_one(call(options, VmDecrypt(vm)), options.output, VMS, VMS_WIDE, key="vm")


def add_disk(
    vm: VmName,
    *,
    blocks: Annotated[int, Parameter(help="Its size, in blocks of 4,096 bytes.")] = 64,
    provider: Annotated[str, Parameter(help="A key of its own, of this key provider.")] = "",
    own_key: Annotated[bool, Parameter(negative="", help="A new key of its own.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Add a disk to a VM that is powered off; on an encrypted VM it is encrypted.

    keystead vm add-disk vm-01
    keystead vm add-disk vm-01 --provider kms-provider
    """
    made = call(options, VmAddDisk(vm, blocks, provider, own_key))
    show(made, options.output, DISKS, key="label")


def remove_disk(vm: VmName, disk: int, *, options: Options = DEFAULTS) -> None:
    """Take a disk away with its data: vm-01 2 is "Hard disk 2". A lost key of it does not matter.

    keystead vm remove-disk vm-01 2
    keystead vm remove-disk vm-01 2 -o json
    """
    show(call(options, VmRemoveDisk(vm, disk)), options.output, DISKS, key="label")


def add_tpm(
    vm: VmName,
    *,
    provider: Annotated[str, Parameter(help="Key provider; the default when left out.")] = "",
    options: Options = DEFAULTS,
) -> None:
    """Add a virtual TPM to a powered-off VM; its home is encrypted, its disks are not.

    keystead vm add-tpm vm-08
    keystead vm add-tpm vm-08 --provider kms-provider
    """
    answer = call(options, VmAddTpm(vm, provider))
    show_one(answer, options.output, VMS, VMS_WIDE, key="vm")


def remove_tpm(vm: VmName, *, options: Options = DEFAULTS) -> None:
    """Remove the virtual TPM of a powered-off VM, and destroy what is in it.

    keystead vm remove-tpm vm-08
    keystead vm remove-tpm vm-08 -o json
    """
    show_one(call(options, VmRemoveTpm(vm)), options.output, VMS, VMS_WIDE, key="vm")


Host = Annotated[str, Parameter(help="All VMs of this host.")]
OnHost = Annotated[
    bool, Parameter(negative="", help="Ask the host itself, as its administrator (with --host).")
]


def _power(command: Command[VmPowerList], options: Options) -> int:
    """1 when one was refused; each refusal is told in the product's own words."""
    answer = call(options, command)
    show(answer, options.output, POWER[:3], POWER[3:], key="vm")
    refused = answer.refused
    for row in refused:
        say(f"keystead: error {row.error_id}: {row.vm}: {row.error}")
    if refused:
        more = "" if options.name == DEFAULTS.name else f" --name {options.name}"
        say(f"  fix: keystead describe vm {refused[0].vm}{more} says why, and what cures it")
    return 1 if refused else 0


def on(*vms: VmName, host: Host = "", on_host: OnHost = False, options: Options = DEFAULTS) -> int:
    """Power VMs on.

    keystead vm on vm-01 vm-02
    keystead vm on --host esxi-001
    """
    return _power(VmOn(vms, host, on_host), options)


def off(*vms: VmName, host: Host = "", on_host: OnHost = False, options: Options = DEFAULTS) -> int:
    """Power VMs off.

    keystead vm off vm-01
    keystead vm off vm-01 --host esxi-001 --on-host
    """
    return _power(VmOff(vms, host, on_host), options)


def unlock(vm: VmName, *, options: Options = DEFAULTS) -> None:
    """CryptoUnlock_Task: let vCenter bring the keys of a locked VM now.

    keystead vm unlock vm-01
    keystead vm unlock vm-01 -o json
    """
    show_one(call(options, VmUnlock(vm)), options.output, VMS, VMS_WIDE, key="vm")
