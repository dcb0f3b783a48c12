"""Replication broken: the number of an epoch is not drawn, so two lives that begin from copies of
one disk number their changes alike; and nobody sees that two servers differ."""

from __future__ import annotations

from typing import Any

from services.kms import contents
from services.kms.doors.group import ReplicationGroup
from tests.mutations.bugs.planting import plant


def _always_the_same(original: Any) -> Any:
    return lambda self: 7


def _blind(original: Any) -> Any:
    return lambda connection, vault: b""


plant(ReplicationGroup, "_draw", _always_the_same)
plant(contents, "total", _blind)
