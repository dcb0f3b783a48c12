"""``get hosts|nodes|tpm``, ``host ...``, ``esx``, ``tpm ...``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.faults import began
from lab.cli.listing import PLAIN, Listing, View
from lab.cli.names import HostName, NodeName
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, fields_of, is_document, pairs, plain, say, show
from lab.cli.values import boot_options
from lab.schema.commands import (
    Command,
    Esx,
    GetHosts,
    GetNodes,
    GetTpm,
    HostClearTpm,
    HostCrash,
    HostPause,
    HostPowerLoss,
    HostPowerOff,
    HostPowerOn,
    HostReboot,
    HostReinstall,
    HostResume,
    HostRollback,
    HostUpgrade,
    TpmClear,
    TpmInspect,
    TpmPcrs,
    TpmSwap,
)

if TYPE_CHECKING:
    from lab.schema.answers import Attestation, Host, HostPowerList


def _state(row: Host) -> str:
    """As vCenter has it; what else one must know of it in brackets."""
    notes = {"maintenance": row.in_maintenance_mode, "stale": row.stale}
    shown = ", ".join(note for note, holds in notes.items() if holds)
    return f"{row.connection} ({shown})" if shown else str(row.connection)


HOSTS = (
    field("host"),
    ("STATE", _state),
    field("machine"),
    field("crypto_state", "CRYPTO"),
    ("PERSISTENCE", lambda r: "on" if r.key_persistence else "off"),
    field("tpm_present", "TPM"),
    field("cached_keys", "KEYS"),
    field("boot"),
)
HOSTS_WIDE = (
    field("cluster"),
    field("version"),
    field("crypto_key_id", "HOST KEY"),
    ("ATTESTATION", lambda r: r.attestation.status if r.attestation else None),
    field("screen"),
)
StayOff = Annotated[bool, Parameter(negative="", help="Leave them without power.")]
POWER = (field("host"), field("machine"), field("boot"), field("ended"), field("screen"))


def get_hosts(*hosts: HostName, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Hosts as vCenter sees them, with the state of their machines.

    keystead get hosts
    keystead get hosts esxi-001 esxi-002 -o wide
    """
    Listing(HOSTS, HOSTS_WIDE, key="host").get(GetHosts(), hosts, view, options)


def get_nodes(*nodes: NodeName, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Every node of the lab: machine state, boots, screen.

    keystead get nodes
    keystead get nodes vcenter kms -o json
    """
    columns = (field("node"), field("role"), field("site"), field("state"), field("boot"))
    wide = (field("tpm"), field("ended"), field("screen"), field("counters"))
    Listing(columns, wide, key="node").get(GetNodes(), nodes, view, options)


def get_tpm(*hosts: HostName, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """The TPM under each host.

    keystead get tpm
    keystead get tpm -o wide
    """
    columns = (
        field("host"),
        field("backend"),
        field("state"),
        field("reset_count", "RESETS"),
        field("safe"),
        field("lockout"),
        ("EK", lambda r: r.ek[:16]),
    )
    wide = (("PCR 7", lambda r: r.pcrs.get("7", "")),)
    Listing(columns, wide, key="host").get(GetTpm(), hosts, view, options)


def power(options: Options, command: Command[HostPowerList]) -> int:
    """Give the command and show what came of the machines; 1 when one that was to run does not:
    a purple screen is no success."""
    answer = call(options, command)
    show(answer, options.output, POWER, key="host")
    halted = answer.halted
    for row in halted:
        say(f"keystead: error KS-PRODUCT-001: {row.host} shows: {row.screen}")
    if halted:
        say(f"  fix: {halted[0].cure}")
    return 1 if halted else 0


def reboot(*hosts: NodeName, options: Options = DEFAULTS) -> int:
    """Reboot hosts orderly: archive saved, TPM2_Shutdown, fresh measured boot.

    keystead host reboot esxi-001
    keystead host reboot 'esxi-[001-003]'
    """
    return power(options, HostReboot(hosts))


def upgrade(
    *hosts: HostName,
    to: Annotated[str, Parameter(help="The release, such as 8.0U3.")],
    options: Options = DEFAULTS,
) -> int:
    """Install a later release on hosts in maintenance mode, and boot it.

    keystead host upgrade esxi-001 --to 8.0U3
    keystead host upgrade 'esxi-[001-003]' --to 7.0U2 -o json
    """
    return power(options, HostUpgrade(hosts, to))


def rollback(*hosts: HostName, options: Options = DEFAULTS) -> int:
    """Boot the other boot bank: the release before the upgrade, with its configuration of then.

    keystead host rollback esxi-001
    keystead host rollback 'esxi-[001-003]' -o json
    """
    return power(options, HostRollback(hosts))


def reinstall(
    *hosts: HostName,
    leftover: Annotated[
        bool, Parameter(negative="", help="Leave a key of the old installation in their TPMs.")
    ] = False,
    options: Options = DEFAULTS,
) -> int:
    """Install hosts anew: their disks are wiped, their TPMs stay as they were.

    keystead host reinstall esxi-001
    keystead host reinstall esxi-001 --leftover
    """
    return power(options, HostReinstall(hosts, leftover))


def crash(*hosts: NodeName, options: Options = DEFAULTS) -> int:
    """Crash hosts: what was written survives; they stay off.

    keystead host crash esxi-001
    keystead host crash vcenter
    """
    return power(options, HostCrash(hosts))


def power_loss(*hosts: NodeName, stay_off: StayOff = False, options: Options = DEFAULTS) -> int:
    """Pull hosts' power; it comes back at once, unless --stay-off. Only synced bytes survive.

    keystead host power-loss esxi-001
    keystead host power-loss site:main --stay-off
    """
    return power(options, HostPowerLoss(hosts, stay_off))


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
    return power(options, HostPowerOn(hosts, {**accepted, **boot_options(boot_option)}))


def power_off(*hosts: NodeName, options: Options = DEFAULTS) -> int:
    """Shut hosts (or vcenter, kms) down orderly.

    keystead host power-off esxi-001
    keystead host power-off kms
    """
    return power(options, HostPowerOff(hosts))


def pause(*hosts: NodeName, options: Options = DEFAULTS) -> None:
    """Stop the processes of hosts by signal: neither dead nor answering.

    keystead host pause esxi-001
    keystead host pause kms
    """
    columns = (field("host"), field("paused"))
    show(call(options, HostPause(hosts)), options.output, columns, key="host")


def resume(*hosts: NodeName, options: Options = DEFAULTS) -> None:
    """Let paused processes go on.

    keystead host resume esxi-001
    keystead host resume role:esxi
    """
    columns = (field("host"), field("paused"))
    show(call(options, HostResume(hosts)), options.output, columns, key="host")


def clear_tpm(host: HostName, *, options: Options = DEFAULTS) -> None:
    """Have vCenter forget a host's recorded TPM, and accept the one it has now.

    keystead host clear-tpm esxi-001
    keystead host clear-tpm esxi-001 -o json
    """
    answer = call(options, HostClearTpm(host))
    if is_document(options.output):
        document(answer, options.output)
    else:
        seen = answer.attestation
        say(f"{answer.host}: {attestation(seen) if seen else 'vCenter has not seen a TPM there'}")


def attestation(seen: Attestation) -> str:
    """What vCenter makes of a TPM, and why."""
    return f"{seen.status}: {seen.message}" if seen.message else str(seen.status)


def esx(
    host: HostName,
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    options: Options = DEFAULTS,
) -> int:
    """esxcli at a host's console: works behind cut links, not on a host that is off.

    keystead esx esxi-001 system security keypersistence get
    keystead esx esxi-001 system security keypersistence enable
    """
    answer = call(options, Esx(host, arguments))
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
    elif answer.output:
        (plain if answer.exit_code == 0 else say)(answer.output.rstrip("\n"))
    sys.stdout.flush()
    return answer.exit_code


def inspect(host: HostName, *, options: Options = DEFAULTS) -> None:
    """What a host's TPM tells of itself.

    keystead tpm inspect esxi-001
    keystead tpm inspect esxi-001 -o json
    """
    answer = call(options, TpmInspect(host))
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
    else:
        pairs([(k, v) for k, v in fields_of(answer).items() if k != "pcrs"])


def pcrs(host: HostName, *, options: Options = DEFAULTS) -> None:
    """PCR 0 to 13 of a host's TPM.

    keystead tpm pcrs esxi-001
    keystead tpm pcrs esxi-001 -o json
    """
    answer = call(options, TpmPcrs(host))
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
    else:
        pairs([(f"PCR {index}", value) for index, value in answer.pcrs.items()])


def clear(host: HostName, *, options: Options = DEFAULTS) -> None:
    """Clear a host's TPM (new storage seed): a fault without undo, see its cure.

    keystead tpm clear esxi-001
    keystead tpm clear esxi-001 -o json
    """
    began(call(options, TpmClear(host)), options)


def swap(host: HostName, *, options: Options = DEFAULTS) -> None:
    """Replace a host's TPM by a new one: a fault without undo, see its cure.

    keystead tpm swap esxi-001
    keystead tpm swap esxi-001 -o json
    """
    began(call(options, TpmSwap(host)), options)
