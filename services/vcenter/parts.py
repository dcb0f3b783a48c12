"""Everything a task may touch, put together once at start."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.errors import InvalidState, NotFound
from protocol.messages.host import VmSummary
from protocol.messages.vcenter import HostInfo, ProviderInfo, VmInfo
from protocol.terms import HostConnectionState, NodeName, ProviderId, VmName
from services.runtime.ports import Clock, Database, Ports
from services.vcenter.adopt import adopt
from services.vcenter.config import VcenterConfig
from services.vcenter.connection import HostLink, HostLinks
from services.vcenter.events import Draft
from services.vcenter.health import Contacts
from services.vcenter.hostkey import HostKeys
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers import Providers
from services.vcenter.push import Push
from services.vcenter.reconcile import Reconciler, needs_pass
from services.vcenter.rows import HostRow, VmRow
from services.vcenter.views import host_info, provider_info, vm_info


@dataclass(frozen=True)
class Parts:
    """The parts of one vCenter in one life."""

    node: VcenterNode
    clock: Clock
    inventory: Inventory
    contacts: Contacts
    providers: Providers
    hosts: HostLinks
    hostkeys: HostKeys
    push: Push
    reconciler: Reconciler
    placing: dict[NodeName, int] = field(default_factory=dict)  # VMs being made per host

    # ---- finding ----------------------------------------------------------------------------

    def vm(self, name: VmName) -> VmRow:
        row = self.inventory.vms.get(name)
        if row is None:
            raise NotFound(f"there is no virtual machine {name}")
        return row

    def host(self, name: NodeName) -> HostRow:
        row = self.inventory.hosts.get(name)
        if row is None:
            raise NotFound(f"host {name} is not in the inventory")
        return row

    def provider_name(self, named: ProviderId | None) -> ProviderId:
        """The provider of a task: the named one, else the default (STD-02, R26)."""
        if named is None:
            default = self.inventory.default_provider()
            if default is None:
                raise InvalidState("there is no default key provider; name one or set a default")
            return default.name
        if named not in self.inventory.providers:
            raise NotFound(f"there is no key provider {named}")
        return named

    # ---- telling ----------------------------------------------------------------------------

    def host_view(self, row: HostRow) -> HostInfo:
        link = self.hosts.get(row.name)
        wanted = bool(self.inventory.keys_of(row.cluster))
        if link is None:
            state = HostConnectionState.DISCONNECTED
            return host_info(row, state, None, 0.0, wanted_safe=wanted)
        return host_info(row, link.state, link.summary, link.seen_at, wanted_safe=wanted)

    def vm_view(self, name: VmName) -> VmInfo:
        row = self.vm(name)
        link = self.hosts.get(row.host)
        connected = link is not None and link.state is HostConnectionState.CONNECTED
        return vm_info(row, host_connected=connected)

    def provider_view(self, name: ProviderId) -> ProviderInfo:
        row = self.inventory.providers.get(name)
        if row is None:
            raise NotFound(f"there is no key provider {name}")
        return provider_info(row, self.contacts)


def assemble(node: VcenterNode, ports: Ports, config: VcenterConfig, database: Database) -> Parts:
    """Make the parts; nothing runs yet."""
    inventory = Inventory(database, ports.bus, ports.clock)

    async def emit(draft: Draft) -> None:
        await inventory.commit(events=[draft])

    async def take_in(link: HostLink, vms: tuple[VmSummary, ...]) -> None:
        row = inventory.hosts.get(link.host)
        if row is None:
            return
        edits = adopt(inventory.vms, row.name, row.cluster, vms, hosts.claims)
        if edits:
            await inventory.commit(*edits)

    contacts = Contacts(node, ports.clock, emit)
    providers = Providers(inventory, ports.bus, contacts, node.knobs)
    hosts = HostLinks(node, ports.bus, ports.clock, ports.rng, take_in)
    hostkeys = HostKeys(node, inventory, providers, contacts)
    push = Push(node, ports.clock, config, inventory, providers, hostkeys)
    reconciler = Reconciler(node, ports.clock, inventory, providers, contacts, hosts)
    hosts.make_good = push.make_good
    hosts.needs_pass = lambda link, rung: needs_pass(
        inventory, link, rung=rung, auto_unlock=node.knobs.auto_unlock
    )
    contacts.recovered = reconciler.poke
    return Parts(
        node, ports.clock, inventory, contacts, providers, hosts, hostkeys, push, reconciler
    )
