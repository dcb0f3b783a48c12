"""The keys that a VM needs: found in the order of ``providers.capabilities``, or made on the host
when only the provider is named (KEY-02). A key that cannot be found does not keep others from
being loaded or requested.
"""

from __future__ import annotations

from typing import assert_never

from protocol.errors import EncryptionKeyRequired, NotAvailable
from protocol.terms import CryptoKeyId, ProviderId
from services.esxi.host import EsxiHost
from services.esxi.providers import native
from services.esxi.providers.capabilities import (
    KeyMeans,
    KeySource,
    capability,
    is_usable_on_host,
    next_means,
)
from services.esxi.providers.trusted import keys
from services.esxi.providers.trusted import keys as trusted


async def bring_keys(
    host: EsxiHost, keys: tuple[CryptoKeyId, ...], *, subject: str, ask: bool
) -> None:
    """Bring all of ``keys`` into the key cache, each by the first means that applies.

    ``subject`` is the object that needs them, for the texts of errors. ``ask``: ring vCenter for
    keys that only it can send, and wait at most ``request_timeout_s`` for them.
    ``EncryptionKeyRequired`` names the keys that could not be found.
    """
    for key in keys:
        if key not in host.keys:
            native.check_not_excluded(host, key.provider_id)
    _use_own_means(host, keys)
    if wrapped := _select_by_means(host, keys, KeyMeans.KEY_PROVIDER_SERVICE, ask=ask):
        await trusted.bring_keys(host, wrapped)
    wanted = _select_by_means(host, keys, KeyMeans.ASK_VCENTER, ask=ask)
    if wanted:
        await _ask_vcenter(host, wanted)
        _use_own_means(host, wanted)  # a KDK may have arrived
    lacking = tuple(key for key in keys if key not in host.keys)
    if lacking:
        raise EncryptionKeyRequired(
            f"{subject}: required keys are not in the key cache of {host.node.name}", lacking
        )


async def _ask_vcenter(host: EsxiHost, wanted: tuple[CryptoKeyId, ...]) -> None:
    """Step 5: vCenter looks at this host, sees what is missing, and sends it or not."""
    try:
        async with host.clock.timeout(host.node.knobs.request_timeout_s):
            if await host.uplink.ring():
                while not all(is_usable_on_host(host.facts(key)) for key in wanted):
                    await host.keys.next_change.wait()
    except TimeoutError:
        pass  # the caller names what is still missing


def _use_own_means(host: EsxiHost, keys: tuple[CryptoKeyId, ...]) -> None:
    """Steps 1 to 3, which need no other node."""
    for key in keys:
        match next_means(host.facts(key)):
            case KeyMeans.STORE:
                stored = host.find_stored_key(key)
                host.keys.load(() if stored is None else (stored,))
            case KeyMeans.DERIVE:
                native.bring_key(host, key)
            case KeyMeans.KEY_PROVIDER_SERVICE:
                pass  # requested next, together with the others
            case KeyMeans.CACHE | KeyMeans.ASK_VCENTER | KeyMeans.NONE:
                pass
            case other:
                assert_never(other)


def _select_by_means(
    host: EsxiHost, keys: tuple[CryptoKeyId, ...], means: KeyMeans, *, ask: bool
) -> tuple[CryptoKeyId, ...]:
    return tuple(key for key in keys if next_means(host.facts(key, may_ask=ask)) is means)


async def new_key(host: EsxiHost, provider: ProviderId) -> CryptoKeyId:
    """The id of a new key, which is cached. Raises the errors of ``native.new_key`` and
    ``trusted.keys.new_key``; ``NotAvailable`` when no provider of that name makes keys on hosts."""
    can = capability(host.management_type_of(provider))
    if not can.makes_keys:
        raise NotAvailable(f"{host.node.name}: no provider {provider} makes keys on this host")
    if can.source is KeySource.KEY_PROVIDER_SERVICE:
        key, _ = await keys.new_key(host, provider)
        return key
    return native.new_key(host, provider)
