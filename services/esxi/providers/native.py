"""The native provider on a host: key derivation keys in the configuration, and keys derived from
them.

A KDK is in the encrypted configuration (NKP-10), never in the persisted store. A derived key is
cached until the next boot, or until its provider is evicted; it is not stored, because it can be
derived again. A host needs no other node for this (NKP-11).

A derived key that turned out to be wrong (the KDK differs from the one under which an object was
encrypted, NKP-18) counts as missing until another KDK arrives.
"""

from __future__ import annotations

import uuid

from protocol.crypto.derive import KDK_SIZE, check_value, derive_kek
from protocol.errors import (
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidState,
    NotAvailable,
    SaveFailed,
)
from protocol.messages.base import Sealed
from protocol.messages.host.session import ProviderRef
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, KeyKind, ManagementType, ProviderId
from services.esxi.configuration.sections import Configuration, ConfigurationSection, StoredKey
from services.esxi.host import EsxiHost


def kdks_after(
    now: Configuration,
    providers: tuple[ProviderRef, ...],
    received: dict[ProviderId, KeyMaterial],
    *,
    tpm_present: bool,
) -> tuple[StoredKey, ...]:
    """The KDKs of a host that receives this list of providers with these KDKs. Pure.

    A KDK that is not sent stays if it is of the same revision. A host without a TPM keeps none of a
    provider with ``tpm_required`` (NKP-12).
    """
    revisions = {ref.provider_id: ref.revision for ref in now.providers}
    known = {entry.key.provider_id: entry for entry in now.kdks}
    found = []
    for ref in providers:
        if ref.management_type is not ManagementType.NATIVE_PROVIDER:
            continue
        if is_excluded(ref, tpm_present=tpm_present):
            continue
        name, kdk = ref.provider_id, received.get(ref.provider_id)
        if kdk is not None:
            entry = StoredKey(CryptoKeyId(KeyId(ref.key_id), name), kdk, KeyKind.KDK)
            found.append(entry if entry != known.get(name) else known[name])
        elif name in known and revisions[name] == ref.revision:
            found.append(known[name])
    return tuple(found)


def is_excluded(ref: ProviderRef, *, tpm_present: bool) -> bool:
    """Whether the provider excludes a host with, or without, a TPM (NKP-12)."""
    return ref.tpm_required and not tpm_present


def kdks_by_provider(
    kdks: tuple[ProviderId, ...], material: Sealed | None
) -> dict[ProviderId, KeyMaterial]:
    """The KDKs of a message by provider; ``InvalidArgument`` unless there is one for each."""
    clear = () if material is None else material.keys
    if len(clear) != len(kdks) or any(len(kdk) != KDK_SIZE for kdk in clear):
        raise InvalidArgument(f"kdks: {len(kdks)} providers, each with a KDK of {KDK_SIZE} bytes")
    return dict(zip(kdks, clear, strict=True))


def derive_key(host: EsxiHost, key: CryptoKeyId) -> KeyMaterial | None:
    """The value of a key of a native provider; None when this host has no KDK for it."""
    kdk = host.kdk(key.provider_id)
    return None if kdk is None else derive_kek(kdk, key.key_id)


def bring_key(host: EsxiHost, key: CryptoKeyId, kind: KeyKind = KeyKind.VM) -> KeyMaterial | None:
    """Derive a key into the cache; None when this host cannot."""
    value = derive_key(host, key)
    if value is not None:
        host.keys.add(StoredKey(key, value, kind))
        host.derived.add(key)
    return value


def new_key(host: EsxiHost, provider: ProviderId) -> CryptoKeyId:
    """Make a key of this provider on the host (KEY-02): draw a new id and derive its key.

    ``NotAvailable`` when no provider of that name makes keys on hosts, ``InvalidState`` when it
    requires a TPM that the host does not have, ``EncryptionKeyRequired`` without the KDK.
    """
    ref = host.provider(provider)
    if ref is None:
        raise NotAvailable(f"{host.node.name}: no provider {provider} makes keys on this host")
    check_not_excluded(host, provider)
    key = CryptoKeyId(KeyId(str(uuid.UUID(bytes=host.rng.token(16), version=4))), provider)
    if bring_key(host, key) is None:
        raise EncryptionKeyRequired(
            f"the key derivation key of {provider} is not on {host.node.name}", (key,)
        )
    return key


def check_not_excluded(host: EsxiHost, provider: ProviderId) -> None:
    """``InvalidState`` when the provider requires a TPM that this host does not have (NKP-12)."""
    if not host.is_excluded(provider):
        return
    raise InvalidState(record_exclusion(host, provider))


def record_exclusion(host: EsxiHost, provider: ProviderId) -> str:
    """Record, and return, the text for a host without a TPM and a provider that requires one."""
    text = f"key provider {provider} requires a TPM 2.0 device, and {host.node.name} has none"
    host.node.record("native.tpm_required", level="warning", provider=provider, reason=text)
    return text


def derive_host_key(host: EsxiHost, key: CryptoKeyId, check: str) -> KeyMaterial:
    """The derived host key of that id; ``InvalidState`` when it does not have that check value."""
    check_not_excluded(host, key.provider_id)
    value = derive_key(host, key)
    if value is None:
        raise InvalidState(f"the key derivation key of {key.provider_id} is not on this host")
    if check_value(value) != check:
        raise InvalidState(f"{key}: the key derivation key of {key.provider_id} is another one now")
    return value


def disprove_keys(host: EsxiHost, keys: tuple[CryptoKeyId, ...]) -> tuple[CryptoKeyId, ...]:
    """Mark those of these keys that were derived as wrong: they leave the cache, and count as
    missing under the present KDK. Returns them."""
    wrong = tuple(key for key in keys if key in host.derived)
    for key in wrong:
        host.keys.remove(key)
        host.derived.discard(key)
        host.disproved.add(key)
    if wrong:
        host.node.record("keys.disproved", level="warning", keys=[str(key) for key in wrong])
    return wrong


def forget_disproved(host: EsxiHost, before: tuple[StoredKey, ...]) -> None:
    """Keys that were wrong under replaced KDKs may be right under the present ones."""
    same = {entry.key.provider_id for entry in host.archive.now.kdks if entry in before}
    host.disproved = {key for key in host.disproved if key.provider_id in same}


async def save_providers(host: EsxiHost, before: Configuration) -> None:
    """Make the list and its KDKs durable. ``before``: the configuration before the change.

    If the disk fails, the change is undone and ``SaveFailed`` raised: the host's view then matches
    its next boot, and vCenter sends the providers again.
    """
    mine = host.archive.now.providers
    try:
        await host.save(ConfigurationSection.PROVIDERS)
    except SaveFailed:
        if mine is not before.providers and host.archive.now.providers is mine:
            host.archive.change(providers=before.providers, kdks=before.kdks)
        raise


async def remove_provider(host: EsxiHost, provider: ProviderId) -> None:
    """At the host's console: remove the provider and its KDK from the list. vCenter is not
    notified.

    Cached keys of it stay. Saved before the answer; no change when it is not in the list.
    """
    now = host.archive.now
    if host.provider(provider) is not None:
        host.archive.change(
            providers=tuple(ref for ref in now.providers if ref.provider_id != provider),
            kdks=tuple(entry for entry in now.kdks if entry.key.provider_id != provider),
        )
        host.node.record("provider.removed", provider=provider)
    await save_providers(host, now)
