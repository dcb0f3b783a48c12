"""Key providers: making, changing, deleting, choosing the default, and a key on request.

All but ``generate_key`` run in one turn, because the default is one for all. A provider is its
name (KEY-01): one made again under the name of a deleted one takes its place (LOCK-06).
"""

from __future__ import annotations

from protocol import names
from protocol.errors import (
    InvalidArgument,
    InvalidState,
    NotAvailable,
    NotFound,
    ProductError,
)
from protocol.messages.host import Done
from protocol.messages.vcenter import (
    GenerateKey,
    KeyGenerated,
    MarkDefault,
    ProviderState,
    RegisterKmsCluster,
    UnregisterKmsCluster,
)
from protocol.terms import CryptoKeyId, ProviderId
from services.vcenter import events
from services.vcenter.inventory import Edit, change_provider, drop, put
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.tables import (
    DeletedRow,
    OperationKind,
    OperationRow,
    ProviderRow,
    Table,
)
from services.vcenter.tasks.encrypt import recorded
from services.vcenter.vcenter import VCenter


async def register(vc: VCenter, message: RegisterKmsCluster) -> ProviderState:
    """Make or change a provider; ask its servers once; repair the hosts (STD-10)."""
    name = message.provider
    known = vc.inventory.providers.get(name)
    _check(message, known)
    if known is None and len(vc.inventory.providers) >= vc.node.knobs.max_key_providers:
        limit = vc.node.knobs.max_key_providers
        raise InvalidState(f"there are {limit} key providers already, which is the limit")
    first = not vc.inventory.providers
    default = message.make_default or first or (known is not None and known.default)
    row = ProviderRow(
        name=name,
        management_type=message.management_type,
        servers=message.servers,
        default=default,
    )
    await vc.inventory.commit(
        *(_others(vc, name) if default else ()),
        put(Table.PROVIDER, name, row),
        drop(Table.DELETED, name),
    )
    if known is not None and known.servers != row.servers:
        vc.contacts.forget(name)
    await _greet(vc, name, tell=known is None)
    vc.reconciliation.soon()
    return ProviderState(provider=vc.provider_info(name))


def _check(message: RegisterKmsCluster, known: ProviderRow | None) -> None:
    names.PROVIDER.check(message.provider)
    if not CAPABILITIES[message.management_type].built:
        kind = message.management_type.value
        raise NotAvailable(f"key providers of management type {kind} are not built yet")
    if known is not None and known.management_type is not message.management_type:
        raise InvalidArgument(f"management_type: {known.name} is {known.management_type.value}")
    servers = [server.name for server in message.servers]
    if not servers or len(set(servers)) != len(servers) or not all(servers):
        raise InvalidArgument("servers: a standard provider has servers, each with its own name")


async def _greet(vc: VCenter, name: ProviderId, *, tell: bool) -> None:
    """The first contact: status from the start, and the vendor event for a new provider."""
    answered = await vc.providers.asked(name).health()
    if tell and answered:
        server, versions = next(iter(answered.items()))
        await vc.inventory.commit(events=[events.vendor(name, server, versions)])


async def unregister(vc: VCenter, message: UnregisterKmsCluster) -> Done:
    """DEL-01: use does not block it. The default goes with it (STD-02); keys stay at the KMS."""
    name = message.provider
    if name not in vc.inventory.providers:
        if name in vc.inventory.deleted:
            return Done()
        raise NotFound(f"there is no key provider {name}")
    gone = DeletedRow(name=name, at=vc.clock.monotonic())
    await vc.inventory.commit(drop(Table.PROVIDER, name), put(Table.DELETED, name, gone))
    vc.contacts.forget(name)
    return Done()


async def mark_default(vc: VCenter, message: MarkDefault) -> ProviderState:
    """STD-02: tasks that name no provider use this one from now on."""
    name = message.provider
    if name not in vc.inventory.providers:
        raise InvalidArgument(f"provider: there is no key provider {name}")
    await vc.inventory.commit(*_others(vc, name), change_provider(name, default=True))
    return ProviderState(provider=vc.provider_info(name))


def _others(vc: VCenter, name: ProviderId) -> list[Edit]:
    return [
        change_provider(row.name, default=False)
        for row in vc.inventory.providers.values()
        if row.default and row.name != name
    ]


async def generate_key(vc: VCenter, message: GenerateKey) -> KeyGenerated:
    """A new key; what the provider says against it comes in the reply.

    ``NotAvailable`` for a provider whose keys vCenter does not make: that is no failure of it.
    """
    before = await recorded(vc, message.operation_id, OperationKind.GENERATE_KEY, "")
    if before is not None and before.key is not None:
        return KeyGenerated(success=True, key=before.key)
    try:
        name = vc.provider_for(message.provider)
    except ProductError as error:
        return KeyGenerated(success=False, reason=str(error))
    provider = vc.providers.asked(name)
    try:
        made = await provider.create_key(f"{vc.node.name}/generate/{message.operation_id}")
    except ProductError as error:
        await vc.inventory.commit(events=[events.generate_failed(name, str(error))])
        return KeyGenerated(success=False, reason=str(error))
    key = CryptoKeyId(made.key_id, name)
    row = OperationRow(name=message.operation_id, kind=OperationKind.GENERATE_KEY, key=key)
    await vc.inventory.commit(put(Table.OPERATION, row.name, row))
    return KeyGenerated(success=True, key=key)
