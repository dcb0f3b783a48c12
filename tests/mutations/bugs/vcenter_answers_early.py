"""Durable before acknowledged, broken: vCenter commits without waiting for the disk."""

from __future__ import annotations

from services.vcenter import service
from tests.mutations.bugs.planting import plant

plant(service, "SCHEMA", lambda schema: ("PRAGMA synchronous = OFF", *schema))
