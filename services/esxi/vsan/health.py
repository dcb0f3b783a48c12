"""The host's report on its encryption: its keys, its disks, its connection to the key servers
(VSAN-14)."""

from __future__ import annotations

from protocol.errors import PermissionDenied, ProductError
from protocol.messages.host.vsan import VsanHostHealth, VsanServerHealth
from protocol.vsan import VsanEncryption, VsanEncryptionIssue, VsanKeyServer
from services.esxi.host import EsxiHost
from services.esxi.vsan import key_servers
from services.esxi.vsan.groups import DiskGroups

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
        await key_servers.check_server(host, profile, server)
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
        if key_servers.uses_kmip(now) and not key_servers.has_usable_certificate(host):
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
