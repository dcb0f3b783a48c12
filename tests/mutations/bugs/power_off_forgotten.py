"""B9 broken: a power-off is carried out, and not remembered for the next boot."""

from __future__ import annotations

from typing import Any

from protocol.terms import PowerState
from services.esxi.vms import power
from services.esxi.vms.power_file import PowerRecord
from tests.mutations.bugs.planting import plant


def _forgetful(original: Any) -> Any:
    async def write_power(datastore: Any, vm: Any, record: PowerRecord) -> None:
        if record.wanted is PowerState.ON:
            await original(datastore, vm, record)

    return write_power


plant(power, "write_power", _forgetful)
