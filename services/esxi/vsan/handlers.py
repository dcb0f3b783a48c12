"""Handlers of a host with vSAN, for its vCenter, its neighbours and its console, and the host's
report on its encryption: its keys, its disks, its connection to the key servers (VSAN-14).
"""

from __future__ import annotations

from typing import Any

from protocol.errors import PermissionDenied, ProductError
from protocol.messages.host import vsan as m
from protocol.messages.host.session import Done
from protocol.messages.host.vsan import VsanHostHealth, VsanServerHealth
from protocol.vsan import VsanEncryption, VsanEncryptionIssue, VsanKeyServer
from services.esxi.host import EsxiHost
from services.esxi.providers.trusted.handlers import EsxiTrustHandlers
from services.esxi.vsan import components, encryption, mounting, objects
from services.esxi.vsan.disk_groups import DiskGroups
from services.runtime.service import Peer, serves

_NONE = VsanEncryption()


async def check_health(host: EsxiHost) -> VsanHostHealth:
    """Ask each key server of the profile now. Disks and keys are compared when all have
    answered."""
    profile = host.archive.now.vsan or _NONE
    servers = [await _check_server(host, profile, server) for server in profile.servers]
    now = host.archive.now.vsan or _NONE
    return VsanHostHealth(
        encryption=now,
        servers=tuple(servers),
        issues=_find_own_issues(host, now),
        aesni=host.config.aesni,
    )


async def _check_server(
    host: EsxiHost, profile: VsanEncryption, server: VsanKeyServer
) -> VsanServerHealth:
    try:
        await mounting.check_server(host, profile, server)
    except PermissionDenied as error:
        return VsanServerHealth(name=server.name, connected=False, why=str(error))
    except ProductError as error:
        why = f"{type(error).__name__}: {error}"
        return VsanServerHealth(name=server.name, connected=False, why=why)
    return VsanServerHealth(name=server.name, connected=True)


def _find_own_issues(host: EsxiHost, now: VsanEncryption) -> tuple[VsanEncryptionIssue, ...]:
    """Issues that can be found without another host."""
    found = []
    if now.encryption_enabled:
        if now.host_key_id is None or host.host_key is None:
            found.append(VsanEncryptionIssue.HOST_KEY_NOT_AVAILABLE)
        elif host.archive.now.host_key != now.host_key_id:
            found.append(VsanEncryptionIssue.HOST_KEY)
        keks = {now.kek_of(group.name) for group in host.vsan}
        if any(kek is None or kek not in host.keys for kek in keks):
            found.append(VsanEncryptionIssue.KEK_NOT_AVAILABLE)
        if mounting.uses_kmip(now) and not mounting.has_usable_certificate(host):
            found.append(VsanEncryptionIssue.CLIENT_CERTIFICATE)
    found += find_disk_issues(host.vsan, now)
    return tuple(found)


def find_disk_issues(groups: DiskGroups, now: VsanEncryption) -> list[VsanEncryptionIssue]:
    """Labels that differ from the configuration. Pure."""
    labels = [label for group in groups for label in group.labels.values() if label is not None]
    found = []
    if any(label.encrypted for label in labels) and not now.encryption_enabled:
        found.append(VsanEncryptionIssue.ENABLED_WHEN_CLUSTER_DISABLED)
    if now.encryption_enabled:
        if not all(label.encrypted for label in labels):
            found.append(VsanEncryptionIssue.DISABLED_WHEN_CLUSTER_ENABLED)
        if any(label.encrypted and label.kek != now.kek_of(label.group) for label in labels):
            found.append(VsanEncryptionIssue.KEK)
        if any(label.encrypted and label.dek_generation != now.dek_generation_id
               for label in labels):  # fmt: skip
            found.append(VsanEncryptionIssue.DEK)
    return found


def _vsan(_: Any) -> str:
    return "vsan"


def _write(message: Any) -> str:
    return f"vsan-write:{message.object}"


def _sync(message: Any) -> str:
    return f"vsan-sync:{message.object}"


class EsxiVsanHandlers(EsxiTrustHandlers):
    """Handlers of ``protocol.messages.host.vsan``. A subclass sets ``host``."""

    host: EsxiHost

    @serves(m.PrepareVsanEncryption, turn=_vsan)
    async def prepare_vsan(self, message: m.PrepareVsanEncryption, peer: Peer) -> Done:
        """See ``encryption.prepare_encryption``."""
        await encryption.prepare_encryption(self.host, message.encryption)
        return Done()

    @serves(m.ApplyVsanEncryption, turn=_vsan)
    async def apply_vsan(self, message: m.ApplyVsanEncryption, peer: Peer) -> m.VsanState:
        """See ``encryption.apply_encryption``."""
        reduced = message.allow_reduced_redundancy
        await encryption.apply_encryption(self.host, message.encryption, reduced=reduced)
        return self._vsan_state()

    @serves(m.MountVsanDiskGroups, turn=_vsan)
    async def mount_vsan(self, message: m.MountVsanDiskGroups, peer: Peer) -> m.VsanState:
        """See ``mounting.mount_groups``."""
        await mounting.mount_groups(self.host)
        return self._vsan_state()

    @serves(m.AddVsanDisk, turn=_vsan)
    async def add_vsan_disk(self, message: m.AddVsanDisk, peer: Peer) -> m.VsanState:
        """See ``encryption.add_disk``."""
        await encryption.add_disk(self.host, message.group, message.disk)
        return self._vsan_state()

    @serves(m.RemoveVsanDisk, turn=_vsan)
    async def remove_vsan_disk(self, message: m.RemoveVsanDisk, peer: Peer) -> m.VsanState:
        """See ``encryption.remove_disk``."""
        await encryption.remove_disk(self.host, message.group, message.disk)
        return self._vsan_state()

    @serves(m.CreateVsanComponent, turn=_vsan)
    async def create_vsan_component(self, message: m.CreateVsanComponent, peer: Peer) -> Done:
        """See ``components.create_component``."""
        await components.create_component(self.host, message)
        return Done()

    @serves(m.QueryVsan)
    async def query_vsan(self, message: m.QueryVsan, peer: Peer) -> m.VsanState:
        """The disk groups in their present state."""
        return self._vsan_state()

    @serves(m.QueryVsanEncryptionHealth)
    async def vsan_health(
        self, message: m.QueryVsanEncryptionHealth, peer: Peer
    ) -> m.VsanHostHealth:
        """See ``handlers.check_health``."""
        return await check_health(self.host)

    @serves(m.GenerateVsanClientCert, turn=_vsan)
    async def generate_vsan_client_cert(
        self, message: m.GenerateVsanClientCert, peer: Peer
    ) -> m.VsanClientCert:
        """See ``mounting.get_certificate``."""
        own = await mounting.get_certificate(self.host, renew=message.renew)
        return m.VsanClientCert(certificate=own.certificate)

    @serves(m.WriteVsanObject, turn=_write)
    async def write_vsan_object(self, message: m.WriteVsanObject, peer: Peer) -> m.VsanObjectAnswer:
        """See ``objects.write_object``."""
        digest = await objects.write_object(self.host, message.object, message.marker)
        return m.VsanObjectAnswer(digest=digest)

    @serves(m.ReadVsanObject)
    async def read_vsan_object(self, message: m.ReadVsanObject, peer: Peer) -> m.VsanObjectAnswer:
        """See ``objects.read_object``."""
        digest = await objects.read_object(self.host, message.object, message.nonce, message.blocks)
        return m.VsanObjectAnswer(digest=digest)

    @serves(m.FetchVsanReplica)
    async def fetch_vsan_replica(self, message: m.FetchVsanReplica, peer: Peer) -> m.VsanReplica:
        """For the hosts of its cluster that vCenter named (``access``)."""
        return await objects.read_replica(self.host, message.object, message.first, message.count)

    @serves(m.QueryVsanComponent)
    async def query_vsan_component(self, message: m.QueryVsanComponent, peer: Peer) -> m.VsanVote:
        """See ``objects.get_vote``."""
        return await objects.get_vote(self.host, message.object)

    @serves(m.ReserveVsanWrite, turn=_sync)
    async def reserve_vsan_write(self, message: m.ReserveVsanWrite, peer: Peer) -> m.VsanReserved:
        """See ``objects.reserve_number``."""
        return await objects.reserve_number(self.host, message.object, message.number)

    @serves(m.SyncVsanComponent, turn=_sync)
    async def sync_vsan_component(self, message: m.SyncVsanComponent, peer: Peer) -> m.VsanVote:
        """See ``objects.sync_component``."""
        return await objects.sync_component(
            self.host, message.object, message.stamp, message.source
        )

    def _vsan_state(self) -> m.VsanState:
        now = self.host.archive.now
        return m.VsanState(
            encryption=now.vsan or VsanEncryption(),
            preparing=now.vsan_next is not None,
            groups=self.host.vsan.describe(),
        )
