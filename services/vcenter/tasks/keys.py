"""Keys on request: created, added to those that vCenter knows, removed, listed.

vCenter keeps ids only (STD-15), and nothing here changes a key at its key server (KEY-03).
"""

from __future__ import annotations

from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    KeyProviderUnreachable,
    ProductError,
    ResourceInUse,
)
from protocol.messages.host import Done
from protocol.messages.vcenter import (
    AddKey,
    GenerateKey,
    KeyGenerated,
    KeyIdList,
    KeyRemoved,
    ListKeys,
    RemoveKey,
)
from protocol.pages import first_page
from protocol.releases import Feature
from protocol.terms import CryptoKeyId, KeyType, KeyUnavailableReason
from services.vcenter import events
from services.vcenter.inventory import drop, put
from services.vcenter.keys.users import hosts_of, note_key, vms_of
from services.vcenter.removals import cancel_releases, release_keys
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow
from services.vcenter.tasks.encrypt import find_operation
from services.vcenter.tasks.leaving_hosts import passes_over
from services.vcenter.vcenter import VCenter


async def generate_key(vc: VCenter, message: GenerateKey) -> KeyGenerated:
    """Create a key; the provider's error is in the reply.

    ``NotAvailable`` for a provider whose keys vCenter does not make, which is not an error of the
    provider.
    """
    before = await find_operation(vc, message.operation_id, OperationKind.GENERATE_KEY, "")
    if before is not None and before.key is not None:
        return KeyGenerated(success=True, key=before.key)
    try:
        name = vc.provider_for(message.provider)
    except ProductError as error:
        return KeyGenerated(success=False, reason=str(error))
    native = vc.providers.derives(name)
    key_provider = vc.providers.require_provider(name) if native is None else None
    key_type = _key_type(vc, message)
    try:
        if native is not None:
            _generates_derived(vc)
            made = vc.providers.native.new_key(native).key_id
        if key_provider is not None:
            operation = f"{vc.node.name}/generate/{message.operation_id}"
            made = await key_provider.generate_key(operation, key_type)
    except ProductError as error:
        await vc.inventory.commit(events=[events.generate_failed(name, str(error))])
        return KeyGenerated(success=False, reason=str(error))
    key = CryptoKeyId(made, name)
    row = OperationRow(name=message.operation_id, kind=OperationKind.GENERATE_KEY, key=key)
    await vc.inventory.commit(
        put(DatabaseTable.OPERATION, row.name, row), note_key(key, listed=True)
    )
    return KeyGenerated(success=True, key=key)


def _key_type(vc: VCenter, message: GenerateKey) -> KeyType | None:
    """``NotAvailable`` for a type of key before 9.0 (KEY-07)."""
    if not isinstance(message.key_type, KeyType):
        return None
    vc.check_can(Feature.WRAPPED_KEYS)
    return message.key_type


def _generates_derived(vc: VCenter) -> None:
    """``NotAvailable`` for a vCenter of an older release (SC-40)."""
    vc.check_can(Feature.NATIVE_GENERATE_KEY)


async def add_key(vc: VCenter, message: AddKey) -> Done:
    """Add a key that its key server has; a forgotten key is delivered to hosts again."""
    key = message.key
    if key in vc.inventory.index.known_keys:
        raise AlreadyExists(f"key: vCenter has {key} already")
    if key.provider_id not in vc.inventory.providers:
        raise InvalidArgument(f"key: there is no key provider {key.provider_id}")
    why = (await vc.providers.require_provider(key.provider_id).status([key.key_id]))[key.key_id]
    if why is KeyUnavailableReason.CLUSTER_UNREACHABLE:
        raise KeyProviderUnreachable(f"the key {key} cannot be looked for: {why.value}")
    if why is KeyUnavailableReason.MISSING_IN_KMS:
        raise InvalidArgument(f"key: key provider {key.provider_id} has no key {key.key_id}")
    await vc.inventory.commit(note_key(key, listed=True, forgotten=False), *cancel_releases((key,)))
    _look_at_hosts(vc)
    return Done()


async def remove_key(vc: VCenter, message: RemoveKey) -> KeyRemoved:
    """Forget a key. With force it also leaves the hosts, the connected ones before this ends
    (SC-16)."""
    key = message.key
    if key not in vc.inventory.index.known_keys:
        raise InvalidArgument(f"key: vCenter has no key {key}")
    vms, hosts = vms_of(vc.inventory, key), hosts_of(vc.inventory, key)
    if not (vms or hosts):
        forget = drop(DatabaseTable.CRYPTO_KEY, str(key))
    elif message.force:
        forget = note_key(key, listed=False, forgotten=True)
    else:
        raise ResourceInUse(f"the key {key} is used by {_users(vms, hosts)}")
    if not message.force:
        await vc.inventory.commit(forget)
        return KeyRemoved()
    await vc.inventory.commit(forget, *release_keys((key,), tuple(vc.inventory.hosts)))
    vc.sharing.withdraw((key,))
    await passes_over(vc, tuple(vc.inventory.hosts))
    left = vc.inventory.released.get(str(key))
    return KeyRemoved(hosts=() if left is None else left.hosts)


def list_keys(vc: VCenter, message: ListKeys) -> KeyIdList:
    """The ids that vCenter knows, by provider and id; in pages."""
    left = vc.inventory.index.known_keys.after(message.after)
    page = first_page(left)
    return KeyIdList(keys=page, more=len(page) < len(left))


def _look_at_hosts(vc: VCenter) -> None:
    for name in vc.inventory.hosts:
        vc.passes.want(name, removing=True)


def _users(vms: tuple[str, ...], hosts: tuple[str, ...]) -> str:
    """The first users, and how many more there are."""
    users = (*vms, *(f"host {name}" for name in hosts))
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return ", ".join(users[:3]) + more
