"""Bugs to plant into what the fold knows of connections, as ``realm_planted`` has them."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.disturbances import Disturbances
from chaos.oracle.fold.fold import Fold

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        Disturbances._link,
        "Takes.LINKS, other",
        "Takes.LINKS, Takes.CONNECTIONS, Takes.BUS",
        "a key that is made by KMIP without a broker",
    ),
    (
        Disturbances._link,
        "Takes.LINKS, other",
        "Takes.LINKS, Takes.BUS",
        "a key that is made by KMIP though no handshake ends",
    ),
    (
        Disturbances._link,
        "if connected",
        "if True",
        "a key that is made over the bus without a broker",
    ),
    (
        Disturbances._link,
        "Takes.LINKS, other",
        "Takes.LINKS, Takes.CONNECTIONS, other",
        "a key that is made over the bus where connections break",
    ),
    (
        Fold._staging,
        'data.get("by_kmip", ())',
        "()",
        "a key that is made by KMIP without a broker",
    ),
)
