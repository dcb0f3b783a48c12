"""A host that lies: B9 starts nothing, and it says of every VM that is to run that it does."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.terms import PowerState, VmCryptoState
from services.esxi.vms import autostart
from services.esxi.vms.vm import RegisteredVm
from tests.mutations.bugs.planting import plant


async def _idle(host: Any) -> None:
    """Nothing is started."""


def _glib(original: Any) -> Any:
    def summary(self: RegisteredVm, missing: Any) -> Any:
        told = original(self, missing)
        if self.wanted is PowerState.OFF or self.guest is not None:
            return told
        fine = {"power": PowerState.ON, "crypto": VmCryptoState.UNLOCKED, "missing": ()}
        return msgspec.structs.replace(told, **fine)

    return summary


plant(autostart, "start_wanted_vms", lambda original: _idle)
plant(RegisteredVm, "summary", _glib)
