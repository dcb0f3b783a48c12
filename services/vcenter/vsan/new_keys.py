"""Creating the keys of a configuration at its provider; vCenter sees no value (VSAN-01, C3).

Every key has an operation id derived from that of the change: a repeat creates no second key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from protocol import scopes
from protocol.terms import ClusterName, CryptoKeyId, NodeName
from services.runtime.each import for_each
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.providers.native import check_backed_up
from services.vcenter.tables import ProviderRow
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.conditions import cluster_row, require_provider
from services.vcenter.vsan.row_edits import vsan_edit
from services.vcenter.vsan.rows import VsanGroupKey, VsanKeys, VsanRow

AT_ONCE: Final = 16


async def new_keys(
    vc: VCenter,
    cluster: ClusterName,
    provider: ProviderRow,
    operation: str,
    before: VsanKeys,
    groups: Sequence[tuple[NodeName, str]],
    *,
    deep: bool,
    erase: bool,
) -> VsanKeys:
    """A configuration with a new KEK and host key of that provider.

    By knob ``vsan_kek_scope`` each of the ``groups`` has a KEK of its own instead, and so does each
    group that had one ``before`` and is not seen now (C3). ``KeyProviderUnreachable`` and the like
    when the provider creates none, ``InvalidState`` for a native one without a backup.
    """
    per_group = vc.node.knobs.vsan_kek_scope == "diskGroup"
    made = VsanKeys(
        encryption_enabled=True,
        provider=provider.name,
        management_type=provider.management_type,
        dek_generation=before.dek_generation + deep,
        erase_disks_before_use=erase,
        per_group=per_group,
    )
    if per_group:
        had = {(one.host, one.group) for one in before.group_keks}
        keks = await _group_keks(vc, cluster, provider, operation, sorted({*groups, *had}))
        made = msgspec.structs.replace(made, group_keks=keks)
    else:
        kek, check = await _make(vc, cluster, provider, f"{operation}/kek")
        made = msgspec.structs.replace(made, kek=kek, kek_check=check)
    host_key, check = await _make(vc, cluster, provider, f"{operation}/hostkey")
    return msgspec.structs.replace(made, host_key=host_key, host_key_check=check)


async def cover(vc: VCenter, cluster: ClusterName, host: NodeName, groups: Sequence[str]) -> None:
    """Later groups get KEKs of their own, durably (C3).

    No change when they have them, or the cluster has one KEK for all. The caller holds the turn of
    the cluster's changes. Raises as ``new_keys``.
    """
    row = cluster_row(vc, cluster).vsan or VsanRow()
    lacking = [(host, group) for group in groups if not row.keys.covers(host, group)]
    if not lacking:
        return
    provider = require_provider(vc, row.keys.provider)
    more = await _group_keks(vc, cluster, provider, row.operation, lacking)
    keys = msgspec.structs.replace(row.keys, group_keks=(*row.keys.group_keks, *more))
    await vc.inventory.commit(vsan_edit(cluster, keys=keys))


async def _group_keks(
    vc: VCenter,
    cluster: ClusterName,
    provider: ProviderRow,
    operation: str,
    groups: Sequence[tuple[NodeName, str]],
) -> tuple[VsanGroupKey, ...]:
    made = await for_each(
        groups,
        lambda of: _make(vc, cluster, provider, f"{operation}/kek/{of[0]}/{of[1]}"),
        at_once=AT_ONCE,
        name="vsan-kek",
    )
    return tuple(
        VsanGroupKey(host=host, group=group, kek=kek, kek_check=check)
        for (host, group), (kek, check) in zip(groups, made, strict=True)
    )


async def _make(
    vc: VCenter, cluster: ClusterName, provider: ProviderRow, operation: str
) -> tuple[CryptoKeyId, str]:
    """A key of that provider, which the hosts of the cluster may fetch, and the check value of a
    derived key.

    ``NotFound`` when the provider was deleted meanwhile.
    """
    provider = vc.provider(provider.name)
    if CAPABILITIES[provider.management_type].derived:
        check_backed_up(provider)
        key = vc.providers.native.new_key(provider)
        return key, vc.providers.native.check(provider, key)
    key_provider = vc.providers.require_provider(provider.name)
    key_id = await key_provider.make_key(f"{vc.node.name}/vsan/{operation}")
    await key_provider.grant_key(key_id, scopes.of_vsan(vc.node.name, cluster))
    return CryptoKeyId(key_id, provider.name), ""
