"""The simulation's broker broken: it lets everybody publish everything."""

from __future__ import annotations

from services.runtime.sim import bus
from tests.mutations.bugs.planting import plant

plant(bus, "may_publish", lambda original: lambda node, subject: True)
