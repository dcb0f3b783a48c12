"""What a guest has been answered of its vTPM is not on the datastore yet: the save comes later."""

from __future__ import annotations

from typing import Any

from services.esxi.vms.files import write
from services.esxi.vms.nvram import encrypt_nvram, nvram_file
from services.esxi.vms.vtpm import Vtpm
from tests.mutations.bugs.planting import plant


def _later(original: Any) -> Any:
    async def command(self: Any, label: str, work: Any) -> Any:
        if owed := self.__dict__.pop("owed", None):
            await write(self._means.datastore, *owed)
        state, result = await self._means.tpms.command(self._state, label, work)
        self._number += 1
        file = nvram_file(self.vm, self.device.serial)
        home, rng = self._home, self._means.rng
        data = encrypt_nvram(self.vm, self.device.ek, state, self._number, home, rng)
        self._state, self.owed = state, (self.vm, file, data)
        return result

    return command


plant(Vtpm, "_command", _later)
