"""ATT-02 broken: nobody remembers in which host a TPM is."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from protocol.terms import NodeName
from services.attestation import store
from tests.mutations.bugs.planting import plant


def _of_any_host(original: Any) -> Any:
    def counted(known: Any, quoted: Any, host: Any) -> Any:
        return original(known and replace(known, host=NodeName("")), quoted, host)

    return counted


plant(store, "update_counters", _of_any_host)
