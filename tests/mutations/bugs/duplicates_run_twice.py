"""Repeats broken: a request that arrives twice runs twice."""

from __future__ import annotations

from services.runtime.bus import BusPort
from tests.mutations.bugs.planting import plant

plant(BusPort, "_first_time", lambda original: lambda self, envelope: True)
