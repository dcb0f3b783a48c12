"""ATT-02 broken: what was seen of a TPM's counters is not kept."""

from __future__ import annotations

from typing import Any

from services.attestation import store
from tests.mutations.bugs.planting import plant


def _of_nothing_known(original: Any) -> Any:
    return lambda known, quoted, host: original(None, quoted, host)


plant(store, "update_counters", _of_nothing_known)
