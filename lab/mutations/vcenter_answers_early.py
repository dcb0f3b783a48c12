"""Durable before acknowledged, broken: vCenter commits without waiting for the disk."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.vcenter import service

plant(service, "SCHEMA", lambda schema: ("PRAGMA synchronous = OFF", *schema))
