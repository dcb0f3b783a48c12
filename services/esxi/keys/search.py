"""The search for the keys that an object needs: VMs today, whatever is encrypted tomorrow.

Steps 1 to 6 of resolving as one flow; the order itself is in ``resolve``. Each key goes its own
way: that one of them cannot be had keeps no other from being loaded or asked for.
"""

from __future__ import annotations

from typing import assert_never

from protocol.errors import EncryptionKeyRequired
from protocol.terms import CryptoKeyId
from services.esxi.host import EsxiHost
from services.esxi.keys.resolve import KeyMeans, next_means, on_the_host
from services.esxi.providers import native
from services.esxi.providers.trusted import keys as trusted


async def bring(host: EsxiHost, keys: tuple[CryptoKeyId, ...], *, subject: str, ask: bool) -> None:
    """Bring every one of ``keys`` into the key cache, each by the first means that applies.

    ``subject`` is what needs them, for the texts of refusals. ``ask``: ring at vCenter for those
    that only it can bring, and wait at most ``request_timeout_s`` for them.
    ``EncryptionKeyRequired`` names those that could not be had.
    """
    for key in keys:
        if key not in host.keys:
            native.check_takes_part(host, key.provider_id)
    _help_itself(host, keys)
    if wrapped := _by_means(host, keys, KeyMeans.KEY_PROVIDER_SERVICE, ask=ask):
        await trusted.bring(host, wrapped)
    wanted = _by_means(host, keys, KeyMeans.ASK_VCENTER, ask=ask)
    if wanted:
        await _have_vcenter_bring(host, wanted)
        _help_itself(host, wanted)  # a KDK may have come
    lacking = tuple(key for key in keys if key not in host.keys)
    if lacking:
        raise EncryptionKeyRequired(
            f"{subject}: required keys are not in the key cache of {host.node.name}", lacking
        )


async def _have_vcenter_bring(host: EsxiHost, wanted: tuple[CryptoKeyId, ...]) -> None:
    """Step 5: vCenter looks, sees what is missing, and pushes it or does not."""
    try:
        async with host.clock.timeout(host.node.knobs.request_timeout_s):
            if await host.uplink.ring():
                while not all(on_the_host(host.facts(key)) for key in wanted):
                    await host.keys.next_change.wait()
    except TimeoutError:
        pass  # what is missing still is named by the caller


def _help_itself(host: EsxiHost, keys: tuple[CryptoKeyId, ...]) -> None:
    """Steps 1 to 3, in which the host asks nobody."""
    for key in keys:
        match next_means(host.facts(key)):
            case KeyMeans.STORE:
                stored = host.find_stored_key(key)
                host.keys.load(() if stored is None else (stored,))
            case KeyMeans.DERIVE:
                native.bring(host, key)
            case KeyMeans.KEY_PROVIDER_SERVICE:
                pass  # asked next, and for all of them
            case KeyMeans.CACHE | KeyMeans.ASK_VCENTER | KeyMeans.NONE:
                pass
            case other:
                assert_never(other)


def _by_means(
    host: EsxiHost, keys: tuple[CryptoKeyId, ...], means: KeyMeans, *, ask: bool
) -> tuple[CryptoKeyId, ...]:
    return tuple(key for key in keys if next_means(host.facts(key, may_ask=ask)) is means)
