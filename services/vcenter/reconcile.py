"""The two periods of vCenter: repair of all hosts (STD-10) and health of key servers (STD-09).

A repair is the pass of ``push`` on every connected host. It also runs at once when a provider
that was down answers again, and when a provider was added.
"""

from __future__ import annotations

import asyncio

from protocol.errors import NotAvailable
from protocol.terms import PowerState
from services.runtime.ports import Clock
from services.vcenter.connection import HostLink, HostLinks
from services.vcenter.health import Contacts
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers import Providers
from services.vcenter.pulse import Pulse
from services.vcenter.rows import ProviderRow


class Reconciler:
    """Runs both loops from ``start`` on."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        inventory: Inventory,
        providers: Providers,
        contacts: Contacts,
        hosts: HostLinks,
    ) -> None:
        self._node, self._inventory = node, inventory
        self._providers, self._contacts, self._hosts = providers, contacts, hosts
        self._repair = Pulse(node, clock, "reconcile", node.knobs.remediation_interval_s)
        self._health = Pulse(node, clock, "health", node.knobs.kms_health_interval_s)
        self._shown: dict[str, str] = {}

    def start(self) -> None:
        self._repair.start()
        self._health.start()
        self._health.poke()
        self._node.background("reconcile", self._repair_loop())
        self._node.background("health", self._health_loop())

    def poke(self) -> None:
        """Repair soon."""
        self._repair.poke()

    async def _repair_loop(self) -> None:
        while True:
            await self._repair.next()
            connected = self._hosts.connected()
            self._node.record("reconcile.pass", hosts=len(connected))
            for link in connected:
                link.want_pass()

    async def _health_loop(self) -> None:
        while True:
            await self._health.next()
            async with asyncio.TaskGroup() as group:
                for row in self._inventory.providers.values():
                    group.create_task(self._check(row))

    async def _check(self, row: ProviderRow) -> None:
        provider = self._providers.find(row.name)
        if provider is None:
            return
        try:
            await provider.health()
        except NotAvailable as error:
            self._show(row.name, str(error))
            return
        self._show(row.name, self._contacts.status(row.name, row.servers))

    def _show(self, provider: str, status: str) -> None:
        if self._shown.get(provider) != status:
            self._shown[provider] = status
            self._node.record("provider.status", provider=provider, status=status)


def needs_pass(inventory: Inventory, link: HostLink, *, rung: bool, auto_unlock: bool) -> bool:
    """Whether the host's view shows what a pass would change: a VM without key that carries no
    mark (or any VM without key, when the host has rung: it asks for help), or a mark whose cause
    is gone."""
    if link.summary is None:
        return False
    for vm in link.summary.vms:
        row = inventory.vms.get(vm.vm)
        if row is None or row.host != link.host:
            continue
        lacks = bool(vm.missing) and vm.power is PowerState.OFF
        if lacks and (rung or row.lock_event is None):
            return True
        if auto_unlock and not lacks and row.lock_event is not None:
            return True
    return False
