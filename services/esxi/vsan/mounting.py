"""Mounting disk groups: step B6 of the boot, and later tries (VSAN-03, VSAN-04).

The host gets its host key and the KEK by itself from the key servers of the profile, by bus or by
KMIP under TLS (STD-06).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from protocol.crypto.certificates import validity
from protocol.crypto.derive import check_value
from protocol.errors import CryptographicFailure, DatastoreFault, InvalidState, ProductError
from protocol.messages.base import Sealed
from protocol.messages.kms.keys import DiscoverVersions, GetKeys, KeyValues
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, KeyKind, KmipState
from protocol.vsan import VsanEncryption, VsanKeyServer
from services.esxi import crypto_manager
from services.esxi.configuration.sections import ConfigurationSection, StoredKey
from services.esxi.host import EsxiHost
from services.esxi.keys import key_cache
from services.esxi.providers import native
from services.esxi.providers.capabilities import KeyMeans, KeySource, capability, next_means
from services.esxi.vsan.disk_groups import (
    FOLDER,
    DiskGroup,
    DiskImage,
    Label,
    group_name,
    unwrap_dek,
)
from services.keyservers.address import Kmip, address_of
from services.keyservers.client import KeyServers
from services.runtime.node_certificates import EARLIER_S, OwnCertificate, create_own_certificate
from services.runtime.streams import TlsIdentity


async def get_certificate(host: EsxiHost, *, renew: bool = False) -> OwnCertificate:
    """The host's certificate; created, durable on return, when there is none or ``renew`` asks for
    another.

    ``InvalidState`` without vSAN; ``SaveFailed``.
    """
    if host.config.vsan is None:
        raise InvalidState(f"{host.node.name} has no vSAN and contacts no key server")
    own = host.archive.now.kmip
    if own is None or renew:
        days = host.node.knobs.kmip_certificate_days
        own = create_own_certificate(
            host.rng, host.clock, host.node.name, days, earlier_s=EARLIER_S
        )
        host.archive.change(kmip=own)
        host.node.record("vsan.certificate", renewed=renew)
    await host.archive.save(ConfigurationSection.KMIP)
    return own


def uses_kmip(profile: VsanEncryption) -> bool:
    """Whether a server of the profile is reached by KMIP."""
    return any(isinstance(address_of(s.node, s.address), Kmip) for s in profile.servers)


def has_usable_certificate(host: EsxiHost) -> bool:
    """Whether the host has a certificate that is valid now."""
    own = host.archive.now.kmip
    if own is None:
        return False
    start, end = validity(own.certificate)
    return start <= host.clock.now() <= end


async def fetch_keys(
    host: EsxiHost, profile: VsanEncryption, server: VsanKeyServer, keys: Iterable[CryptoKeyId]
) -> KeyValues:
    """That server's answer about these keys; raises as ``KeyServers.request``."""
    if uses_kmip(profile):
        await get_certificate(host)
    message = GetKeys(key_ids=tuple(key.key_id for key in keys))
    within_s = host.node.knobs.request_timeout_s
    to = address_of(server.node, server.address)
    return await _build_key_servers(host, profile).request(to, message, within_s=within_s)


async def check_server(host: EsxiHost, profile: VsanEncryption, server: VsanKeyServer) -> None:
    """Return when that server answers; raises as ``KeyServers.request``."""
    to = address_of(server.node, server.address)
    within_s = host.node.knobs.request_timeout_s
    await _build_key_servers(host, profile).request(to, DiscoverVersions(), within_s=within_s)


def _build_key_servers(host: EsxiHost, profile: VsanEncryption) -> KeyServers:
    def identity() -> TlsIdentity:
        own = host.archive.now.kmip
        if own is None:
            raise InvalidState(f"{host.node.name} has no certificate for key servers")
        return TlsIdentity((own.certificate,), own.key, profile.trusted)

    ports = host.ports
    return KeyServers(ports.bus, ports.streams, host.clock, identity, activates=False)


def list_profiles(host: EsxiHost) -> tuple[VsanEncryption, ...]:
    """The configuration in force, and the one that is being applied."""
    now = host.archive.now
    return tuple(p for p in (now.vsan, now.vsan_next) if p is not None)


def collect_needed_keys(host: EsxiHost, *wanted: VsanEncryption) -> dict[CryptoKeyId, KeyKind]:
    """The keys of these configurations, and those that labels of disks name."""
    found: dict[CryptoKeyId, KeyKind] = {}
    for encryption in wanted:
        if encryption.host_key_id is not None:
            found[encryption.host_key_id] = KeyKind.HOST
        found.update(dict.fromkeys(encryption.keks(), KeyKind.VSAN))
    found.update(dict.fromkeys(host.vsan.keks(), KeyKind.VSAN))
    return found


async def bring_keys(host: EsxiHost, keys: Mapping[CryptoKeyId, KeyKind]) -> dict[CryptoKeyId, str]:
    """Bring these keys into the key cache, and into the store by key persistence; durable on
    return.

    Returns the keys that cannot be had, each with the reason. ``SaveFailed`` when the disk fails.
    """
    lacking: dict[CryptoKeyId, str] = {}
    by_profile: dict[VsanEncryption, list[CryptoKeyId]] = {}
    for key, kind in keys.items():
        if key in host.keys:
            continue
        why = _load_or_derive(host, key, kind)
        if why is None:
            continue
        profile = _profile_of(host, key)
        if profile is None:
            lacking[key] = why
        else:
            by_profile.setdefault(profile, []).append(key)
    for profile, wanted in by_profile.items():
        lacking.update(await _fetch_keys(host, profile, {key: keys[key] for key in wanted}))
    held = [host.keys[key] for key in keys if key in host.keys]
    before = host.archive.now
    host.archive.now = key_cache.with_keys(before, host.storable(held))
    if host.archive.now is not before:
        await host.archive.save(host.key_sections())
    for key, why in lacking.items():
        host.node.record("vsan.key_missing", level="warning", key=str(key), reason=why)
    return lacking


def _load_or_derive(host: EsxiHost, key: CryptoKeyId, kind: KeyKind) -> str | None:
    """Load or derive a key; None when it is cached then, else the reason why not."""
    match next_means(host.facts(key)):
        case KeyMeans.STORE:
            stored = host.find_stored_key(key)
            host.keys.load(() if stored is None else (stored,))
        case KeyMeans.DERIVE:
            value = native.bring_key(host, key, kind)
            check = _check_of(host, key)
            if value is not None and check and check_value(value) != check:
                native.disprove_keys(host, (key,))
                return f"the key derivation key of {key.provider_id} is another one now"
        case _:
            pass
    if key in host.keys:
        return None
    return f"it is not here, and there is no key server of {key.provider_id} to ask"


def _check_of(host: EsxiHost, key: CryptoKeyId) -> str:
    for profile in list_profiles(host):
        if key in (keks := profile.keks()):
            return keks[key]
        if profile.host_key_id == key:
            return profile.host_key_check
    return ""


def _profile_of(host: EsxiHost, key: CryptoKeyId) -> VsanEncryption | None:
    """The latest KMS profile from vCenter for a key's provider; None when there is none."""
    return next(
        (
            profile
            for profile in reversed(list_profiles(host))
            if profile.kms_provider_id == key.provider_id
            and capability(profile.management_type).source is KeySource.VCENTER
            and profile.servers
        ),
        None,
    )


async def _fetch_keys(
    host: EsxiHost, profile: VsanEncryption, keys: Mapping[CryptoKeyId, KeyKind]
) -> dict[CryptoKeyId, str]:
    """Ask the key servers in turn until one answers; returns the missing keys with the reasons."""
    why = "no key server answers"
    for server in profile.servers:
        try:
            reply = await fetch_keys(host, profile, server, keys)
        except ProductError as error:
            why = f"{server.name}: {error}"
            host.node.record(
                "vsan.kms_failed", level="warning", server=server.name, error=type(error).__name__
            )
            continue
        return _cache_active_keys(host, server, keys, reply)
    return dict.fromkeys(keys, why)


def _cache_active_keys(
    host: EsxiHost, server: VsanKeyServer, keys: Mapping[CryptoKeyId, KeyKind], reply: KeyValues
) -> dict[CryptoKeyId, str]:
    """Cache the usable values: Active ones (STD-19). Returns the reasons for the others."""
    lacking: dict[CryptoKeyId, str] = {}
    got = []
    for (key, kind), value in zip(keys.items(), reply.values, strict=True):
        if value.state is KmipState.ACTIVE and value.index is not None:
            host.keys.add(StoredKey(key, reply.material.keys[value.index], kind))
            got.append(str(key))
        else:
            state = "not there" if value.state is None else value.state.value
            lacking[key] = f"{server.name}: the key is {state}"
    if got:
        host.node.record("vsan.keys", keys=got, server=server.name)
    return lacking


async def take_host_key(host: EsxiHost, encryption: VsanEncryption) -> None:
    """Become safe with the host key of this configuration, if it is cached. This changes the key
    store as a command of vCenter does, in the same queue."""
    async with host.node.turn("keystore"):
        await _take_host_key(host, encryption)


async def _take_host_key(host: EsxiHost, encryption: VsanEncryption) -> None:
    key = encryption.host_key_id
    if key is None:
        return
    value = host.keys.get(key)
    if value is None or (host.host_key == value and host.archive.now.host_key == key):
        return
    material: Sealed | None = _material(value, encryption.host_key_check)
    if host.mode is HostCryptoState.INCAPABLE:
        await crypto_manager.prepare(host)
    if host.mode is HostCryptoState.SAFE:
        await crypto_manager.change_host_key(host, key, material, encryption.host_key_check)
    else:
        await crypto_manager.enable(host, key, material, encryption.host_key_check)


def _material(value: KeyMaterial, check: str) -> Sealed | None:
    """The material of a key; None for a derived one, which has a check value."""
    return None if check else Sealed.of(value)


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
    members = {member for profile in list_profiles(host) for member in profile.members}
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
    wanted = [p for p in list_profiles(host) if p.encryption_enabled]
    in_force = host.archive.now.vsan
    lacking = await _bring_keys(host, wanted)
    if in_force is not None and in_force.encryption_enabled:
        try:
            await take_host_key(host, in_force)
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
        lacking = await bring_keys(host, collect_needed_keys(host, *wanted))
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
