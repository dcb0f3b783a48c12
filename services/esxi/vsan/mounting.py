"""Mounting disk groups: step B6 of the boot, and later tries (VSAN-03, VSAN-04).

A group is mounted when every disk of it opens; otherwise its components are absent. The host is up
in any case.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import CryptographicFailure, DatastoreFault, ProductError
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId
from protocol.vsan import VsanEncryption
from services.esxi.host import EsxiHost
from services.esxi.providers import native
from services.esxi.vsan import keys
from services.esxi.vsan.groups import FOLDER, DiskGroup, group_name
from services.esxi.vsan.label import DiskImage, Label, unwrap_dek

NO_VSAN: Final = "no encrypted vSAN on this host"


async def mount_at_boot(host: EsxiHost) -> str:
    """Step B6; returns the text of its record."""
    if host.config.vsan is None:
        return NO_VSAN
    try:
        await _claim_disks(host)
    except (ProductError, OSError) as error:  # the host is up without them
        host.node.record("vsan.disks_unusable", level="error", reason=str(error))
    await mount_groups(host)
    set_neighbours(host)
    mounted = sum(group.mounted for group in host.vsan)
    return f"{mounted} of {len(list(host.vsan))} vSAN disk groups mounted"


def set_neighbours(host: EsxiHost) -> None:
    """Set the hosts that may request replicas: those of the cluster, and those of objects on this
    host."""
    members = {member for profile in keys.list_profiles(host) for member in profile.members}
    placed = {
        place.host
        for group in host.vsan
        for _, component in group.components()
        for place in component.places
    }
    host.uplink.set_neighbours(members | placed)


async def _claim_disks(host: EsxiHost) -> None:
    """Create the missing disks of the installation, empty and in clear. Not after vCenter has
    configured them or had one removed: a missing disk was removed then."""
    claim = host.config.vsan
    if claim is None or host.archive.now.vsan is not None:
        return
    there = set(await host.disk.list(FOLDER))
    for number in range(1, claim.groups + 1):
        for disk in range(1, claim.disks + 1):
            label = Label(group=group_name(number), disk=f"disk-{disk}")
            if f"{label.group}.{label.disk}" not in there:
                await host.vsan.write(host.disk, DiskImage(label), None, is_new=True)


async def mount_groups(host: EsxiHost) -> None:
    """Get the needed keys, become safe, mount the unmounted groups (VSAN-03)."""
    await _reread_disks(host)
    wanted = [p for p in keys.list_profiles(host) if p.encryption_enabled]
    in_force = host.archive.now.vsan
    lacking = await _bring_keys(host, wanted)
    if in_force is not None and in_force.encryption_enabled:
        try:
            await keys.take_host_key(host, in_force)
        except ProductError as error:
            host.node.record("vsan.host_key_refused", level="warning", reason=str(error))
    for group in host.vsan.list_unmounted():
        _mount_group(host, group, lacking)


async def _reread_disks(host: EsxiHost) -> None:
    """Read the disks of unmounted groups again."""
    claim = host.config.vsan
    try:
        await host.vsan.load(host.disk)
    except OSError as error:
        why = f"its disks cannot be read: {error.strerror or error}"
        names = () if claim is None else [group_name(n) for n in range(1, claim.groups + 1)]
        host.vsan.add_unseen(names, why)
        host.node.record("vsan.disks_unusable", level="error", reason=why)


async def _bring_keys(host: EsxiHost, wanted: list[VsanEncryption]) -> dict[str, str]:
    """The keys that cannot be had, by id. If the disk fails, a key stays in memory."""
    try:
        lacking = await keys.bring_keys(host, keys.collect_needed_keys(host, *wanted))
    except ProductError as error:
        host.node.record("config.save_failed", level="warning", reason=str(error))
        return {}
    return {str(key): why for key, why in lacking.items()}


def _mount_group(host: EsxiHost, group: DiskGroup, lacking: dict[str, str]) -> None:
    deks: dict[str, KeyMaterial] = {}
    try:
        if not group.labels:
            raise DatastoreFault(group.why)
        for name, label in sorted(group.labels.items()):
            if label is None:
                raise DatastoreFault(f"disk {name} is damaged")
            if label.kek is not None:
                deks[name] = _unwrap_dek(host, name, label, label.kek, lacking)
    except ProductError as error:
        group.unmount(str(error))
        host.node.record(
            "vsan.unmounted", level="warning", group=group.name, reason=type(error).__name__
        )
        return
    group.deks, group.mounted, group.why = deks, True, ""
    host.vsan.behind.note(placed.object for _, placed in group.components())
    host.node.record("vsan.mounted", group=group.name, disks=len(group.labels))


def _unwrap_dek(
    host: EsxiHost, name: str, label: Label, kek: CryptoKeyId, lacking: dict[str, str]
) -> KeyMaterial:
    """The DEK of a disk; ``CryptographicFailure`` when its KEK is missing or wrong."""
    value = host.keys.get(kek)
    if value is None:
        why = lacking.get(str(kek), "it is not on this host")
        raise CryptographicFailure(f"disk {name}: key {kek} cannot be had: {why}")
    try:
        return unwrap_dek(label, host.node.name, value)
    except CryptographicFailure:
        native.disprove_keys(host, (kek,))
        raise CryptographicFailure(f"disk {name}: key {kek} does not open it") from None
