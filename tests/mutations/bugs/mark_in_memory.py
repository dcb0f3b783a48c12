"""Replication broken: that the peer is down is known in memory only, and nothing waits for it."""

from __future__ import annotations

from services.kms import replication
from tests.mutations.bugs.planting import plant

plant(replication, "put", lambda original: lambda connection, changes: True)
