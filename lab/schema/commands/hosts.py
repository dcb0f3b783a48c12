"""Hosts (and other nodes): power in all its ways, esxcli at the console, the TPM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Generic

from lab.schema.commands.arguments import HostName, doc
from lab.schema.commands.base import A, Command, Look, wrong
from protocol.errors import InvalidArgument
from protocol.releases import release_of

if TYPE_CHECKING:
    from lab.schema.answers import (
        EsxcliResult,
        Fault,
        Host,
        HostList,
        HostPauseList,
        HostPowerList,
        HostView,
        NodeList,
        Pcrs,
        Tpm,
        TpmList,
    )


class GetHosts(Look["HostList"], frozen=True, tag="get.hosts"):
    """Hosts as vCenter sees them, with the state of their machines.

    keystead get hosts
    keystead get hosts esxi-001 esxi-002 -o wide
    """


class GetNodes(Look["NodeList"], frozen=True, tag="get.nodes"):
    """Every node of the lab: machine state, boots, screen, counters of its bus.

    keystead get nodes
    keystead get nodes vcenter kms -o json
    """


class GetTpm(Look["TpmList"], frozen=True, tag="get.tpm"):
    """The TPM under each host.

    keystead get tpm
    keystead get tpm -o wide
    """


class GetHostView(Look["HostView"], frozen=True, tag="get.host-view"):
    """A host's own view of itself, at its console: works behind cut links."""

    words = ""
    host: str


class _OfHosts(Command[A], Generic[A], frozen=True):
    hosts: Annotated[
        tuple[str, ...],
        doc("Names or selectors: esxi-[001-003], site:edge, vcenter.", completes="node"),
    ]

    def __post_init__(self) -> None:
        if not self.hosts:
            raise wrong("name at least one host")


class HostPowerOn(_OfHosts["HostPowerList"], frozen=True, tag="host.power-on"):
    """Press the power button of these nodes; returns when each has started or halted.

    Nodes of one role start together, a role after the one before it has started. ``options`` are
    typed at the boot loader: ``encryptionRecoveryKey`` of a host, ``kmsPassphrase`` of a key server
    whose keys that opens, ``acceptRollback`` of one that stops at an older database.
    """

    options: dict[str, str] = {}


class HostReboot(_OfHosts["HostPowerList"], frozen=True, tag="host.reboot"):
    """Reboot hosts orderly: archive saved, TPM2_Shutdown, fresh measured boot.

    keystead host reboot esxi-001
    keystead host reboot 'esxi-[001-003]'

    It returns when vCenter has seen the hosts' VMs as the hosts do, where it can hear them.
    """


class HostUpgrade(_OfHosts["HostPowerList"], frozen=True, tag="host.upgrade"):
    """Install a later release on hosts in maintenance mode, and boot it.

    keystead host upgrade esxi-001 --to 8.0U3
    keystead host upgrade 'esxi-[001-003]' --to 7.0U2 -o json

    One host after another; one that was off stays off, and boots it next. The first boot from
    7.0 U2 on encrypts the configuration [UPG-01]. What the release before booted from stays in the
    other boot bank, for ``HostRollback``.
    """

    release: Annotated[str, doc("The release, such as 8.0U3.", name="--to")]

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            release_of(self.release)
        except InvalidArgument as error:
            raise wrong(str(error)) from None


class HostRollback(_OfHosts["HostPowerList"], frozen=True, tag="host.rollback"):
    """Boot the other boot bank: the release before the upgrade, with its configuration of then.

    keystead host rollback esxi-001
    keystead host rollback 'esxi-[001-003]' -o json

    A host that runs must be in maintenance mode; one that was off stays off, and boots it next. The
    later release is gone, and so is all that its configuration got since [UPG-02].
    """


class HostReinstall(_OfHosts["HostPowerList"], frozen=True, tag="host.reinstall"):
    """Install hosts anew: their disks are wiped, their TPMs stay as they were.

    keystead host reinstall esxi-001
    keystead host reinstall esxi-001 --leftover

    Configuration, persisted keys and the list of VMs are gone. Files of VMs lie on the datastore:
    register them again. A key that is left over stays in the TPM, which cannot seal then [CFG-01].
    """

    leftover: Annotated[bool, doc("Leave a key of the old installation in their TPMs.")] = False


class HostPowerOff(_OfHosts["HostPowerList"], frozen=True, tag="host.power-off"):
    """Shut hosts (or vcenter, kms) down orderly: what they hold is saved first.

    keystead host power-off esxi-001
    keystead host power-off kms
    """


class HostCrash(_OfHosts["HostPowerList"], frozen=True, tag="host.crash"):
    """Crash hosts, all at once: what was written survives; they stay off.

    keystead host crash esxi-001
    keystead host crash vcenter
    """


class HostPowerLoss(_OfHosts["HostPowerList"], frozen=True, tag="host.power-loss"):
    """Pull hosts' power; it comes back at once, unless --stay-off. Only synced bytes survive.

    keystead host power-loss esxi-001
    keystead host power-loss site:main --stay-off
    """

    stay_off: Annotated[bool, doc("Leave them without power.")] = False


class HostPause(_OfHosts["HostPauseList"], frozen=True, tag="host.pause"):
    """Stop the processes of hosts by signal: neither dead nor answering.

    keystead host pause esxi-001
    keystead host pause kms

    A node that shares its process with others is held alone.
    """


class HostResume(_OfHosts["HostPauseList"], frozen=True, tag="host.resume"):
    """Let paused processes go on.

    keystead host resume esxi-001
    keystead host resume role:esxi
    """


class Esx(Command["EsxcliResult"], frozen=True, tag="esx"):
    """esxcli at a host's console: works behind cut links, not on a host that is off.

    keystead esx esxi-001 system security keypersistence get
    keystead esx esxi-001 system security keypersistence enable

    Its exit code is that of esxcli.
    """

    host: HostName
    arguments: Annotated[tuple[str, ...], doc("The words after esxcli.", reads="words")]


class HostClearTpm(Command["Host"], frozen=True, tag="host.clear-tpm"):
    """Have vCenter forget a host's recorded TPM, and accept the one it has now.

    keystead host clear-tpm esxi-001
    keystead host clear-tpm esxi-001 -o json

    For a replaced board, a cleared TPM, or a new build that is as it should be [ATT-09].
    """

    host: HostName

    def message(self, answer: Host) -> str:
        seen = answer.attestation
        return f"{answer.host}: {seen or 'vCenter has not seen a TPM there'}"


class TpmInspect(Look["Tpm"], frozen=True, tag="tpm.inspect"):
    """What a host's TPM tells of itself.

    keystead tpm inspect esxi-001
    keystead tpm inspect esxi-001 -o json
    """

    host: HostName


class TpmPcrs(Look["Pcrs"], frozen=True, tag="tpm.pcrs"):
    """PCR 0 to 13 of a host's TPM, in hexadecimal; none while it is off.

    keystead tpm pcrs esxi-001
    keystead tpm pcrs esxi-001 -o json
    """

    host: HostName


class TpmClear(Command["Fault"], frozen=True, tag="tpm.clear"):
    """Clear a host's TPM (new storage seed): a fault without undo, see its cure.

    keystead tpm clear esxi-001
    keystead tpm clear esxi-001 -o json
    """

    host: HostName


class TpmSwap(Command["Fault"], frozen=True, tag="tpm.swap"):
    """Replace a host's TPM by a new one: a fault without undo, see its cure.

    keystead tpm swap esxi-001
    keystead tpm swap esxi-001 -o json
    """

    host: HostName


class TpmLockout(Command["Tpm"], frozen=True, tag="tpm.lockout"):
    """Fail authorizations until a host's TPM refuses more of them."""

    words = ""
    host: str
