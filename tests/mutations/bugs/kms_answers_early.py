"""Durable before acknowledged, broken: key servers commit without waiting for the disk."""

from __future__ import annotations

from services.kms import store
from tests.mutations.bugs.planting import plant

plant(store, "SCHEMA", lambda schema: ("PRAGMA synchronous = OFF", *schema))
