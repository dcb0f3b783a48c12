"""The host's handlers: thin, one per message; the flows are in the modules they call.

Key store and archive work keeps its order in the queue ``keystore``, work on one VM in the
queue of that VM. vCenter's commands need its session; the host's own console needs none.
"""

from __future__ import annotations

from typing import Any, ClassVar

from protocol.errors import InvalidPowerState, ProductError, ResponseTooLarge
from protocol.messages import host as m
from protocol.messages.base import Request
from protocol.messages.fingerprints import FingerprintKeys, KeyFingerprints
from protocol.messages.pages import fits
from protocol.terms import CryptoKeyId, Role, VmName
from services.esxi import attestation, boot, console, crypto_manager, dumps, maintenance
from services.esxi.config import EsxiConfig
from services.esxi.copies_door import CopiesDoor
from services.esxi.ha import ownership
from services.esxi.ha.agent import HaAgent
from services.esxi.ha.handlers import HaHandlers
from services.esxi.host import Host, page
from services.esxi.intruder_door import IntruderDoor
from services.esxi.keys import status
from services.esxi.keys.fingerprints import fingerprints
from services.esxi.knobs import EsxiNode
from services.esxi.migration import incoming, outgoing
from services.esxi.providers import native
from services.esxi.vms import disks, encrypt, power, recrypt, registration
from services.esxi.vms.guest import Guest
from services.esxi.vms.vm import RegisteredVm, disks_of, queue_of
from services.esxi.vsan.door import VsanDoor
from services.esxi.vtpm_door import VtpmDoor
from services.runtime.ports import Ports
from services.runtime.service import Peer, serves


def _keystore(_: Any) -> str:
    return "keystore"


def _maintenance(_: Any) -> str:
    return "maintenance"


def _vm(message: Any) -> str:
    return queue_of(message.vm)


def _check_answer(keys: tuple[CryptoKeyId, ...], each: int, peer: Peer) -> None:
    """``ResponseTooLarge`` when the answer, ``each`` bytes a key beyond its id, would not fit.

    The way in at the host itself has no such limit.
    """
    if not peer.local and not fits(keys, extra=each):
        raise ResponseTooLarge(f"the answer about {len(keys)} keys does not fit; ask in pages")


class EsxiService(VsanDoor, HaHandlers, VtpmDoor, CopiesDoor, IntruderDoor):
    """One ESXi host; the docstring of the package is a map of it."""

    role: ClassVar[Role] = Role.ESXI
    node: EsxiNode

    def __init__(self, node: EsxiNode, ports: Ports, config: EsxiConfig) -> None:
        super().__init__(node, ports)
        self.host = Host(node, ports, config)
        self.ha = HaAgent(self.host)
        self._was_opened = False  # a session, in this life

    async def start(self) -> None:
        """Boot, steps B0 to B7; B8 and B9 go on while the host serves."""
        await boot.boot(self.host)
        boot.start_loops(self.host, self.ha)

    async def stop(self) -> None:
        """Orderly: running VMs stop, the configuration is saved, the TPM is shut down."""
        await power.stop_all(self.host)
        await self.ha.end()
        try:
            await self.host.archive.save()
        except ProductError as error:
            self.node.record("config.save_failed", level="error", reason=str(error))
        await boot.shut_down_tpm(self.host)

    def accept(self, message: Request[Any], peer: Peer) -> None:
        """Judge who may send what, and which commands are of the session in force."""
        self.host.uplink.admit(message, peer)

    # ---- session and view -------------------------------------------------------------------

    @serves(m.OpenSession)
    async def open_session(self, message: m.OpenSession, peer: Peer) -> m.SessionOpened:
        """Step B8: vCenter takes command, and gets the host's view with the answer.

        Of VMs that do not run here, other hosts may have changed the configuration while vCenter
        did not reach this host. For the first session of a life the boot has just read them.
        """
        self.node.record("session.opened", vcenter=peer.node)
        if self._was_opened:
            await registration.read_again(self.host)
        self._was_opened = True
        return m.SessionOpened(summary=await self._view(peer))

    @serves(m.QueryHost)
    async def query_host(self, message: m.QueryHost, peer: Peer) -> m.HostState:
        """The host's view, with the VMs after a cursor, or without any."""
        if not message.vms:
            return m.HostState(summary=self.host.summary())
        return m.HostState(summary=await self._view(peer, message.after))

    @serves(m.CheckForUpdates)
    async def check_for_updates(self, message: m.CheckForUpdates, peer: Peer) -> m.UpdateSet:
        """vCenter's heartbeat: the host's view, unless the version says that it is known."""
        await self.host.look_at_locks()
        view, version = self.host.told_view(), self.host.version
        if message.version == version:
            return m.UpdateSet(version=version)
        return m.UpdateSet(version=version, summary=page(view))

    async def _view(self, peer: Peer, after: VmName | None = None) -> m.HostSummary:
        """As much of the host's view as fits into a message; all of it at the host itself."""
        await self.host.look_at_locks()
        return self.host.view() if peer.local else page(self.host.told_view(), after)

    # ---- TPM --------------------------------------------------------------------------------

    @serves(m.QueryTpmAttestationReport)
    async def attestation_report(
        self, message: m.QueryTpmAttestationReport, peer: Peer
    ) -> m.TpmAttestationReport:
        """Which TPM this is and what was booted, signed by the TPM (ATT-09)."""
        return await attestation.report(self.host, message.nonce, message.selection)

    @serves(m.ActivateTpmCredential)
    async def activate_credential(
        self, message: m.ActivateTpmCredential, peer: Peer
    ) -> m.TpmCredentialActivated:
        """Proof that the attestation key lies in the TPM with that endorsement key."""
        secret = await attestation.activate(self.host, message.credential)
        return m.TpmCredentialActivated(secret=secret)

    # ---- crypto manager ---------------------------------------------------------------------

    @serves(m.CryptoManagerHostPrepare, turn=_keystore)
    async def prepare(self, message: m.CryptoManagerHostPrepare, peer: Peer) -> m.Done:
        """See ``crypto_manager.prepare``."""
        await crypto_manager.prepare(self.host)
        return m.Done()

    @serves(m.CryptoManagerHostEnable, turn=_keystore)
    async def enable(self, message: m.CryptoManagerHostEnable, peer: Peer) -> m.Done:
        """See ``crypto_manager.enable``."""
        await crypto_manager.enable(self.host, message.key, message.material, message.check)
        return m.Done()

    @serves(m.ChangeHostKey, turn=_keystore)
    async def change_host_key(self, message: m.ChangeHostKey, peer: Peer) -> m.Done:
        """See ``crypto_manager.change_host_key``."""
        await crypto_manager.change_host_key(
            self.host, message.key, message.material, message.check
        )
        return m.Done()

    @serves(m.CryptoManagerHostDisable, turn=_keystore)
    async def disable(self, message: m.CryptoManagerHostDisable, peer: Peer) -> m.Done:
        """See ``crypto_manager.disable`` (HEM-03)."""
        await crypto_manager.disable(self.host)
        return m.Done()

    @serves(m.AddKeys, turn=_keystore)
    async def add_keys(self, message: m.AddKeys, peer: Peer) -> m.KeysAdded:
        """Keys that vCenter brings (STD-12), stored before the reply if persistence is on."""
        _check_answer(message.keys, m.RESULT_BYTES, peer)
        results = await crypto_manager.add_keys(
            self.host, message.keys, message.material, message.kind
        )
        return m.KeysAdded(results=results)

    @serves(m.RemoveKeys, turn=_keystore)
    async def remove_keys(self, message: m.RemoveKeys, peer: Peer) -> m.KeysRemoved:
        """Keys leave the cache, in use or not (LOCK-04), and by the knob the store."""
        _check_answer(message.keys, m.RESULT_BYTES, peer)
        return m.KeysRemoved(
            results=await crypto_manager.remove_keys(
                self.host, message.keys, withhold=message.withhold
            )
        )

    @serves(m.EvictKeys, turn=_keystore)
    async def evict_keys(self, message: m.EvictKeys, peer: Peer) -> m.KeysEvicted:
        """See ``crypto_manager.evict`` (DEL-02)."""
        cached, stored = await crypto_manager.evict(self.host, message.provider)
        return m.KeysEvicted(cached=cached, stored=stored)

    @serves(m.GetCryptoKeyStatus)
    async def key_status(self, message: m.GetCryptoKeyStatus, peer: Peer) -> m.KeyStatusList:
        """Which keys are here: those named, or all in cache or store, page by page."""
        if message.keys:
            _check_answer(message.keys, status.room(managed=message.managed), peer)
            return status.of(self.host, message.keys, managed=message.managed)
        return status.of_all(
            self.host, message.after, managed=message.managed, in_pages=not peer.local
        )

    @serves(m.SetProviders, turn=_keystore)
    async def set_providers(self, message: m.SetProviders, peer: Peer) -> m.Done:
        """The list of key providers that vCenter keeps equal on all hosts (STD-10)."""
        given = native.given_kdks(message.kdks, message.material)
        await crypto_manager.set_providers(self.host, message.providers, given)
        return m.Done()

    @serves(m.RemoveProvider, turn=_keystore)
    async def remove_provider(self, message: m.RemoveProvider, peer: Peer) -> m.Done:
        """See ``native.remove``."""
        await native.remove(self.host, message.provider)
        return m.Done()

    # ---- virtual machines -------------------------------------------------------------------

    @serves(m.HostCreateVm, turn=_vm)
    async def create_vm(self, message: m.HostCreateVm, peer: Peer) -> m.VmState:
        """See ``registration.create``."""
        vm = await registration.created(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostRegisterVm, turn=_vm)
    async def register_vm(self, message: m.HostRegisterVm, peer: Peer) -> m.VmState:
        """See ``registration.register``."""
        vm = await registration.register(self.host, message.vm)
        await ownership.claim(self.host, vm)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostUnregisterVm, turn=_vm)
    async def unregister_vm(self, message: m.HostUnregisterVm, peer: Peer) -> m.Done:
        """See ``registration.unregister``."""
        await registration.unregister(self.host, message.vm)
        return m.Done()

    @serves(m.HostDestroyVm, turn=_vm)
    async def destroy_vm(self, message: m.HostDestroyVm, peer: Peer) -> m.Done:
        """See ``registration.destroy``."""
        await registration.destroy(self.host, message.vm)
        return m.Done()

    @serves(m.ReconfigureVm, turn=_vm)
    async def reconfigure_vm(self, message: m.ReconfigureVm, peer: Peer) -> m.VmState:
        """Encrypt a powered-off VM; without a key the host makes one (KEY-02)."""
        vm = await encrypt.encrypt(self.host, message.vm, message.key, message.provider)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostRecryptVm, turn=_vm)
    async def recrypt_vm(self, message: m.HostRecryptVm, peer: Peer) -> m.VmState:
        """See ``recrypt.recrypt``."""
        vm = await recrypt.recrypt(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostDecryptVm, turn=_vm)
    async def decrypt_vm(self, message: m.HostDecryptVm, peer: Peer) -> m.VmState:
        """See ``recrypt.decrypt``."""
        vm = await recrypt.decrypt(self.host, message.vm)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostAddDisk, turn=_vm)
    async def add_disk(self, message: m.HostAddDisk, peer: Peer) -> m.DisksOfVm:
        """See ``disks.add``."""
        return self._disks(await disks.add(self.host, message))

    @serves(m.HostRemoveDisk, turn=_vm)
    async def remove_disk(self, message: m.HostRemoveDisk, peer: Peer) -> m.DisksOfVm:
        """See ``disks.remove``."""
        return self._disks(await disks.remove(self.host, message.vm, message.disk))

    def _disks(self, vm: RegisteredVm) -> m.DisksOfVm:
        there = () if vm.config is None else disks_of(vm.config)
        return m.DisksOfVm(summary=self.host.vm_summary(vm), disks=there)

    @serves(m.HostPowerOnVm, turn=_vm)
    async def power_on_vm(self, message: m.HostPowerOnVm, peer: Peer) -> m.VmState:
        """vCenter brings missing keys itself; for the local administrator the host asks it."""
        vm = await power.power_on(self.host, message.vm, ask=peer.local)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostPowerOffVm, turn=_vm)
    async def power_off_vm(self, message: m.HostPowerOffVm, peer: Peer) -> m.VmState:
        """See ``power.power_off``."""
        vm = await power.power_off(self.host, message.vm)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.GuestWrite, turn=_vm)
    async def guest_write(self, message: m.GuestWrite, peer: Peer) -> m.GuestAnswer:
        """The digest of the answer is over all blocks as read back, with an empty nonce."""
        guest = self._guest(message.vm)
        return await guest.fill(message.marker)

    @serves(m.GuestChallenge, turn=_vm)
    async def guest_challenge(self, message: m.GuestChallenge, peer: Peer) -> m.GuestAnswer:
        """The guest proves that it works: it reads from the datastore, and rewrites a block."""
        guest = self._guest(message.vm)
        return await guest.challenge(message.nonce, message.blocks, self.rng.stream("guest"))

    def _guest(self, name: VmName) -> Guest:
        vm = self.host.registered(name)
        if vm.guest is None:
            raise InvalidPowerState(f"{name} is not running")
        return vm.guest

    # ---- migration --------------------------------------------------------------------------

    @serves(m.HostPrepareMigration, turn=_vm)
    async def prepare_migration(
        self, message: m.HostPrepareMigration, peer: Peer
    ) -> m.MigrationPrepared:
        """See ``incoming.prepare``."""
        vm = await incoming.prepare(self.host, message)
        return m.MigrationPrepared(summary=self.host.vm_summary(vm))

    @serves(m.HostMigrateVm, turn=_vm)
    async def migrate_vm(self, message: m.HostMigrateVm, peer: Peer) -> m.VmMigrated:
        """See ``outgoing.migrate``."""
        return await outgoing.migrate(self.host, message)

    @serves(m.SendMemory, turn=_vm)
    async def take_memory(self, message: m.SendMemory, peer: Peer) -> m.MemoryTaken:
        """See ``incoming.take``."""
        incoming.take(self.host, message, peer.node)
        return m.MemoryTaken()

    @serves(m.SwitchOver, turn=_vm)
    async def switch_over(self, message: m.SwitchOver, peer: Peer) -> m.SwitchedOver:
        """See ``incoming.switch_over``; vCenter is rung, in case it does not ask."""
        await incoming.switch_over(self.host, message, peer.node)
        self.node.background("migration.ring", self._ring())
        return m.SwitchedOver()

    @serves(m.HostEndMigration, turn=_vm)
    async def end_migration(self, message: m.HostEndMigration, peer: Peer) -> m.MigrationEnded:
        """See ``incoming.end``."""
        vm = await incoming.end(self.host, message)
        return m.MigrationEnded(summary=None if vm is None else self.host.vm_summary(vm))

    async def _ring(self) -> None:
        await self.host.uplink.ring()

    # ---- maintenance mode -------------------------------------------------------------------

    @serves(m.HostEnterMaintenanceMode, turn=_maintenance)
    async def enter_maintenance_mode(
        self, message: m.HostEnterMaintenanceMode, peer: Peer
    ) -> m.Done:
        """See ``maintenance.enter``."""
        await maintenance.enter(self.host)
        return m.Done()

    @serves(m.HostExitMaintenanceMode, turn=_maintenance)
    async def exit_maintenance_mode(self, message: m.HostExitMaintenanceMode, peer: Peer) -> m.Done:
        """See ``maintenance.leave``."""
        await maintenance.leave(self.host)
        return m.Done()

    # ---- core dumps --------------------------------------------------------------------------

    @serves(m.WriteDump, turn=_keystore)
    async def write_dump(self, message: m.WriteDump, peer: Peer) -> m.DumpWritten:
        """See ``dumps.write``."""
        return m.DumpWritten(dump=await dumps.write(self.host, message))

    @serves(m.ListDumps)
    async def list_dumps(self, message: m.ListDumps, peer: Peer) -> m.DumpList:
        """See ``dumps.all_dumps``."""
        return m.DumpList(dumps=await dumps.all_dumps(self.host))

    @serves(m.DecryptDump)
    async def decrypt_dump(self, message: m.DecryptDump, peer: Peer) -> m.DumpDecrypted:
        """See ``dumps.decrypt``."""
        dump, content = await dumps.decrypt(self.host, message.dump)
        return m.DumpDecrypted(dump=dump, content=content)

    @serves(m.RemoveDump, turn=_keystore)
    async def remove_dump(self, message: m.RemoveDump, peer: Peer) -> m.Done:
        """See ``dumps.remove``."""
        await dumps.remove(self.host, message.dump)
        return m.Done()

    # ---- console ----------------------------------------------------------------------------

    @serves(m.Esxcli, turn=_keystore)
    async def esxcli(self, message: m.Esxcli, peer: Peer) -> m.EsxcliResult:
        """One command line at the console; the exit code is 1 when it is refused."""
        return await console.run(self.host, message.arguments)

    @serves(m.SaveConfiguration, turn=_keystore)
    async def save_configuration(self, message: m.SaveConfiguration, peer: Peer) -> m.Done:
        """The auto-backup script: save all sections of the configuration now (DUR-01)."""
        await console.back_up(self.host)
        return m.Done()

    @serves(FingerprintKeys)
    async def fingerprint_keys(self, message: FingerprintKeys, peer: Peer) -> KeyFingerprints:
        """For who stands at the host itself: whether keys are the same, and not which."""
        return fingerprints(self.host, message)
