"""Replication broken: a server writes down who takes the changes when a peer tells it, and goes on
as before until it begins anew."""

from __future__ import annotations

from typing import Any

from services.kms.doors.group import Group
from tests.mutations.bugs.planting import plant


def _deaf(original: Any) -> Any:
    def heard(self: Any, *given: Any, **more: Any) -> Any:
        before = self.active
        outcome = original(self, *given, **more)
        self.active = before
        return outcome

    return heard


plant(Group, "_heard", _deaf)
