"""Repeats broken: a request that arrives twice runs twice."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.runtime.bus import BusPort

plant(BusPort, "_first_time", lambda original: lambda self, envelope: True)
