"""The simulation's broker broken: it lets everybody publish everything."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.runtime.sim import bus

plant(bus, "may_publish", lambda original: lambda node, subject: True)
