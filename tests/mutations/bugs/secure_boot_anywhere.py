"""ATT-02 broken: Secure Boot is what any event of the log says, in whatever register it is."""

from __future__ import annotations

from typing import Any

from services.attestation import policy
from tests.mutations.bugs.planting import plant

_ON = "SecureBoot".encode("utf-16-le") + b"\x01"


def _of_any_event(original: Any) -> Any:
    return lambda events: any(event.body.endswith(_ON) for event in events)


plant(policy, "secure_boot_on", _of_any_event)
