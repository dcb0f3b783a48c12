"""CryptoManagerHost: mode, host key and key cache of a host, and what it stores of them.

Every change is made in one step without waiting, then saved, then answered. The queue of such
changes does not wait for the disk (``EsxiHost.save``): one save covers the changes that arrive
meanwhile.
"""

from __future__ import annotations

from typing import Final, assert_never

from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidState,
    ResourceInUse,
)
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import CryptoKeyResult
from protocol.messages.host.session import ProviderRef
from protocol.releases import Feature, check
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, KeyKind, ProviderId
from services.esxi import dumps
from services.esxi.configuration.sections import ConfigurationSection, StoredKey
from services.esxi.crypto_mode import Trigger, next_state
from services.esxi.host import EsxiHost
from services.esxi.keys import key_cache
from services.esxi.keys.key_cache import CacheAddition
from services.esxi.providers import native
from services.esxi.providers.capabilities import KeySource, capability
from services.esxi.providers.trusted import keys as trusted

KEY_SIZE: Final = 32  # bytes


async def prepare(host: EsxiHost) -> None:
    """incapable -> prepared: the host may receive keys, and has no host key."""
    await _enter_mode(host, next_state(host.mode, Trigger.PREPARE))


async def enable(
    host: EsxiHost, key: CryptoKeyId, material: Sealed | None, check: str = ""
) -> None:
    """Become safe with this host key. The key is persisted with the others (KP-07), unless it is
    derived.

    Without ``material`` this host derives the key, which must have that check value. A key of a
    trusted provider is unwrapped by a Key Provider Service, which makes one when the id is empty
    (KEY-02).
    """
    key, clear = await _get_host_key(host, key, material, check)
    same = host.host_key is None or (host.archive.now.host_key == key and host.host_key == clear)
    trigger = Trigger.ENABLE if same else Trigger.ENABLE_OTHER
    await _take_host_key(host, key, clear, check, trigger)


async def change_host_key(
    host: EsxiHost, key: CryptoKeyId, material: Sealed | None, check: str = ""
) -> None:
    """Safe with a new host key; the old one leaves cache and store."""
    key, clear = await _get_host_key(host, key, material, check)
    await _take_host_key(host, key, clear, check, Trigger.CHANGE_KEY)


async def _get_host_key(
    host: EsxiHost, key: CryptoKeyId, material: Sealed | None, check: str
) -> tuple[CryptoKeyId, KeyMaterial]:
    if material is not None:
        return key, _reveal_one(material)
    if capability(host.management_type(key)).source is KeySource.KEY_PROVIDER_SERVICE:
        return await trusted.get_host_key(host, key)
    return key, native.derive_host_key(host, key, check)


async def disable(host: EsxiHost) -> None:
    """pendingIncapable until the reboot; refused while an encrypted VM is registered (HEM-03).

    A prepared host becomes incapable at once; it has no host key.
    """
    here = [vm.name for vm in host.vms.values() if vm.config is not None and vm.config.encrypted]
    if here and host.mode is HostCryptoState.SAFE:
        raise ResourceInUse(f"encrypted VMs are on this host: {', '.join(sorted(here))}")
    mode = next_state(host.mode, Trigger.DISABLE)
    if mode is HostCryptoState.INCAPABLE:
        forget_host_key(host)
    await _enter_mode(host, mode)


def forget_host_key(host: EsxiHost) -> None:
    """Remove the host key from cache, store and configuration; the caller saves."""
    key = host.archive.now.host_key
    if key is not None:
        host.keys.remove(key)
        host.archive.now = key_cache.without_keys(host.archive.now, (key,))
        host.archive.change(host_key=None, host_key_check="")
    host.host_key = None


async def add_keys(
    host: EsxiHost, keys: tuple[CryptoKeyId, ...], material: Sealed, kind: KeyKind
) -> tuple[CryptoKeyResult, ...]:
    """Put keys of one kind into the cache, and into the store while persistence is on.

    The results are in the order of ``keys``. A key that is cached already is no change (KP-17);
    another key under a known id is refused and changes nothing.
    """
    clear = material.keys
    if len(clear) != len(keys):
        raise InvalidArgument(f"keys: {len(keys)} ids for {len(clear)} keys")
    if any(len(secret) != KEY_SIZE for secret in clear):
        raise InvalidArgument(f"keys: each has {KEY_SIZE} bytes")
    if host.mode not in (HostCryptoState.PREPARED, HostCryptoState.SAFE):
        raise InvalidState(f"{host.node.name} is {host.mode.value}: it accepts no keys")
    results, new, held = [], [], []
    for key, secret in zip(keys, clear, strict=True):
        added = host.keys.add(StoredKey(key, secret, kind))
        results.append(_key_result(key, added))
        if added is not CacheAddition.CONFLICT:
            held.append(host.keys[key])
        if added is CacheAddition.NEW:
            new.append(str(key))
    host.archive.now = key_cache.with_keys(host.archive.now, host.storable(held))
    stored = host.archive.now.persistence
    if stored:
        await host.save(host.key_sections())
    if new:
        host.node.record("keys.added", keys=new, stored=stored)
    return tuple(results)


async def remove_keys(
    host: EsxiHost, keys: tuple[CryptoKeyId, ...], *, withhold: bool = False
) -> tuple[CryptoKeyResult, ...]:
    """Drop keys from the cache, used or not, and by the knob from the store.

    ``withhold``: derived keys are not derived again in this life, until another KDK comes. Running
    VMs keep their DEKs (LOCK-04); the host key in memory stays until the next boot.
    """
    results, gone = [], []
    for key in keys:
        host.derived.discard(key)
        if withhold and capability(host.management_type(key)).source is KeySource.DERIVATION:
            host.disproved.add(key)
        if host.keys.remove(key):
            gone.append(str(key))
            results.append(CryptoKeyResult(key=key, success=True))
        else:
            reason = "not in the key cache"
            results.append(
                CryptoKeyResult(key=key, success=False, reason=reason, fault="InvalidArgument")
            )
    if host.node.knobs.store_follows_cache:
        host.archive.now = key_cache.without_keys(host.archive.now, keys)
    stored = len(host.archive.now.store)
    if host.node.knobs.store_follows_cache:
        await host.save(host.key_sections())
    if gone:
        host.node.record("keys.removed", keys=gone, stored=stored)
    return tuple(results)


async def evict_provider(host: EsxiHost, provider: ProviderId) -> tuple[int, int]:
    """Remove all keys of a deleted provider; returns how many left cache and store.

    This is the one definition of an eviction: every key in the cache and, by the knob, every entry
    of the store, the host key's included. The host key in memory stays (HEM-01 has no way from safe
    back to prepared), so the next boot is the first without it.
    """
    cached = [key for key in host.keys.ids() if key.provider_id == provider]
    for key in cached:
        host.keys.remove(key)
        host.derived.discard(key)
    stored = 0
    if host.node.knobs.store_follows_cache:
        before = host.archive.now
        theirs = [entry.key for entry in before.store if entry.key.provider_id == provider]
        host.archive.now = key_cache.without_keys(before, theirs)
        stored = len(theirs)
        await host.save(host.key_sections())
    if cached or stored:
        host.node.record("keys.evicted", provider=provider, cached=len(cached), stored=stored)
    return len(cached), stored


async def set_providers(
    host: EsxiHost, providers: tuple[ProviderRef, ...], received: dict[ProviderId, KeyMaterial]
) -> None:
    """Replace the list of providers and the KDKs of native ones; saved before the answer.

    KDKs of providers that are no longer in the list are removed; cached keys stay until they are
    evicted. ``InvalidArgument`` when there are more than ``max_key_providers``; ``NotAvailable``
    for a native one before 7.0 U2.
    """
    if len(providers) > host.node.knobs.max_key_providers:
        raise InvalidArgument(f"providers: at most {host.node.knobs.max_key_providers}")
    if any(capability(p.management_type).source is KeySource.DERIVATION for p in providers):
        check(host.node.name, host.config.release, Feature.NATIVE_ON_HOST)
    now, tpm_present = host.archive.now, host.tpm is not None
    kdks = native.kdks_after(now, providers, received, tpm_present=tpm_present)
    for ref in providers:
        if ref not in now.providers and native.is_excluded(ref, tpm_present=tpm_present):
            native.record_exclusion(host, ref.provider_id)
    if providers != now.providers or kdks != now.kdks:
        host.archive.change(providers=providers, kdks=kdks)
        native.forget_disproved(host, now.kdks)
        host.keys.announce()
    await native.save_providers(host, now)


async def _enter_mode(host: EsxiHost, mode: HostCryptoState) -> None:
    was = host.mode
    if mode is not was:
        host.archive.change(crypto_state=mode)
    await host.save(ConfigurationSection.CRYPTO | host.key_sections())
    if mode is not was:
        host.node.record("crypto.mode", old=was.value, new=mode.value)


async def _take_host_key(
    host: EsxiHost, key: CryptoKeyId, clear: KeyMaterial, check: str, trigger: Trigger
) -> None:
    mode, was, old = next_state(host.mode, trigger), host.mode, host.archive.now.host_key
    entry = StoredKey(key, clear, KeyKind.HOST)
    if host.keys.add(entry) is CacheAddition.CONFLICT:
        raise AlreadyExists(f"another key is cached under {key}")
    if old is not None and old != key:
        await dumps.rewrap_dumps(host, old, key, clear)
        host.keys.remove(old)
        host.derived.discard(old)
        host.archive.now = key_cache.without_keys(host.archive.now, (old,))
    host.host_key = clear
    host.archive.change(crypto_state=mode, host_key=key, host_key_check=check)
    if check:
        host.derived.add(key)
    host.archive.now = key_cache.with_keys(host.archive.now, host.storable((entry,)))
    host.keys.put(entry)  # in place of an entry of another kind
    await host.save(ConfigurationSection.CRYPTO | host.key_sections())
    if mode is not was:
        host.node.record("crypto.mode", old=was.value, new=mode.value)
    if old != key:
        host.node.record("crypto.host_key", key=str(key), old="" if old is None else str(old))


def _reveal_one(material: Sealed) -> KeyMaterial:
    match material.keys:
        case (KeyMaterial() as clear,) if len(clear) == KEY_SIZE:
            return clear
        case _:
            raise InvalidArgument(f"material: one key of {KEY_SIZE} bytes")


def _key_result(key: CryptoKeyId, added: CacheAddition) -> CryptoKeyResult:
    match added:
        case CacheAddition.NEW:
            return CryptoKeyResult(key=key, success=True)
        case CacheAddition.SAME:
            return CryptoKeyResult(key=key, success=True, fault="AlreadyExists")
        case CacheAddition.CONFLICT:
            return CryptoKeyResult(
                key=key,
                success=False,
                reason="another key is cached under this id",
                fault="InvalidArgument",
            )
        case _:
            assert_never(added)
