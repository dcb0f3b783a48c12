"""The one table of commands: what each is answered with, who does it, whether it changes the lab.

``perform`` does a command on a session; each way in to a running or a simulated lab ends here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from chaos.errors import ChaosError
from chaos.lab import Directory
from chaos.verdict import Verdict
from lab.schema import answers, commands
from lab.schema.commands import Command, name_of
from lab.schema.refusal import refusal
from lab.schema.wire import CommandDone, RunCommand, decode_command, encode_answer
from lab.serve import (
    alarms,
    at_host,
    copies,
    crypto,
    custody,
    describe,
    entries,
    experiments,
    faults,
    hosts,
    inventory,
    keys,
    kmip_trust,
    look,
    mobility,
    native,
    roles,
    several_machines,
    trust,
    upgrade,
    vcenters,
    vms,
    vsan,
)
from lab.serve.files import Files, open_contents, seal_contents
from lab.serve.machines import way_out
from lab.serve.session import Session
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import ProductError

A = TypeVar("A", bound=msgspec.Struct)
B = TypeVar("B")
C = TypeVar("C", bound=Command[Any])


@dataclass(frozen=True)
class Served:
    """A command as the lab serves it; ``changes``: afterwards the lab may be another one."""

    command: type[Command[Any]]
    answer: type[msgspec.Struct]
    run: Callable[[Session, Any], Awaitable[msgspec.Struct]]
    changes: bool

    @property
    def name(self) -> str:
        """The command's name on the wire."""
        return name_of(self.command)


def _looks(command: type[C], answer: type[A], run: Callable[[Session, C], Awaitable[A]]) -> Served:
    return Served(command, answer, run, changes=False)


def _changes(
    command: type[C], answer: type[A], run: Callable[[Session, C], Awaitable[A]]
) -> Served:
    return Served(command, answer, run, changes=True)


_SERVED = (
    _looks(commands.GetHosts, answers.HostList, look.hosts),
    _looks(commands.GetVms, answers.VmList, look.vms),
    _looks(commands.GetProviders, answers.ProviderList, look.providers),
    _looks(commands.GetKeys, answers.KeyList, look.keys),
    _looks(commands.GetKms, answers.KeyServerList, look.key_servers),
    _looks(commands.GetAudit, answers.AuditList, look.audit),
    _looks(commands.GetTpm, answers.TpmList, look.tpms),
    _looks(commands.GetLinks, answers.LinkList, look.links),
    _looks(commands.GetNodes, answers.NodeList, look.nodes),
    _looks(commands.GetMachines, answers.MachineList, several_machines.machines),
    _looks(commands.GetHostView, answers.HostView, look.host_own_view),
    _looks(commands.GetEvents, answers.EventList, look.events),
    _looks(commands.GetTasks, answers.TaskList, look.tasks),
    _looks(commands.GetStatus, answers.LabStatus, look.status),
    _looks(commands.DescribeVm, answers.VmDescription, describe.vm),
    _looks(commands.DescribeHost, answers.HostDescription, describe.host),
    _looks(commands.DescribeProvider, answers.ProviderDescription, describe.provider),
    _changes(commands.HostPowerOn, answers.HostPowerList, hosts.power_on),
    _changes(commands.HostReboot, answers.HostPowerList, hosts.reboot),
    _changes(commands.HostPowerOff, answers.HostPowerList, hosts.power_off),
    _changes(commands.HostCrash, answers.HostPowerList, hosts.crash),
    _changes(commands.HostPowerLoss, answers.HostPowerList, hosts.power_loss),
    _changes(commands.HostPause, answers.HostPauseList, hosts.pause),
    _changes(commands.HostResume, answers.HostPauseList, hosts.resume),
    _changes(commands.HostAdd, answers.Host, inventory.add_host),
    _changes(commands.HostRemove, answers.HostRemovalList, inventory.remove_hosts),
    _changes(commands.HostDisconnect, answers.HostList, inventory.disconnect_hosts),
    _changes(commands.HostReconnect, answers.HostList, inventory.reconnect_hosts),
    _changes(commands.HostEnterMaintenance, answers.HostList, inventory.enter_maintenance),
    _changes(commands.HostExitMaintenance, answers.HostList, inventory.exit_maintenance),
    _changes(commands.HostPrepareCrypto, answers.Host, crypto.prepare),
    _changes(commands.HostEnableCrypto, answers.Host, crypto.enable),
    _changes(commands.HostDisableCrypto, answers.Host, crypto.disable),
    _looks(commands.GetClusters, answers.ClusterList, crypto.clusters),
    _changes(commands.ClusterCryptoMode, answers.Cluster, crypto.crypto_mode),
    _changes(commands.ClusterSetHa, answers.Cluster, crypto.set_ha),
    _changes(commands.ClusterSetDrs, answers.Cluster, crypto.set_drs),
    _changes(commands.ClusterDefaultProvider, answers.Cluster, crypto.default_provider),
    _looks(commands.GetAlarms, answers.AlarmList, alarms.alarms),
    _changes(commands.AlarmAcknowledge, answers.Host, alarms.acknowledge),
    _looks(commands.KeyIds, answers.KnownKeyList, crypto.list_known_keys),
    _changes(commands.KeyGenerate, answers.KnownKey, crypto.generate),
    _changes(commands.KeyAdd, answers.KnownKey, crypto.add_key),
    _changes(commands.KeyRemove, answers.KnownKey, crypto.remove_key),
    _changes(commands.HostRemoveKeys, answers.RemovedKeyList, at_host.remove_keys),
    _changes(commands.HostRemoveProvider, answers.HostView, at_host.remove_provider),
    _changes(commands.HostDumpWrite, answers.Dump, at_host.write_dump),
    _looks(commands.HostDumpList, answers.DumpList, at_host.dumps),
    _looks(commands.HostDumpDecrypt, answers.DumpContent, at_host.decrypt_dump),
    _changes(commands.HostDumpRemove, answers.DumpList, at_host.remove_dump),
    _changes(commands.HostUpgrade, answers.HostPowerList, upgrade.upgrade),
    _changes(commands.HostRollback, answers.HostPowerList, upgrade.rollback),
    _changes(commands.HostReinstall, answers.HostPowerList, hosts.reinstall),
    _changes(commands.VcenterBackup, answers.VcenterCopy, vcenters.backup),
    _changes(commands.VcenterRestore, answers.VcenterCopy, vcenters.restore),
    _changes(commands.VcenterRebuild, answers.HostPowerList, vcenters.rebuild),
    _changes(commands.HostClearTpm, answers.Host, hosts.clear_tpm),
    _changes(commands.Esx, answers.EsxcliResult, hosts.esx),
    _looks(commands.TpmInspect, answers.Tpm, hosts.tpm_inspect),
    _looks(commands.TpmPcrs, answers.Pcrs, hosts.tpm_pcrs),
    _changes(commands.TpmClear, answers.Fault, faults.tpm_clear),
    _changes(commands.TpmSwap, answers.Fault, faults.tpm_swap),
    _changes(commands.TpmLockout, answers.Tpm, hosts.tpm_lockout),
    _changes(commands.VmCreate, answers.Vm, vms.create),
    _changes(commands.VmRegister, answers.Vm, inventory.register_vm),
    _changes(commands.VmUnregister, answers.VmRemovalList, inventory.unregister_vms),
    _changes(commands.VmDestroy, answers.VmRemovalList, inventory.destroy_vms),
    _changes(commands.VmEncrypt, answers.Vm, vms.encrypt),
    _changes(commands.VmRecrypt, answers.Vm, vms.recrypt),
    _changes(commands.VmDecrypt, answers.Vm, vms.decrypt),
    _changes(commands.VmAddDisk, answers.VmDisks, vms.add_disk),
    _changes(commands.VmRemoveDisk, answers.VmDisks, vms.remove_disk),
    _changes(commands.VmAddTpm, answers.Vm, vms.add_tpm),
    _changes(commands.VmRemoveTpm, answers.Vm, vms.remove_tpm),
    _changes(commands.VmOn, answers.VmPowerList, vms.power_on),
    _changes(commands.VmOff, answers.VmPowerList, vms.power_off),
    _changes(commands.VmUnlock, answers.Vm, vms.unlock),
    _changes(commands.VmMigrate, answers.Migration, mobility.migrate),
    _changes(commands.VmSetMigrateEncryption, answers.Vm, mobility.set_stream),
    _changes(commands.VmClone, answers.Vm, copies.clone),
    _changes(commands.VmTemplate, answers.Vm, copies.template),
    _changes(commands.VmSnapshotCreate, answers.Vm, copies.create_snapshot),
    _changes(commands.VmSnapshotRemove, answers.Vm, copies.remove_snapshot),
    _changes(commands.VmSnapshotRevert, answers.Vm, copies.revert),
    _changes(commands.VmGuestWrite, answers.GuestAnswer, vms.guest_write),
    _changes(commands.VmGuestChallenge, answers.GuestAnswer, vms.guest_challenge),
    _looks(commands.GetRoles, answers.RoleList, roles.roles),
    _looks(commands.GetUsers, answers.UserList, roles.users),
    _changes(commands.RoleCreate, answers.RoleList, roles.create),
    _changes(commands.RoleUpdate, answers.RoleList, roles.update),
    _changes(commands.RoleDelete, answers.RoleList, roles.delete),
    _changes(commands.UserSet, answers.UserList, roles.set_user),
    _changes(commands.UserDelete, answers.UserList, roles.delete_user),
    _looks(commands.VsanDescribe, answers.Vsan, vsan.describe),
    _changes(commands.VsanEnable, answers.Vsan, vsan.enable),
    _changes(commands.VsanDisable, answers.Vsan, vsan.disable),
    _changes(commands.VsanRekey, answers.Vsan, vsan.rekey),
    _changes(commands.VsanHealth, answers.VsanHealthReport, vsan.health),
    _changes(commands.VsanObjectCreate, answers.Vsan, vsan.create_object),
    _changes(commands.VsanObjectWrite, answers.VsanObjectContent, vsan.write_object),
    _looks(commands.VsanObjectRead, answers.VsanObjectContent, vsan.read_object),
    _changes(commands.VsanDiskAdd, answers.Vsan, vsan.add_disk),
    _changes(commands.VsanDiskRemove, answers.Vsan, vsan.remove_disk),
    _changes(commands.VsanMount, answers.Vsan, vsan.mount),
    _looks(commands.KmsKeyShow, answers.Key, keys.show),
    _changes(commands.KmsKeyActivate, answers.Key, keys.activate),
    _changes(commands.KmsKeyGrant, answers.Key, keys.grant),
    _changes(commands.KmsKeyUngrant, answers.Key, keys.ungrant),
    _changes(commands.KmsKeyRevoke, answers.Fault, keys.revoke),
    _changes(commands.KmsKeyDestroy, answers.Fault, keys.destroy),
    _changes(commands.KmsBackup, answers.KeyBackup, keys.backup),
    _changes(commands.KmsRestore, answers.KeyBackup, keys.restore),
    _changes(commands.KmsRotateKek, answers.KeyServer, custody.rotate),
    _changes(commands.KmsSetRoot, answers.KeyServer, custody.set_root),
    _looks(commands.KmsIdentities, answers.KmsIdentityList, kmip_trust.identities),
    _changes(commands.KmsTrust, answers.KmsIdentityList, kmip_trust.trust),
    _changes(commands.KmsRevoke, answers.KmsIdentityList, kmip_trust.revoke),
    _changes(commands.KmsScope, answers.KmsIdentityList, kmip_trust.scope),
    _changes(commands.KmsRenewCertificate, answers.KmsIdentityList, kmip_trust.renew_server),
    _looks(commands.ProviderTrust, answers.ProviderTrustList, kmip_trust.list_trust),
    _changes(commands.ProviderTrustServers, answers.ProviderTrustList, kmip_trust.trust_servers),
    _changes(commands.ProviderRenewCertificate, answers.ProviderTrustList, kmip_trust.renew_client),
    _changes(commands.ProviderSigningRequest, answers.SigningRequest, kmip_trust.signing_request),
    _changes(
        commands.ProviderUploadCertificate,
        answers.ProviderTrustList,
        kmip_trust.upload_certificate,
    ),
    _changes(commands.ProviderAdd, answers.Provider, keys.provider_add),
    _changes(commands.ProviderSet, answers.Provider, entries.provider_set),
    _changes(commands.ProviderCreate, answers.Provider, native.create),
    _changes(commands.ProviderUpdate, answers.Provider, native.update),
    _changes(commands.ProviderExport, answers.ProviderBackup, native.export),
    _changes(commands.ProviderImport, answers.ProviderBackup, native.import_),
    _changes(commands.ProviderDefault, answers.Provider, keys.provider_default),
    _changes(commands.ProviderDelete, answers.Fault, keys.provider_delete),
    _changes(commands.TrustAdmin, answers.TrustAdminList, trust.admin),
    _changes(commands.TrustEnable, answers.TrustAuthority, trust.enable),
    _changes(commands.TrustExport, answers.TrustFile, trust.export),
    _changes(commands.TrustImport, answers.TrustFile, trust.import_),
    _changes(commands.TrustSettings, answers.TrustAuthority, trust.settings),
    _changes(commands.TrustKeyProvider, answers.TrustAuthority, trust.key_provider),
    _changes(commands.TrustServers, answers.TrustAuthority, trust.key_servers),
    _changes(commands.TrustCluster, answers.TrustedHostList, trust.cluster),
    _changes(commands.TrustRegister, answers.Provider, trust.register),
    _changes(commands.TrustSetup, answers.TrustedHostList, trust.setup),
    _changes(commands.TrustRemove, answers.TrustAuthority, trust.remove),
    _changes(commands.TrustRemediate, answers.TrustedHostList, trust.remediate),
    _changes(commands.TrustRenewCertificate, answers.TrustedHostList, trust.renew),
    _changes(commands.TrustRenewServices, answers.TrustAuthority, trust.renew_services),
    _looks(commands.GetTrustAuthority, answers.TrustAuthority, trust.authority),
    _looks(commands.GetTrustedHosts, answers.TrustedHostList, trust.list_trusted_hosts),
    _changes(commands.KmsKeyCreate, answers.Key, trust.key_create),
    _changes(commands.LinkCut, answers.Fault, faults.cut),
    _changes(commands.LinkDelay, answers.Fault, faults.delay),
    _changes(commands.LinkLoss, answers.Fault, faults.loss),
    _changes(commands.LinkDup, answers.Fault, faults.dup),
    _changes(commands.LinkReset, answers.Fault, faults.reset),
    _changes(commands.LinkStall, answers.Fault, faults.stall),
    _changes(commands.LinkHeal, answers.HealReport, faults.link_heal),
    _changes(commands.FaultInject, answers.Fault, faults.inject),
    _looks(commands.GetFaults, answers.FaultList, faults.faults),
    _changes(commands.Heal, answers.HealReport, faults.heal),
    _looks(commands.GetDirectory, Directory, experiments.directory),
    _changes(commands.ChaosPlay, Verdict, experiments.play),
    _changes(commands.ChaosStop, answers.RunStopped, experiments.stop),
)
COMMANDS: dict[type[Command[Any]], Served] = {served.command: served for served in _SERVED}
"""Every command that a lab serves."""


async def perform(
    session: Session,
    command: Command[B],
    vcenter: str = "",
    user: str = "",
    files: Files | None = None,
) -> B:
    """Do a command at ``vcenter`` (empty: its own choice) as ``user`` (empty: the administrator),
    with the ``files`` that came along; its answer. Every failure becomes a ``KeysteadError``."""
    session = session.at(vcenter).by(user).beside(files)
    try:
        answer: Any = await COMMANDS[type(command)].run(session, command)
    except ChaosError as error:
        raise refusal(error) from None
    except ProductError as error:
        raise refusal(error, await way_out(session, error)) from None
    done: B = answer
    return done


async def carry_out(session: Session, message: RunCommand, key: OneTimeKey) -> CommandDone:
    """Do a command that came from elsewhere, its files sealed to ``key``. Raises
    ``KeysteadError``, ``OSError``, and ``CryptographicFailure`` for files that do not open."""
    command = decode_command(message.command)
    files = Files(open_contents(name_of(command), key, message.files))
    answer = await perform(session, command, message.vcenter, message.user, files)
    written: dict[str, bytes] = {}
    if files.written:
        written = seal_contents(name_of(command), message.recipient, files.written)
    return CommandDone(answer=encode_answer(answer), files=written)
