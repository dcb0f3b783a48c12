"""Commands on hosts and other nodes: power operations, releases, esxcli at the console, the TPM,
and what a host's local administrator does with its keys and core dumps without vCenter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Generic

from lab.schema.commands.base import A, Command, HostName, Look, check_names, doc, wrong
from lab.schema.commands.crypto import check_key
from lab.schema.tables import ColumnTable, field
from protocol import names
from protocol.errors import InvalidArgument
from protocol.messages.host.crypto import MARKER_LIMIT
from protocol.releases import release_of

if TYPE_CHECKING:
    from lab.schema.answers import (
        Dump,
        DumpContent,
        DumpList,
        EsxcliResult,
        Fault,
        Host,
        HostList,
        HostPauseList,
        HostPowerList,
        HostView,
        NodeList,
        Pcrs,
        RemovedKeyList,
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


class HostRemoveProvider(Command["HostView"], frozen=True, tag="host.remove-provider"):
    """Remove a native key provider from a host, on the host itself.

    keystead host remove-provider esxi-003 nkp
    keystead host remove-provider esxi-003 nkp -o json

    Removes the provider's key derivation key [NKP-15]; cached keys stay. vCenter configures the
    provider again when it next checks the host.
    """

    table = ColumnTable(
        "host", (field("host"), field("crypto_state"), field("cached_keys"), field("providers"))
    )
    host: HostName
    provider: str

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class HostRemoveKeys(Command["RemovedKeyList"], frozen=True, tag="host.remove-keys"):
    """Remove keys from a host's key cache, on the host itself; vCenter is not notified.

    keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

    Keys are removed even when they are in use. With the knob ``store_follows_cache`` they are also
    removed from the persisted store. vCenter pushes them again when it next checks the host
    [STD-13]. Running VMs keep running [LOCK-04]. A host that loses its host key keeps working until
    its next boot.
    """

    host: HostName
    keys: Annotated[tuple[str, ...], doc("Keys, each as provider/id.")]

    def __post_init__(self) -> None:
        if not self.keys:
            raise wrong("name at least one key, as provider/id")
        for key in self.keys:
            check_key(key)


class HostDumpWrite(Command["Dump"], frozen=True, tag="host.dump.write"):
    """Write a core dump of a host, encrypted with the host key if the host is safe.

    keystead host dump write esxi-001
    keystead host dump write esxi-001 before-the-outage --marker 'found again'
    keystead host dump write esxi-001 --vm vm-01

    An existing dump is not overwritten [DUMP-01].
    """

    host: HostName
    dump: Annotated[str, doc("Name of the dump. Default: the next free number.", word=True)] = ""
    marker: Annotated[
        bytes, doc("Text to store in the dump, to recognize it later.", reads="bytes")
    ] = b""
    vm: Annotated[
        str,
        doc("Dump the process of this running VM instead; encrypted with the VM's key, if any."),
    ] = ""

    def __post_init__(self) -> None:
        check_names(names.DUMP, self.dump)
        check_names(names.VM, self.vm)
        if len(self.marker) > MARKER_LIMIT:
            raise wrong(f"a marker has at most {MARKER_LIMIT} bytes")


class HostDumpList(Look["DumpList"], frozen=True, tag="host.dump.list"):
    """List core dumps of a host, the key of each, and whether that key is in memory.

    keystead host dump list esxi-001
    keystead host dump list esxi-001 -o json
    """

    host: HostName


class _OneDump(Command[A], Generic[A], frozen=True):
    host: HostName
    dump: str

    def __post_init__(self) -> None:
        if not self.dump:
            raise wrong("the name of the dump is empty")
        check_names(names.DUMP, self.dump)


class HostDumpDecrypt(_OneDump["DumpContent"], frozen=True, tag="host.dump.decrypt"):
    """Decrypt and read a core dump on the host; needs its key in the host's memory.

    keystead host dump decrypt esxi-001 hostd-zdump.000
    keystead host dump decrypt esxi-001 before-the-outage -o json

    Rule [DUMP-02].
    """

    changes = False


class HostDumpRemove(_OneDump["DumpList"], frozen=True, tag="host.dump.remove"):
    """Delete a core dump from a host's disk, and list the remaining ones.

    keystead host dump remove esxi-001 hostd-zdump.000
    keystead host dump remove esxi-001 before-the-outage -o json
    """
