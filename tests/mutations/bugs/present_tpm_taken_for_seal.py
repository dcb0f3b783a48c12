"""CFG-01 broken: a host that has a TPM says that it is in mode TPM, whatever seals its archive."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.terms import ProtectionMode
from services.esxi.host import Host
from tests.mutations.bugs.planting import plant


def _boasting(original: Any) -> Any:
    def summary(self: Host, *which: Any, **how: Any) -> Any:
        found = original(self, *which, **how)
        if self.tpm is None:
            return found
        return msgspec.structs.replace(found, protection_mode=ProtectionMode.TPM)

    return summary


plant(Host, "summary", _boasting)
