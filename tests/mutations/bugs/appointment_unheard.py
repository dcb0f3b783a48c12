"""Replication broken: a server writes down who takes the changes when a peer tells it, and goes on
as before until it begins anew."""

from __future__ import annotations

from typing import Any

from services.kms.doors.group import ReplicationGroup
from tests.mutations.bugs.planting import plant


def _deaf(original: Any) -> Any:
    def say(self: Any, *given: Any) -> None:
        before = self._appointed
        original(self, *given)
        self._appointed = before

    return say


plant(ReplicationGroup, "_say", _deaf)
