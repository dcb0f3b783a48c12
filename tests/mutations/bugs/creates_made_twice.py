"""Repeats broken on both sides: what arrives twice runs twice, and Create makes a key each time."""

from __future__ import annotations

from services.kms import store
from services.runtime.bus import BusPort
from tests.mutations.bugs.planting import plant

_ONCE = ",\n        UNIQUE (scope, operation_id, origin)"

plant(BusPort, "_first_time", lambda original: lambda self, envelope: True)
plant(store, "find_created", lambda original: lambda *args: None)
plant(store, "SCHEMA", lambda schema: tuple(line.replace(_ONCE, "") for line in schema))
