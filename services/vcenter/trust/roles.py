"""A cluster is a trusted one, or of a Trust Authority, and never both (TA-02). Pure."""

from __future__ import annotations

from typing import Final

from protocol.terms import ClusterName
from services.vcenter.inventory import Inventory

AUTHORITY_ROW: Final = "authority"
TRUST_ROW: Final = "trust"


def has_another_role(inventory: Inventory, cluster: ClusterName, *, trusted: bool) -> str:
    """Why ``cluster`` cannot become a trusted one, or that of a Trust Authority; empty: it can."""
    authority, trust = inventory.authority.get(AUTHORITY_ROW), inventory.trust.get(TRUST_ROW)
    if trusted and authority is not None and authority.cluster == cluster:
        return f"{cluster} is the cluster of a Trust Authority: it cannot be a trusted one"
    if not trusted and trust is not None and cluster in trust.clusters:
        return f"{cluster} is a trusted cluster: it cannot be that of a Trust Authority"
    return ""
