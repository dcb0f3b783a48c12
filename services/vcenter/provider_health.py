"""The health of key providers: every key server gets one harmless request per period (STD-09), and
a provider that answers also reports which keys in use it does not give any more. At each start
of vCenter a check finds out whether its encrypted secrets still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from protocol.errors import InvalidState, ProductError, SaveFailed
from protocol.events import EventTypeId
from protocol.terms import CryptoKeyId, KeyUnavailableReason, ProviderId
from services.runtime.each import for_each
from services.runtime.ports import Clock
from services.vcenter import events
from services.vcenter.events import EventDraft
from services.vcenter.inventory import Edit, Inventory, change_provider
from services.vcenter.key_server_status import DAY_S, KeyServerContacts, near_their_end
from services.vcenter.key_use import hosts_of, note_key, vms_of
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.providers.provider import UNUSABLE_AT_SERVER, KeyProvider
from services.vcenter.providers.registry import ProviderRegistry
from services.vcenter.tables import CryptoKeyRow, ProviderRow
from services.vcenter.timers import Ticker


def integrity_check(rows: Iterable[ProviderRow], providers: ProviderRegistry) -> list[EventDraft]:
    """The events of a check of these providers' secrets."""
    checked, failed = 0, []
    for row in rows:
        found: list[str] = []
        if row.native is not None:
            checked += 1
            with _collect_failures(found):
                providers.native.kdk(row)
        if row.client is not None:
            checked += 1
            with _collect_failures(found):
                providers.certificates.identity(row)
        for server in row.servers:
            if server.user_name:
                checked += 1
                with _collect_failures(found):
                    providers.logins.login(row, server)
        if found:
            text = f"Integrity check failed: {'; '.join(found)}"
            event = EventTypeId.CRYPTO_INTEGRITY_CHECK_FAILED
            failed.append(EventDraft(event=event, text=text, provider=row.name))
    if failed or not checked:
        return failed
    text = f"Integrity check passed: {checked} secrets of key providers open"
    return [EventDraft(event=EventTypeId.CRYPTO_INTEGRITY_CHECK_PASSED, text=text)]


@contextmanager
def _collect_failures(found: list[str]) -> Iterator[None]:
    """Collects the reasons why secrets do not open."""
    try:
        yield
    except InvalidState as error:
        found.append(str(error))


Statuses = Mapping[CryptoKeyId, KeyUnavailableReason | None]


@dataclass(frozen=True)
class KeyStatusFinding:
    """A change: ``edits`` of rows, and the newly affected keys by their trouble."""

    edits: tuple[Edit, ...]
    news: Mapping[KeyUnavailableReason, tuple[CryptoKeyId, ...]]


async def look_at_keys(inventory: Inventory, name: ProviderId, provider: KeyProvider) -> None:
    """Query the states of this provider's keys in use; commit changes, with their events."""
    keys = inventory.index.keys_in_use(name)
    if not keys:
        return
    found = await provider.status([key.key_id for key in keys])
    finding = compare(inventory.keys, keys, {key: found[key.key_id] for key in keys})
    if not finding.edits:
        return
    drafts = [
        events.keys_unusable(name, these, reason, _users(inventory, these))
        for reason, these in finding.news.items()
    ]
    await inventory.commit(*finding.edits, events=drafts)


def compare(
    rows: Mapping[str, CryptoKeyRow], keys: Sequence[CryptoKeyId], statuses: Statuses
) -> KeyStatusFinding:
    """Compare with the rows: a trouble that the key's row does not have is new; one that is over is
    removed.

    A provider that does not answer says nothing about its keys.
    """
    edits: list[Edit] = []
    news: dict[KeyUnavailableReason, list[CryptoKeyId]] = {}
    for key in keys:
        row, status = rows.get(str(key)), statuses[key]
        if status is not None and status not in UNUSABLE_AT_SERVER:
            continue
        before = None if row is None else row.trouble
        if status is before:
            continue
        edits.append(note_key(key, trouble=status))
        if status is not None:
            news.setdefault(status, []).append(key)
    return KeyStatusFinding(tuple(edits), {reason: tuple(these) for reason, these in news.items()})


def _users(inventory: Inventory, keys: Iterable[CryptoKeyId]) -> events.Users:
    vms = dict.fromkeys(vm for key in keys for vm in vms_of(inventory, key))
    hosts = dict.fromkeys(host for key in keys for host in hosts_of(inventory, key))
    return events.Users(tuple(vms), tuple(hosts))


class HealthChecks:
    """Runs checks from ``start`` on, the first at once; ``contacts`` gets the results."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        inventory: Inventory,
        providers: ProviderRegistry,
        contacts: KeyServerContacts,
    ) -> None:
        self._node, self._inventory = node, inventory
        self._providers, self._contacts = providers, contacts
        self._ticker = Ticker(node, clock, "health", node.knobs.kms_health_interval_s)
        self._recorded: dict[ProviderId, str] = {}
        self._clock = clock

    def start(self) -> None:
        """Check now and then in each period."""
        self._ticker.start()
        self._ticker.tick_now()
        self._node.background("health", self._run())

    async def _run(self) -> None:
        while True:
            await self._ticker.next()
            checked = [
                row
                for row in self._inventory.providers.values()
                if CAPABILITIES[row.management_type].has_key_servers
            ]
            await for_each(checked, self._check, name="health")

    async def _check(self, row: ProviderRow) -> None:
        try:
            provider = self._providers.require_provider(row.name)
        except ProductError:
            # The provider was deleted, or created again with another type, since this check began.
            return
        try:
            if await provider.health():
                await self._rotate(row.name, provider)
                await look_at_keys(self._inventory, row.name, provider)
        # The event is lost, but the cause of the change remains visible.
        except SaveFailed as error:
            self._node.record(
                "inventory.save_failed", level="warning", provider=row.name, reason=str(error)
            )
        await self._report_expiring_certificates(row.name)
        now = self._inventory.providers.get(row.name)
        if now is None:  # the provider was deleted meanwhile
            self._recorded.pop(row.name, None)
            return
        status = self._contacts.status(now.name, now.servers)
        if self._recorded.get(row.name) != status:
            self._recorded[row.name] = status
            self._node.record("provider.status", provider=row.name, status=status)

    async def _rotate(self, name: ProviderId, provider: KeyProvider) -> None:
        """KEY-08: a wrapping key whose interval is over is replaced; the next check tries again."""
        try:
            await provider.rotate()
        except SaveFailed:
            raise
        except ProductError as error:
            self._node.record(
                "wrapping_key.not_rotated", level="warning", provider=name, reason=str(error)
            )

    async def _report_expiring_certificates(self, name: ProviderId) -> None:
        """STD-07: an event for each certificate of the provider that expires soon, once."""
        row = self._inventory.providers.get(name)
        if row is None:
            return
        until = self._clock.now() + self._node.knobs.kms_certificate_warning_days * DAY_S
        found = near_their_end(row, until)
        if not found:
            return
        ending = (*row.ending, *found)
        try:
            await self._inventory.commit(
                change_provider(name, ending=ending), events=list(found.values())
            )
        except SaveFailed as error:  # the next check repeats it
            self._node.record(
                "inventory.save_failed", level="warning", provider=name, reason=str(error)
            )
