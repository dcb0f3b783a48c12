"""How a host gets host key and KEK of an encrypted vSAN by itself (VSAN-03).

1. key cache, or the persisted store that was loaded at step B4 (VSAN-07)
2. native provider: derived (VSAN-06)
3. standard provider: asked of its key servers directly, by the profile that vCenter handed out

vCenter is asked for none of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.crypto.native import check_value
from protocol.errors import ProductError
from protocol.messages.base import Sealed
from protocol.messages.kms import KeyValues
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, KeyKind, KmipState
from protocol.vsan import VsanEncryption, VsanKeyServer
from services.esxi import crypto_manager
from services.esxi.configuration.stored_keys import StoredKey
from services.esxi.host import EsxiHost
from services.esxi.keys import persistence
from services.esxi.keys.resolve import KeyMeans, next_means
from services.esxi.providers import native
from services.esxi.providers.capabilities import KeySource, capability
from services.esxi.vsan import key_servers


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
    host.archive.now = persistence.with_keys(before, host.storable(held))
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
            reply = await key_servers.fetch_keys(host, profile, server, keys)
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
