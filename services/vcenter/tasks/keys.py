"""Keys on request: created, added to those that vCenter knows, removed, listed, and their status
(QueryCryptoKeyStatus, STD-20). vCenter keeps ids only (STD-15), and nothing here changes a key
at its key server (KEY-03).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET, UnsetType

from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    KeyProviderUnreachable,
    ProductError,
    ResourceInUse,
)
from protocol.messages.host.session import Done
from protocol.messages.vcenter.providers import (
    AddKey,
    CryptoKeyStatus,
    CryptoKeyStatusList,
    GenerateKey,
    KeyGenerated,
    KeyIdList,
    KeyRemoved,
    ListKeys,
    QueryCryptoKeyStatus,
    RemoveKey,
    WrappingKeyInfo,
)
from protocol.pages import first_page
from protocol.releases import Feature, has
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyType,
    KeyUnavailableReason,
    NodeName,
    ProviderId,
)
from protocol.wrapped_keys import parse_wrapped
from services.vcenter import events
from services.vcenter.hosts.plan import by_provider
from services.vcenter.index import RowsFrom
from services.vcenter.inventory import Inventory, drop, put
from services.vcenter.key_use import cancel_releases, hosts_of, note_key, release_keys, vms_of
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow, WrappingConfig
from services.vcenter.tasks.encrypt import find_operation
from services.vcenter.vcenter import VCenter


async def passes_over(vc: VCenter, hosts: tuple[NodeName, ...]) -> None:
    """Return when a removing pass has ended at each of these hosts, complete or not, or after
    ``request_timeout_s``. The turn of the task ends here: the next task need not wait."""
    ends = [vc.passes.want(host, removing=True) for host in hosts]
    vc.node.end_turn()
    try:
        async with vc.clock.timeout(vc.node.knobs.request_timeout_s):
            for end in ends:
                await end.wait()
    except TimeoutError:
        pass  # the caller names the hosts that have not confirmed


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


STATUS_BYTES: Final = 256
"""Bytes of one key's status beyond its id, with one VM and one host that use it."""


async def query_key_status(vc: VCenter, message: QueryCryptoKeyStatus) -> CryptoKeyStatusList:
    """One entry per requested key, in order; all known keys when none are named; in pages."""
    left = _remaining_keys(vc.inventory, message)
    rest, requested = len(left), first_page(left, extra=STATUS_BYTES)
    answers: dict[CryptoKeyId, KeyUnavailableReason | None] = {}
    for provider, keys in by_provider(requested).items():
        found = await _ask(vc, provider, [key.key_id for key in keys])
        answers.update({CryptoKeyId(key_id, provider): why for key_id, why in found.items()})
    page = first_page(_entry(vc.inventory, key, answers[key]) for key in requested)
    return CryptoKeyStatusList(keys=page, more=len(page) < rest)


def _remaining_keys(inventory: Inventory, message: QueryCryptoKeyStatus) -> RowsFrom[CryptoKeyId]:
    """The requested keys after the cursor."""
    if not message.keys:
        return inventory.index.known_keys.after(message.after)
    requested = list(dict.fromkeys(message.keys))
    if message.after is None:
        return RowsFrom(requested, 0)
    if message.after not in requested:
        raise InvalidArgument(f"after: {message.after} is none of the requested keys")
    return RowsFrom(requested, requested.index(message.after) + 1)


async def _ask(
    vc: VCenter, provider: ProviderId, ids: list[KeyId]
) -> Mapping[KeyId, KeyUnavailableReason | None]:
    """The statuses from the provider itself, or from the table of types alone."""
    fixed = vc.providers.capability(provider).fixed_status
    if fixed is KeyUnavailableReason.MANAGED_BY_NKP and not has(vc.release, Feature.KEY_REASONS):
        return dict.fromkeys(ids, None)
    if fixed is not None:
        return dict.fromkeys(ids, fixed)
    return await vc.providers.require_provider(provider).status(ids)


def _entry(
    inventory: Inventory, key: CryptoKeyId, reason: KeyUnavailableReason | None
) -> CryptoKeyStatus:
    if inventory.is_forgotten(key):
        reason = KeyUnavailableReason.MISSING_IN_CACHE
    return CryptoKeyStatus(
        key=key,
        available=reason is None,
        reason=reason,
        encrypted_vms=vms_of(inventory, key),
        affected_hosts=hosts_of(inventory, key),
        wrapping_key=_wrapping_key(inventory, key),
    )


def _wrapping_key(inventory: Inventory, key: CryptoKeyId) -> WrappingKeyInfo | UnsetType:
    """The wrapping key of a wrapped key, with its times if this vCenter has had it in force."""
    wrapped = parse_wrapped(key.key_id)
    row = inventory.providers.get(key.provider_id)
    if wrapped is None:
        return UNSET
    if row is not None and isinstance(row.keys, WrappingConfig):
        for known in row.keys.known:
            if known.key_id == wrapped.wrapping_key:
                return known
    return WrappingKeyInfo(key_id=wrapped.wrapping_key, by_id=False)
