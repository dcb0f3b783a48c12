"""The health of key providers: every key server gets one harmless request per period (STD-09), and
a provider that answers also reports the states of its keys in use (``key_watch``).

Only providers whose health comes from key servers are asked; see ``providers.capabilities``.
"""

from __future__ import annotations

from protocol.errors import ProductError, SaveFailed
from protocol.terms import ProviderId
from services.runtime.each import for_each
from services.runtime.ports import Clock
from services.vcenter.certificate_ends import DAY_S, near_their_end
from services.vcenter.contacts import KeyServerContacts
from services.vcenter.inventory import Inventory, change_provider
from services.vcenter.keys.watch import look_at_keys
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.providers.provider import KeyProvider
from services.vcenter.providers.registry import ProviderRegistry
from services.vcenter.tables import ProviderRow
from services.vcenter.ticker import Ticker


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
