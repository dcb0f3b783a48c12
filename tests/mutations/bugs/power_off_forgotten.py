"""B9 broken: a power-off is carried out, and not remembered for the next boot."""

from __future__ import annotations

from typing import Any

from protocol.terms import PowerState
from services.esxi.vms import power
from tests.mutations.bugs.planting import plant


def _forgetful(original: Any) -> Any:
    async def write_wanted(datastore: Any, vm: Any, wanted: PowerState) -> None:
        if wanted is PowerState.ON:
            await original(datastore, vm, wanted)

    return write_wanted


plant(power, "write_wanted", _forgetful)
