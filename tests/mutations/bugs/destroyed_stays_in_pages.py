"""Destroyed is gone, broken: what the database frees stays in its pages as it was."""

from __future__ import annotations

from services.kms import store
from tests.mutations.bugs.planting import plant

plant(store, "SCHEMA", lambda schema: ("PRAGMA secure_delete = OFF", *schema[1:]))
