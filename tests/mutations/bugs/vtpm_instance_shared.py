"""An instance of the pool goes on with the vTPM that it had before, whoever commands now."""

from __future__ import annotations

from typing import Any

from services.runtime.tpm.virtual import VirtualTpmPool
from tests.mutations.bugs.planting import plant


def _left(original: Any) -> Any:
    def command(self: Any, state: Any, work: Any) -> Any:
        mine = self.__dict__.get("left") if state.memory else None
        after, result = original(self, mine or state, work)
        self.left = after
        return after, result

    return command


plant(VirtualTpmPool, "command", _left)
