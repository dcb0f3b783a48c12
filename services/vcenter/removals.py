"""Removals from hosts, as edits of the inventory: keys that nothing uses, deleted providers. Pure.

A key whose VM was unregistered or destroyed leaves every host of its cluster (STD-17); a host that
is away loses it when it is back. Only keys of VMs that vCenter itself removed from its inventory
are released: an unknown key on a host may belong to a VM that vCenter does not know *yet*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from protocol.terms import CryptoKeyId, NodeName, ProviderId
from services.vcenter.inventory import Edit, drop
from services.vcenter.tables import DatabaseTable, DeletedRow, ReleasedRow


def release_keys(keys: Iterable[CryptoKeyId], hosts: Sequence[NodeName]) -> tuple[Edit, ...]:
    """Keys that these hosts must drop. A key that a VM uses, still or again, stays all the same."""
    return tuple(_release(key, hosts) for key in keys)


def _release(key: CryptoKeyId, hosts: Sequence[NodeName]) -> Edit:
    return Edit(DatabaseTable.RELEASED, str(key), lambda there: _with_hosts(there, key, hosts))


def cancel_releases(keys: Iterable[CryptoKeyId]) -> tuple[Edit, ...]:
    """Keys that a VM uses again: no host must drop them."""
    return tuple(drop(DatabaseTable.RELEASED, str(key)) for key in keys)


def record_dropped(key: CryptoKeyId, host: NodeName) -> Edit:
    """The host has dropped the released key."""
    return Edit(DatabaseTable.RELEASED, str(key), lambda there: _without_host(there, host))


def record_evicted(provider: ProviderId, host: NodeName) -> Edit:
    """The keys of the deleted provider have left the host."""

    def change(row: DeletedRow | None) -> DeletedRow | None:
        if row is None or host in row.evicted_from:
            return row
        return msgspec.structs.replace(row, evicted_from=(*row.evicted_from, host))

    return Edit(DatabaseTable.DELETED, provider, change)


def not_wanted_there(
    keys: Sequence[CryptoKeyId], host: NodeName, deleted: Mapping[ProviderId, DeletedRow]
) -> tuple[Edit, ...]:
    """These keys may have arrived at the host after their removal: remove them once more."""
    providers = dict.fromkeys(key.provider_id for key in keys)
    return (
        *release_keys(keys, (host,)),
        *(_not_evicted(name, host) for name in providers if name in deleted),
    )


def host_left(host: NodeName, deleted: Mapping[ProviderId, DeletedRow]) -> tuple[Edit, ...]:
    """The host left the inventory: no provider's keys count as evicted there any more.

    Its released keys are still to be dropped: it may come back with them.
    """
    return tuple(
        _not_evicted(name, host) for name, row in deleted.items() if host in row.evicted_from
    )


def _not_evicted(provider: ProviderId, host: NodeName) -> Edit:
    def change(row: DeletedRow | None) -> DeletedRow | None:
        if row is None:
            return None
        others = tuple(name for name in row.evicted_from if name != host)
        return msgspec.structs.replace(row, evicted_from=others)

    return Edit(DatabaseTable.DELETED, provider, change)


def _with_hosts(
    there: ReleasedRow | None, key: CryptoKeyId, hosts: Sequence[NodeName]
) -> ReleasedRow | None:
    known = () if there is None else there.hosts
    waiting = (*known, *(host for host in hosts if host not in known))
    return ReleasedRow(name=str(key), key=key, hosts=waiting) if waiting else None


def _without_host(there: ReleasedRow | None, host: NodeName) -> ReleasedRow | None:
    if there is None:
        return None
    left = tuple(name for name in there.hosts if name != host)
    return msgspec.structs.replace(there, hosts=left) if left else None
