"""Keys in use that their key server does not give any more: reported once, when a check finds it.

Hosts that have such a key continue, and do not learn of it (STD-19, STD-21). Without this check a
revoked, expired or destroyed key would only be noticed when a host boots. It is part of the health
check of a provider, and asks for states, never for values. The key's row records what was reported,
so that neither a restart of vCenter nor the next check reports it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from protocol.terms import CryptoKeyId, KeyUnavailableReason, ProviderId
from services.vcenter import events
from services.vcenter.inventory import Edit, Inventory
from services.vcenter.keys.users import hosts_of, note_key, vms_of
from services.vcenter.providers.provider import UNUSABLE_AT_SERVER, KeyProvider
from services.vcenter.tables import CryptoKeyRow

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
