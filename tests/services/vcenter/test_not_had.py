"""Why a VM's host lacks a key that nobody brings to it, by the type of the key's provider."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from protocol.terms import CryptoKeyId, KeyId, KeyUnavailableReason, ManagementType, ProviderId
from services.vcenter.hosts.remediation import not_had

P = ProviderId("p")
ONE, TWO = CryptoKeyId(KeyId("one"), P), CryptoKeyId(KeyId("two"), P)
NOT_ATTESTED = KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY


def found(
    kind: ManagementType | None, *missing: tuple[CryptoKeyId, ...], listed: bool = True
) -> dict[CryptoKeyId, KeyUnavailableReason]:
    """Of a host whose VMs lack these; ``listed``: the provider was not deleted since."""
    summary = SimpleNamespace(vms=[SimpleNamespace(missing=keys) for keys in missing])
    session: Any = SimpleNamespace(summary=summary)
    types = {} if kind is None else {P: kind}
    inventory: Any = SimpleNamespace(lock_types=lambda: types, providers={P: 1} if listed else {})
    trust: Any = SimpleNamespace(reason=lambda session, key: NOT_ATTESTED)
    return not_had(session, inventory, trust)


@pytest.mark.parametrize(
    ("kind", "listed", "reason"),
    [
        (ManagementType.NATIVE_PROVIDER, True, KeyUnavailableReason.MISSING_IN_CACHE),
        (ManagementType.NATIVE_PROVIDER, False, KeyUnavailableReason.CLUSTER_INVALID),
        (ManagementType.TRUST_AUTHORITY, True, NOT_ATTESTED),
        (ManagementType.TRUST_AUTHORITY, False, NOT_ATTESTED),
        (ManagementType.VCENTER, True, None),  # it is looked for, and brought
        (ManagementType.VCENTER, False, None),
        (None, False, None),
    ],
)
def test_each_key_that_vms_lack_has_the_reason_of_its_provider(
    kind: ManagementType | None, listed: bool, reason: KeyUnavailableReason | None
) -> None:
    assert found(kind, (ONE,), (TWO,), (), listed=listed) == (
        {} if reason is None else {ONE: reason, TWO: reason}
    )


def test_a_host_that_lacks_nothing_or_says_nothing_has_no_such_key() -> None:
    assert found(ManagementType.NATIVE_PROVIDER, ()) == {}
    silent: Any = SimpleNamespace(summary=None)
    inventory: Any = SimpleNamespace(lock_types=dict)
    assert not_had(silent, inventory, inventory) == {}
