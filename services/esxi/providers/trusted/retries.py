"""Repeats the requests of a trusted host that failed: for its host key, and for keys of VMs.

The host repeats them by itself, because vCenter has no part in these keys (TA-06). A host that
lacks nothing sends nothing.
"""

from __future__ import annotations

from protocol.errors import ProductError
from protocol.terms import CryptoKeyId, HostCryptoState, KeyKind, ManagementType
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.configuration.stored_keys import StoredKey
from services.esxi.crypto_mode import state_after_boot
from services.esxi.host import EsxiHost
from services.esxi.providers.trusted import keys
from services.esxi.providers.trusted.configuration import is_configured_for


def start_retries(host: EsxiHost) -> None:
    """Repeat for the rest of this life; one loop, however often this is called."""
    if not host.trust.retrying:
        host.trust.retrying = True
        host.node.background("trust.retry", _retry(host))


async def _retry(host: EsxiHost) -> None:
    period_s = host.node.knobs.trust_retry_s
    async for _ in host.clock.every(period_s, jitter_s=period_s / 4):
        async with host.node.turn("keystore"):
            await regain_host_key(host)
        wanted = _missing_keys(host)
        host.trust.unobtainable.intersection_update(wanted)
        await keys.bring_keys(host, wanted)
        if wanted and not host.trust.unobtainable:
            await host.uplink.ring()  # vCenter may unlock their VMs


def _missing_keys(host: EsxiHost) -> tuple[CryptoKeyId, ...]:
    """Keys that were requested in vain, of VMs that are still registered here."""
    used = {key for vm in host.vms.values() if vm.config is not None for key in vm.config.keys}
    return tuple(sorted(host.trust.unobtainable & used))


async def regain_host_key(host: EsxiHost) -> bool:
    """The first need for a token may be the host key (B7): attest, and have a service unwrap it.

    Returns whether the host has its key. A host that has it already sends nothing.
    """
    key = host.archive.now.host_key
    if host.host_key is not None or key is None:
        return host.host_key is not None
    if host.mode not in (HostCryptoState.PREPARED, HostCryptoState.SAFE):
        return False
    of_trusted = host.management_type(key) is ManagementType.TRUST_AUTHORITY
    if not of_trusted or not is_configured_for(host, key.provider_id):
        return False
    try:
        value = await keys.unwrap_key(host, key)
    except ProductError:
        return False  # reported where the services were asked
    if host.archive.now.host_key != key or host.host_key is not None:
        return host.host_key is not None
    host.host_key, was = value, host.mode
    mode = state_after_boot(was, host_key_at_hand=True)
    if mode is not was:
        host.archive.change(crypto_state=mode)
        host.node.record("crypto.mode", old=was.value, new=mode.value)
    await keys.keep_key(host, StoredKey(key, value, KeyKind.HOST))
    try:
        await host.archive.save(ConfigurationSection.CRYPTO | host.key_sections())
    except ProductError as error:
        host.node.record("config.save_failed", level="warning", reason=str(error))
    return True
