"""Making a key on the host when only the provider is named (KEY-02), by management type."""

from __future__ import annotations

from protocol.errors import NotAvailable
from protocol.terms import CryptoKeyId, ProviderId
from services.esxi.host import EsxiHost
from services.esxi.providers import native
from services.esxi.providers.capabilities import KeySource, capability
from services.esxi.providers.trusted import keys


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
