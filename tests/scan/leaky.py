"""What the agents of the leaky lab import: the ledger of keys, and the leaks."""

from __future__ import annotations

import lab.mutations.key_leaks
import lab.mutations.key_ledger  # noqa: F401
