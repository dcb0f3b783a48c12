"""Keys on their way to hosts: fetched from their provider and sent with ``AddKeys``.

New keys go to the other hosts of a cluster too (STD-12), gathered for each host; their values are
held between creation and delivery only (STD-15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import ProductError, SaveFailed
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import (
    RESULT_BYTES,
    STATUS_BYTES,
    AddKeys,
    CryptoKeyResult,
    EvictKeys,
    GetCryptoKeyStatus,
    RemoveKeys,
    SetProviders,
)
from protocol.messages.host.session import HostSummary, ProviderRef
from protocol.pages import pages
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyUnavailableReason, NodeName, ProviderId
from services.runtime.ports import Clock
from services.vcenter import events
from services.vcenter.config import VcenterConfig
from services.vcenter.events import OncePerBoot
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.hosts.session import UNANSWERED, HostSession
from services.vcenter.inventory import Inventory
from services.vcenter.key_use import not_wanted_there, record_dropped, record_evicted
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.capabilities import of_provider
from services.vcenter.providers.registry import ProviderRegistry


@dataclass
class _Held:
    """The keys for one host. ``shared``: ``sharing`` sends those that no pass takes. ``before``:
    keys that were here when the pass began."""

    values: dict[CryptoKeyId, KeyMaterial] = field(default_factory=dict)
    shared: bool = False
    before: tuple[CryptoKeyId, ...] = ()


class HeldKeys:
    """The held keys, by host."""

    def __init__(self) -> None:
        self._held: dict[NodeName, _Held] = {}

    def count(self, host: NodeName) -> int:
        """How many keys are held for the host."""
        held = self._held.get(host)
        return 0 if held is None else len(held.values)

    def hold(
        self, host: NodeName, key: CryptoKeyId, material: KeyMaterial, *, shared: bool
    ) -> None:
        """Hold a key. ``shared``: the caller takes everything in a moment; otherwise the host's
        next pass does, which the caller has requested."""
        held = self._held.setdefault(host, _Held())
        held.values[key] = material
        held.shared |= shared

    def take(self, host: NodeName, keys: Collection[CryptoKeyId]) -> dict[CryptoKeyId, KeyMaterial]:
        """Remove and return those of ``keys`` that are held."""
        held = self._held.get(host)
        if held is None or not held.values:
            return {}
        return {key: held.values.pop(key) for key in keys if key in held.values}

    def take_all(self, host: NodeName) -> dict[CryptoKeyId, KeyMaterial]:
        """Remove and return all keys that are held for the host."""
        held = self._held.pop(host, None)
        return {} if held is None else held.values

    def withdraw(self, keys: Iterable[CryptoKeyId]) -> None:
        """No host may get these keys any more."""
        for key in keys:
            for held in self._held.values():
                held.values.pop(key, None)

    def withdraw_all_of(self, provider: ProviderId) -> None:
        """As ``withdraw``, for all keys of a provider that was deleted."""
        for held in self._held.values():
            for key in [key for key in held.values if key.provider_id == provider]:
                del held.values[key]

    def pass_begins(self, host: NodeName) -> None:
        """Keys that arrive from now on are for the next pass, unless this one takes them."""
        held = self._held.get(host)
        if held is not None:
            held.before = tuple(held.values)

    def pass_ends(self, host: NodeName) -> None:
        """Drop keys for a pass that this one did not take."""
        held = self._held.get(host)
        if held is None or held.shared:
            return
        for key in held.before:
            held.values.pop(key, None)
        if not held.values:
            del self._held[host]


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


SILENT_S: Final = 1.0
"""Lab seconds after which a host that has not answered gives its place to another one. Many hosts
that fall silent together would delay the rest of their cluster by a call's length for each
place."""


@dataclass
class _Gathered:
    """The keys for one host; ``due`` in lab seconds of the monotonic clock.

    ``values``: keys that may be sent, in ``held_keys`` until then. ``sent``: keys passed to the
    bus. ``late``: of these, those that no host should have any more.
    """

    session: HostSession
    due: float
    values: dict[CryptoKeyId, KeyMaterial] = field(default_factory=dict)
    sent: set[CryptoKeyId] = field(default_factory=set)
    late: dict[CryptoKeyId, None] = field(default_factory=dict)

    def withdraw(self, key: CryptoKeyId) -> None:
        self.values.pop(key, None)
        if key in self.sent:
            self.late[key] = None


class KeySharing:
    """Gathers and sends keys to ``config.shares_at_once`` hosts at a time, not counting silent
    ones."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        config: VcenterConfig,
        inventory: Inventory,
        passes: PassQueue,
        delivery: KeyDelivery,
        held: HeldKeys,
    ) -> None:
        self._node, self._clock, self._config = node, clock, config
        self._inventory, self._passes = inventory, passes
        self._delivery, self._held = delivery, held
        self._waiting: dict[NodeName, _Gathered] = {}  # in order of ``due``
        self._ready: dict[NodeName, _Gathered] = {}
        self._sending: dict[NodeName, _Gathered] = {}
        self._placed: set[NodeName] = set()  # the hosts among these that have a place
        self._begun, self._change = asyncio.Event(), asyncio.Event()

    def start(self) -> None:
        """Send keys from now on."""
        self._node.background("sharing", self._gather())
        self._node.background("sharing:hosts", self._serve())

    def give(
        self, session: HostSession, key: CryptoKeyId, material: KeyMaterial, *, takes_keys: bool
    ) -> None:
        """Give a new key for one more host; it is sent soon, without a wait.

        Keys whose provider was deleted since their creation are dropped. ``takes_keys``: the host
        is safe; otherwise its next pass, which the caller requests, makes it so and delivers the
        key.
        """
        if key.provider_id not in self._inventory.providers:
            return
        host, full = session.host, self._config.keys_at_once
        if not takes_keys and self._held.count(host) >= full:
            return  # the pass fetches it
        self._held.hold(host, key, material, shared=takes_keys)
        if not takes_keys:
            return
        if host not in self._ready and host not in self._waiting:
            due = self._clock.monotonic() + self._node.knobs.key_gather_s
            self._waiting[host] = _Gathered(session, due)
            self._begun.set()
        if self._held.count(host) >= full and host in self._waiting:
            self._enough(host)

    def withdraw(self, keys: Iterable[CryptoKeyId]) -> None:
        """No host may get these keys any more; see the module."""
        gone = tuple(keys)
        self._held.withdraw(gone)
        for key in gone:
            for gathered in self._sending.values():
                gathered.withdraw(key)

    def withdraw_all_of(self, provider: ProviderId) -> None:
        """As ``withdraw``, for all keys of a provider that was deleted."""
        self._held.withdraw_all_of(provider)
        every = self._sending.values()
        keys = {key: None for gathered in every for key in (*gathered.values, *gathered.sent)}
        self.withdraw(key for key in keys if key.provider_id == provider)

    def forget(self, host: NodeName) -> None:
        """The host left the inventory; keys that wait for it are dropped."""
        self._drop(host)

    def _drop(self, host: NodeName) -> None:
        """Drop keys that are not being sent yet."""
        self._waiting.pop(host, None)
        self._ready.pop(host, None)
        self._held.take_all(host)

    def _enough(self, host: NodeName) -> None:
        """End the wait."""
        self._ready[host] = self._waiting.pop(host)
        self._change.set()

    async def _gather(self) -> None:
        """End the waits, each at its time."""
        while True:
            host = next(iter(self._waiting), None)
            if host is None:
                self._begun.clear()
                await self._begun.wait()
                continue
            wait_s = self._waiting[host].due - self._clock.monotonic()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            else:
                self._enough(host)

    async def _serve(self) -> None:
        while True:
            host = await self._next()
            self._node.background(f"sharing:{host}", self._send_in_place(host))

    async def _send_in_place(self, host: NodeName) -> None:
        silent = self._clock.alarm(SILENT_S, lambda: self._give_place(host))
        await self._send(host)
        silent.cancel()
        del self._sending[host]  # with the values
        self._give_place(host)  # more keys may have arrived for it meanwhile

    def _give_place(self, host: NodeName) -> None:
        self._placed.discard(host)
        self._change.set()

    async def _next(self) -> NodeName:
        """The first host whose wait is over and to which nothing is being sent; a place is free."""
        while True:
            ready = next((h for h in self._ready if h not in self._sending), None)
            if ready is not None and len(self._placed) < self._config.shares_at_once:
                gathered = self._sending[ready] = self._ready.pop(ready)
                gathered.values = self._held.take_all(ready)
                self._placed.add(ready)
                return ready
            self._change.clear()
            await self._change.wait()

    async def _send(self, host: NodeName) -> None:
        """Send the present keys for this host, in one message or as many as needed."""
        gathered = self._sending[host]
        most = self._config.keys_at_once
        try:
            for page in pages(tuple(gathered.values), extra=RESULT_BYTES, at_most=most):
                values = [(key, gathered.values[key]) for key in page if key in gathered.values]
                gathered.sent.update(key for key, _ in values)
                if values and await self._delivery.deliver(gathered.session, values):
                    self._passes.want(host)
        except ProductError:
            self._drop(host)  # its pass delivers these too
            self._passes.cut_short(host)
        if gathered.late:
            await self._take_back(host, tuple(gathered.late))

    async def _take_back(self, host: NodeName, keys: tuple[CryptoKeyId, ...]) -> None:
        """The keys may have arrived after their removal: remove them again."""
        while host in self._inventory.hosts:
            edits = not_wanted_there(keys, host, self._inventory.deleted)
            try:
                await self._inventory.commit(*edits)
            except SaveFailed:  # no room on the disk: no key is created meanwhile either
                await self._clock.sleep(self._node.knobs.heartbeat_s)
                continue
            self._passes.want(host, removing=True)
            return
