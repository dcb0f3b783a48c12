"""The gate before a power-on looks at every key of a VM, not at its first alone (ATT-06)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from protocol.errors import InvalidState
from protocol.terms import CryptoKeyId, KeyId, ManagementType, ProviderId, VmName
from services.esxi.host import EsxiHost
from services.esxi.providers.trusted import attestation
from services.esxi.providers.trusted.attestation_state import AttestationOutcome

STANDARD = CryptoKeyId(KeyId("home"), ProviderId("standard"))
TRUSTED = CryptoKeyId(KeyId("disk-2"), ProviderId("trusted"))


def _host() -> EsxiHost:
    knobs = SimpleNamespace(
        unattested_blocks="encrypted", persist_overrides_attestation="unreachable_only"
    )
    types = {
        STANDARD.provider_id: ManagementType.VCENTER,
        TRUSTED.provider_id: ManagementType.TRUST_AUTHORITY,
    }
    return cast(
        EsxiHost,
        SimpleNamespace(
            archive=SimpleNamespace(now=SimpleNamespace(trusted=object())),
            node=SimpleNamespace(name="esxi-001", knobs=knobs),
            management_type=lambda key: types[key.provider_id],
        ),
    )


@pytest.mark.parametrize(
    ("keys", "stays_off"),
    [
        ((STANDARD,), False),
        ((TRUSTED,), True),
        ((STANDARD, TRUSTED), True),
        ((TRUSTED, STANDARD), True),
    ],
)
async def test_a_vm_with_any_key_of_a_trusted_provider_stays_off_unattested(
    monkeypatch: pytest.MonkeyPatch, keys: tuple[CryptoKeyId, ...], stays_off: bool
) -> None:
    async def refused(host: EsxiHost) -> AttestationOutcome:
        return AttestationOutcome.REFUSED

    monkeypatch.setattr(attestation, "ensure_attested", refused)
    if stays_off:
        with pytest.raises(InvalidState, match="is not attested"):
            await attestation.check_power_on(_host(), VmName("vm-01"), keys)
    else:
        await attestation.check_power_on(_host(), VmName("vm-01"), keys)
