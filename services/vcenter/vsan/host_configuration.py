"""The encryption configuration for the hosts of a cluster (VSAN-01). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.messages.vcenter.vsan import DataEncryptionConfig
from protocol.terms import NodeName, ProviderId
from protocol.vsan import VsanEncryption, VsanGroupKek, VsanKeyServer, VsanTransitionState
from services.vcenter.tables import ProviderRow, VsanKeys, VsanRow


def build_encryption(
    keys: VsanKeys,
    providers: Mapping[ProviderId, ProviderRow],
    members: Sequence[NodeName],
    host: NodeName,
) -> VsanEncryption:
    """The configuration for this host, with the present KMS profile: without servers when the
    provider is gone (C26). Of keys of disk groups it has the host's own (C3)."""
    row = None if keys.provider is None else providers.get(keys.provider)
    servers = () if row is None else row.servers
    by_kmip = row is not None and any(server.address for server in servers)
    return VsanEncryption(
        encryption_enabled=keys.encryption_enabled,
        kms_provider_id=keys.provider,
        management_type=keys.management_type,
        servers=tuple(VsanKeyServer(name=s.name, node=s.node, address=s.address) for s in servers),
        kek_id=keys.kek,
        kek_check=keys.kek_check,
        group_keks=tuple(
            VsanGroupKek(group=one.group, kek_id=one.kek, kek_check=one.kek_check)
            for one in keys.group_keks
            if one.host == host
        ),
        host_key_id=keys.host_key,
        host_key_check=keys.host_key_check,
        dek_generation_id=keys.dek_generation,
        erase_disks_before_use=keys.erase_disks_before_use,
        members=tuple(members),
        trusted=row.trusted if row is not None and by_kmip else (),
    )


def config_of(row: VsanRow | None) -> DataEncryptionConfig:
    """The configuration as an administrator sees it (VSAN-01)."""
    keys = VsanKeys() if row is None else row.keys
    transition = None if row is None else row.transition
    return DataEncryptionConfig(
        encryption_enabled=keys.encryption_enabled,
        kms_provider_id=keys.provider,
        kek_id=keys.kek,
        host_key_id=keys.host_key,
        dek_generation_id=keys.dek_generation,
        erase_disks_before_use=keys.erase_disks_before_use,
        changing=transition is not None,
        transition_state=(VsanTransitionState.SETTLED if transition is None else transition.state),
    )


def users_of(rows: Mapping[str, VsanRow | None], provider: ProviderId) -> list[str]:
    """The clusters whose vSAN uses keys of that provider, or is changing to it."""
    found = []
    for name, row in rows.items():
        keys = () if row is None else (row.keys,)
        if row is not None and row.transition is not None:
            keys = (*keys, row.transition.target)
        if any(k.encryption_enabled and k.provider == provider for k in keys):
            found.append(name)
    return sorted(found)
