"""Hosts and other nodes: power operations, esxcli at the console, the TPM."""

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
    """Hosts in vCenter's view, with the power state of their machines.

    keystead get hosts
    keystead get hosts esxi-001 esxi-002 -o wide
    """


class GetNodes(Look["NodeList"], frozen=True, tag="get.nodes"):
    """All nodes of the lab: machine state, boot count, screen, message counters.

    keystead get nodes
    keystead get nodes vcenter kms -o json
    """


class GetTpm(Look["TpmList"], frozen=True, tag="get.tpm"):
    """The TPM of each host.

    keystead get tpm
    keystead get tpm -o wide
    """


class GetHostView(Look["HostView"], frozen=True, tag="get.host-view"):
    """A host's view of itself, from its console; works while its links are cut."""

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
    """Power on nodes; returns when each of them has started or halted.

    Nodes of one role start together, one role after the other. ``options`` are boot options:
    ``encryptionRecoveryKey`` for a host, ``kmsPassphrase`` for a key server with a passphrase
    root, ``acceptRollback`` for a key server that refuses an older database.
    """

    options: dict[str, str] = {}


class HostReboot(_OfHosts["HostPowerList"], frozen=True, tag="host.reboot"):
    """Reboot hosts: the configuration is saved, TPM2_Shutdown runs, the boot is measured anew.

    keystead host reboot esxi-001
    keystead host reboot 'esxi-[001-003]'

    The command returns when vCenter shows the same state of the hosts' VMs as the hosts do, if
    vCenter can reach them.
    """


class HostUpgrade(_OfHosts["HostPowerList"], frozen=True, tag="host.upgrade"):
    """Upgrade hosts in maintenance mode to a later release, and reboot them.

    keystead host upgrade esxi-001 --to 8.0U3
    keystead host upgrade 'esxi-[001-003]' --to 7.0U2 -o json

    Hosts are upgraded one after the other. A powered-off host stays off and boots the new release
    next. The first boot of 7.0 U2 or later encrypts the configuration [UPG-01]. The previous
    release stays in the other boot bank, for ``HostRollback``.
    """

    release: Annotated[str, doc("New release, such as 8.0U3.", name="--to")]

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            release_of(self.release)
        except InvalidArgument as error:
            raise wrong(str(error)) from None


class HostRollback(_OfHosts["HostPowerList"], frozen=True, tag="host.rollback"):
    """Roll back an upgrade: boot the previous release and configuration from the other boot bank.

    keystead host rollback esxi-001
    keystead host rollback 'esxi-[001-003]' -o json

    A running host must be in maintenance mode. A powered-off host stays off and boots the previous
    release next. The later release and all changes to its configuration are lost [UPG-02].
    """


class HostReinstall(_OfHosts["HostPowerList"], frozen=True, tag="host.reinstall"):
    """Reinstall hosts: their disks are wiped, their TPMs are kept.

    keystead host reinstall esxi-001
    keystead host reinstall esxi-001 --leftover

    Configuration, persisted keys and the list of VMs are lost. The files of VMs are on the
    datastore; register the VMs again. With ``leftover`` a key of the old installation stays in the
    TPM, so that the TPM cannot seal [CFG-01].
    """

    leftover: Annotated[bool, doc("Keep a key of the old installation in the TPM.")] = False


class HostPowerOff(_OfHosts["HostPowerList"], frozen=True, tag="host.power-off"):
    """Shut down hosts (or vcenter, kms) cleanly; their state is saved first.

    keystead host power-off esxi-001
    keystead host power-off kms
    """


class HostCrash(_OfHosts["HostPowerList"], frozen=True, tag="host.crash"):
    """Crash hosts, all at once; written data survives, and the hosts stay off.

    keystead host crash esxi-001
    keystead host crash vcenter
    """


class HostPowerLoss(_OfHosts["HostPowerList"], frozen=True, tag="host.power-loss"):
    """Cut the power of hosts and restore it; only synced data survives.

    keystead host power-loss esxi-001
    keystead host power-loss site:main --stay-off
    """

    stay_off: Annotated[bool, doc("Do not restore the power.")] = False


class HostPause(_OfHosts["HostPauseList"], frozen=True, tag="host.pause"):
    """Pause hosts by a signal to their processes: they run on nothing and answer nothing.

    keystead host pause esxi-001
    keystead host pause kms

    Other nodes in the same process are not paused.
    """


class HostResume(_OfHosts["HostPauseList"], frozen=True, tag="host.resume"):
    """Resume paused hosts.

    keystead host resume esxi-001
    keystead host resume role:esxi
    """


class Esx(Command["EsxcliResult"], frozen=True, tag="esx"):
    """Run esxcli at a host's console; works while links are cut, not on a powered-off host.

    keystead esx esxi-001 system security keypersistence get
    keystead esx esxi-001 system security keypersistence enable

    The exit code is the exit code of esxcli.
    """

    host: HostName
    arguments: Annotated[tuple[str, ...], doc("Arguments of esxcli.", reads="words")]


class HostClearTpm(Command["Host"], frozen=True, tag="host.clear-tpm"):
    """Clear a host's TPM record in vCenter, so that vCenter accepts the host's present TPM.

    keystead host clear-tpm esxi-001
    keystead host clear-tpm esxi-001 -o json

    For a replaced board, a cleared TPM, or an intended new build [ATT-09].
    """

    host: HostName

    def message(self, answer: Host) -> str:
        seen = answer.attestation
        return f"{answer.host}: {seen or 'vCenter has no TPM record'}"


class TpmInspect(Look["Tpm"], frozen=True, tag="tpm.inspect"):
    """Show the state of a host's TPM.

    keystead tpm inspect esxi-001
    keystead tpm inspect esxi-001 -o json
    """

    host: HostName


class TpmPcrs(Look["Pcrs"], frozen=True, tag="tpm.pcrs"):
    """Show PCR 0 to 13 of a host's TPM, in hexadecimal; none while the host is off.

    keystead tpm pcrs esxi-001
    keystead tpm pcrs esxi-001 -o json
    """

    host: HostName


class TpmClear(Command["Fault"], frozen=True, tag="tpm.clear"):
    """Clear a host's TPM (new storage seed), a fault without undo; see its cure.

    keystead tpm clear esxi-001
    keystead tpm clear esxi-001 -o json
    """

    host: HostName


class TpmSwap(Command["Fault"], frozen=True, tag="tpm.swap"):
    """Replace a host's TPM with a new one, a fault without undo; see its cure.

    keystead tpm swap esxi-001
    keystead tpm swap esxi-001 -o json
    """

    host: HostName


class TpmLockout(Command["Tpm"], frozen=True, tag="tpm.lockout"):
    """Fail authorizations until a host's TPM is in lockout."""

    words = ""
    host: str
