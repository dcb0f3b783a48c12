"""Bugs to plant into what the fold knows of who leads whom: a method, the place in its text, what
stands there instead, and the run that shows it."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.disturbances import Disturbances
from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.listings import Listings
from chaos.oracle.fold.operations import FoldedOperations
from chaos.oracle.fold.ways import Realms

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        Realms.at,
        "self._of_host.get(host, self.first)",
        "self.first",
        "moved to the other vCenter, which reaches no key server at its boot",
    ),
    (
        Realms.stage,
        "found[name].ways.vcenter = name",
        "found[name].ways.vcenter = first",
        "moved to the other vCenter, whose host had no key",
    ),
    (
        Realms.of,
        "realm.vcenter == named",
        "named",
        "deleted at the other vCenter, and locked here",
    ),
    (
        FoldedOperations._reaches,
        "(ask is Question.MOVE and other)",
        "False",
        "moved to the other vCenter, whose host had no key",
    ),
    (
        FoldedOperations._reaches,
        "(ask is Question.MOVE and other)",
        "True",
        "started by hand on a host of the other vCenter",
    ),
    (
        Fold._look_at_ways,
        "self.realms.all",
        "(self.realms.first,)",
        "moved to the other vCenter, whose host had no key",
    ),
    (
        Disturbances.deletions_of,
        '(found.values.get("provider"), found.values.get("vcenter")) == which',
        'found.values.get("provider") == provider',
        "deleted at both vCenters, taken back here, and locked",
    ),
    (
        Listings.open_deletions,
        "found.id in self._deleted_by",
        "self._deleted_by.setdefault(found.id, NONE)",
        "deleted at the other vCenter, left to itself, and locked here",
    ),
)
