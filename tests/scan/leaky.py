"""What the agents of the leaky lab import: the ledger of keys, and the leaks."""

from __future__ import annotations

import lab.scan.planted  # noqa: F401
import tests.mutations.bugs.key_leaks  # noqa: F401
