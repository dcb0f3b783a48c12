"""Keys that hosts get by themselves, and what a pass does about trusted hosts."""

from __future__ import annotations

from typing import Protocol

from protocol.terms import CryptoKeyId, KeyUnavailableReason
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Inventory
from services.vcenter.providers.capabilities import of_provider


class HostTrust(Protocol):
    """What a pass does for trusted hosts (``services.vcenter.trust``)."""

    async def see(self, session: HostSession) -> None:
        """Tell what is new of the host, and bring it up to date."""
        ...

    def reason(self, session: HostSession, key: CryptoKeyId) -> KeyUnavailableReason:
        """Why the host has not the key of a trusted provider."""
        ...


def not_had(
    session: HostSession, inventory: Inventory, trust: HostTrust
) -> dict[CryptoKeyId, KeyUnavailableReason]:
    """Keys that hosts derive or fetch, of deleted providers too, that VMs need there and the host
    says it lacks; each with the reason."""
    types, summary = inventory.lock_types(), session.summary
    found: dict[CryptoKeyId, KeyUnavailableReason] = {}
    for key in [key for vm in (() if summary is None else summary.vms) for key in vm.missing]:
        can = of_provider(types, key.provider_id)
        if can.fetched:
            found[key] = trust.reason(session, key)
        elif can.derived:
            found[key] = (
                KeyUnavailableReason.MISSING_IN_CACHE
                if key.provider_id in inventory.providers
                else KeyUnavailableReason.CLUSTER_INVALID
            )
    return found
