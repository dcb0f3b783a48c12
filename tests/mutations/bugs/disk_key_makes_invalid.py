"""LOCK-03 broken: a VM whose disk lacks its key shows as invalid, as if it were its home's."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.terms import VmConnectionState
from services.esxi.vms.vm import RegisteredVm
from services.vcenter import client_info
from tests.mutations.bugs.planting import plant


def _invalid(original: Any) -> Any:
    def summary(self: Any, missing: Any) -> Any:
        found = original(self, missing)
        if not found.missing:
            return found
        return msgspec.structs.replace(found, connection=VmConnectionState.INVALID)

    return summary


plant(RegisteredVm, "_summary", _invalid)
plant(client_info, "shows_invalid", lambda original: lambda keys, event, missing: bool(missing))
