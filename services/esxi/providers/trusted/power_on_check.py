"""The check before a VM's power-on: a trusted host without a token attests first (ATT-06)."""

from __future__ import annotations

from protocol.errors import InvalidState
from protocol.terms import CryptoKeyId, ManagementType, VmName
from services.esxi.host import EsxiHost
from services.esxi.providers.trusted.admission import is_allowed, is_concerned
from services.esxi.providers.trusted.attestation import ensure_attested


async def check_power_on(host: EsxiHost, vm: VmName, keys: tuple[CryptoKeyId, ...]) -> None:
    """``InvalidState`` when attestation keeps this host from powering the VM on.

    Called when the VM's ``keys`` are available; a missing key is reported before. Under a knob that
    overrides everything no service is asked.
    """
    if host.archive.now.trusted is None:
        return
    knobs = host.node.knobs
    trusted = any(host.management_type(key) is ManagementType.TRUST_AUTHORITY for key in keys)
    if not is_concerned(knobs.unattested_blocks, of_trusted_provider=trusted):
        return
    if knobs.persist_overrides_attestation == "always":
        return
    outcome = await ensure_attested(host)
    if not is_allowed(knobs.persist_overrides_attestation, outcome):
        raise InvalidState(f"{host.node.name} is not attested ({outcome.value}): {vm} stays off")
