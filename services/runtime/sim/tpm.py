"""How the simulation runs the calls of a host's TPM: at once, through the gate of the host's
store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, Protocol, TypeVar

from protocol.tpm.errors import TpmError
from services.runtime.incarnation import Incarnation
from services.runtime.sim.gate import StorageCall, StorageGate
from services.runtime.tpm.pool import InlineRunner

T = TypeVar("T")


class Gated(Protocol):
    """An object with a gate: the store of the same node."""

    gate: StorageGate | None


class SimRunner(InlineRunner):
    """As ``InlineRunner``, for one life of a node; its ``store`` may have a gate."""

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[object]],
        life: Incarnation,
        store: Gated,
        latency_s: Callable[[str], float],
    ) -> None:
        super().__init__(sleep, latency_s)
        self._life, self._store = life, store

    async def run(self, label: str, work: Callable[[], T]) -> T:
        gate = self._store.gate
        if gate is None:
            return await super().run(label, work)
        call = StorageCall(self._life, f"tpm.{label}", "")
        await gate.before(call)
        try:
            value = work()
        except TpmError as error:
            return await super().run(label, partial(_raise, error))
        await gate.after(call)
        return await super().run(label, lambda: value)


def _raise(error: TpmError) -> NoReturn:
    raise error
