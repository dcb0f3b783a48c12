"""Durable before acknowledged, broken: key servers commit without waiting for the disk."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.kms import store

plant(store, "SCHEMA", lambda schema: ("PRAGMA synchronous = OFF", *schema))
