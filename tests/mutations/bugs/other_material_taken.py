"""Merging broken: a key whose material differs from the one that is here passes as the same."""

from __future__ import annotations

from services.kms import merging
from tests.mutations.bugs.planting import plant

plant(merging, "_same_key", lambda original: lambda work, mine, replica: True)
