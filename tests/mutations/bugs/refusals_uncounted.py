"""Audit broken: refusals above the first ones of a minute are forgotten, not counted."""

from __future__ import annotations

from services.kms.refusals import Refusals
from tests.mutations.bugs.planting import plant

plant(Refusals, "put_back", lambda original: lambda self, entries: None)
