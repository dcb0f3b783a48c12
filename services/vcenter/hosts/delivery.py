"""Keys on their way to one host: fetched from their provider, sent with ``AddKeys``.

Key values are in local variables of ``supply`` and ``deliver`` and end with them (STD-15); those of
new keys wait in ``sharing`` or ``held_keys`` for a moment before. Lists are cut into pages that fit
into a message; each key has its own result.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.errors import ProductError
from protocol.messages.base import Sealed
from protocol.messages.host import (
    RESULT_BYTES,
    STATUS_BYTES,
    AddKeys,
    CryptoKeyResult,
    EvictKeys,
    GetCryptoKeyStatus,
    HostSummary,
    ProviderRef,
    RemoveKeys,
    SetProviders,
)
from protocol.pages import pages
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyUnavailableReason, ProviderId
from services.vcenter import events
from services.vcenter.config import VcenterConfig
from services.vcenter.hosts.held_keys import HeldKeys
from services.vcenter.hosts.once_per_boot import OncePerBoot
from services.vcenter.hosts.session import UNANSWERED, HostSession
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.capabilities import of_provider
from services.vcenter.providers.registry import ProviderRegistry
from services.vcenter.removals import record_dropped, record_evicted


class KeyDelivery:
    """Queries hosts for their keys, and adds and removes keys."""

    def __init__(
        self,
        node: VcenterNode,
        config: VcenterConfig,
        inventory: Inventory,
        providers: ProviderRegistry,
        once: OncePerBoot,
        held: HeldKeys,
    ) -> None:
        self._node, self._config, self._held = node, config, held
        self._inventory, self._providers, self._once = inventory, providers, once

    async def absent(
        self, session: HostSession, keys: Sequence[CryptoKeyId]
    ) -> frozenset[CryptoKeyId]:
        """The ``keys`` that are not in the host's cache.

        Keys that hosts get by themselves are not checked there: the host reports which of them a VM
        lacks.
        """
        types = self._inventory.lock_types()
        keys = [key for key in keys if not of_provider(types, key.provider_id).self_served]
        absent: set[CryptoKeyId] = set()
        for page in pages(keys, extra=STATUS_BYTES):
            status = await session.ask(GetCryptoKeyStatus(keys=page))
            present = {entry.key for entry in status.keys if entry.present}
            absent.update(key for key in page if key not in present)
        return frozenset(absent)

    def lacks_kdk(self, summary: HostSummary) -> bool:
        """Whether the host of that view lacks a KDK that it can be given now."""
        return self._providers.lacks_kdk(summary)

    async def set_providers(self, session: HostSession, providers: tuple[ProviderRef, ...]) -> None:
        """STD-10, NKP-02: send the whole list, with the KDKs of native providers."""
        kdks = {} if session.summary is None else self._providers.kdks_for(session.summary)
        listed = tuple(ref.provider_id for ref in providers if ref.provider_id in kdks)
        material = Sealed.of(*(kdks[name] for name in listed)) if listed else None
        await session.command(SetProviders(providers=providers, kdks=listed, material=material))

    async def evict(self, session: HostSession, provider: ProviderId) -> None:
        """DEL-02: remove the keys of a deleted provider from the host, once."""
        left = await session.command(EvictKeys(provider=provider))
        await self._inventory.commit(record_evicted(provider, session.host))
        self._node.record(
            "keys.evicted", host=session.host, provider=provider, count=left.cached + left.stored
        )

    async def take_away(self, session: HostSession, keys: Sequence[CryptoKeyId]) -> None:
        """STD-17: remove keys that no VM uses any more from cache and store. Keys that were removed
        by force are not derived again either."""
        forced = [key for key in keys if self._inventory.is_forgotten(key)]
        unused = [key for key in keys if key not in forced]
        for some, withhold in ((unused, False), (forced, True)):
            for page in pages(some, extra=RESULT_BYTES):
                await session.command(RemoveKeys(keys=page, withhold=withhold))
                await self._inventory.commit(*(record_dropped(key, session.host) for key in page))
        self._node.record("keys.released", host=session.host, count=len(keys))

    async def supply(
        self,
        session: HostSession,
        provider: ProviderId,
        keys: Sequence[CryptoKeyId],
        *,
        fresh: bool,
    ) -> dict[CryptoKeyId, KeyUnavailableReason]:
        """Fetch and deliver keys; returns those that are not available or not accepted, with the
        reason.

        Values that are held for the host are delivered without fetching them.
        """
        denied: dict[CryptoKeyId, KeyUnavailableReason] = {}
        most = self._config.keys_at_once
        if held := self._held.take(session.host, keys):
            keys = [key for key in keys if key not in held]
            for page in pages(held, extra=RESULT_BYTES, at_most=most):
                denied.update(await self.deliver(session, [(key, held[key]) for key in page]))
        for page in pages(keys, extra=RESULT_BYTES, at_most=most):
            bundle = await self._providers.fetch(provider, page, fresh=fresh)
            denied.update(bundle.denied)
            if bundle.values:
                denied.update(await self.deliver(session, bundle.values))
        return denied

    async def deliver(
        self, session: HostSession, values: Sequence[tuple[CryptoKeyId, KeyMaterial]]
    ) -> dict[CryptoKeyId, KeyUnavailableReason]:
        """Send AddKeys; a key that the host has already is no change (KP-17). Raises when it does
        not answer."""
        keys = tuple(key for key, _ in values)
        message = AddKeys(keys=keys, material=Sealed.of(*(value for _, value in values)))
        try:
            added = await session.command(message)
        except UNANSWERED:
            raise
        except ProductError as error:
            refused, why = keys, str(error)
        else:
            refused, why = _collect_refusals(added.results)
        self._node.record(
            "keys.pushed",
            host=session.host,
            provider=keys[0].provider_id,
            count=len(keys) - len(refused),
            refused=len(refused),
        )
        if refused:
            await self.report_refused(session, refused, why)
        return dict.fromkeys(refused, KeyUnavailableReason.MISSING_IN_CACHE)

    async def report_refused(
        self, session: HostSession, keys: tuple[CryptoKeyId, ...], why: str
    ) -> None:
        """``SendKeyError.HostError``, once per boot of the host."""
        if self._once.first(session.host, session.boot, "send"):
            draft = events.host_send_error(session.host, keys, why)
            await self._inventory.commit(events=[draft])


def refusal_of(result: CryptoKeyResult) -> str:
    """Why the host did not take this key; empty when it has it (KP-17)."""
    if result.success or result.fault == "AlreadyExists":
        return ""
    return result.reason or result.fault or "it gave no reason"


def _collect_refusals(results: Sequence[CryptoKeyResult]) -> tuple[tuple[CryptoKeyId, ...], str]:
    """The keys that were refused, and each different reason once."""
    refused = {result.key: why for result in results if (why := refusal_of(result))}
    return tuple(refused), "; ".join(dict.fromkeys(refused.values()))
