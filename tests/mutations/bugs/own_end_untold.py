"""Replication broken: who is told of keys of a pair does not remember how far the teller's trail
had come, so a teller that is put back is not noticed."""

from __future__ import annotations

from typing import Any

from services.kms import replication
from tests.mutations.bugs.planting import plant


def _forgets(original: Any) -> Any:
    return lambda connection, end: None


plant(replication, "saw", _forgets)
