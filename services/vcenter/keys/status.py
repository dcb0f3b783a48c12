"""QueryCryptoKeyStatus (STD-20): asks the provider, and lists the users of each key.

A provider whose keys vCenter does not manage is not asked: the status of its keys names their
manager as the reason. Each key has its own result. A key that vCenter was told to forget is missing
in its cache, whatever its key server answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET, UnsetType

from protocol.errors import InvalidArgument
from protocol.messages.vcenter import (
    CryptoKeyStatus,
    CryptoKeyStatusList,
    QueryCryptoKeyStatus,
    WrappingKeyInfo,
)
from protocol.pages import first_page
from protocol.releases import Feature, has
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    ProviderId,
)
from protocol.wrapped_keys import parse_wrapped
from services.vcenter.hosts.plan import by_provider
from services.vcenter.inventory import Inventory
from services.vcenter.keys.users import hosts_of, vms_of
from services.vcenter.keys.wrapped import WrappingConfig
from services.vcenter.ordered import RowsFrom
from services.vcenter.vcenter import VCenter

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
