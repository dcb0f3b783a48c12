"""Pooled instances for virtual TPMs: a state is loaded for one guest command and taken out again.

An instance keeps nothing between two commands: it works on the state that it is given, and loses
its power before it returns to the pool. So 2,000 vTPMs need as many instances as commands run at
the same time, and a command that fails leaves no trace in the next.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from protocol.messages.agent import TpmBackend
from protocol.tpm.errors import TpmError
from services.runtime.incarnation import Incarnation
from services.runtime.tpm.backends import open_device
from services.runtime.tpm.device import MemoryNv, TpmDevice
from services.runtime.tpm.port import Runner
from services.runtime.virtual_tpm import VirtualTpmCommands, VirtualTpms, VirtualTpmState

T = TypeVar("T")


class VirtualTpmPool:
    """The instances of one process, created on demand: as many as threads use at once."""

    def __init__(self, backend: TpmBackend, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._backend, self._entropy = backend, entropy
        self._lock = threading.Lock()
        self._idle: list[TpmDevice] = []
        self.opened = 0

    def manufacture(self) -> VirtualTpmState:
        """A newly manufactured TPM, without power."""
        with self._use_instance() as device:
            device.swap()
            return VirtualTpmState(device.snapshot())

    def run_command(
        self, state: VirtualTpmState, work: Callable[[VirtualTpmCommands], T]
    ) -> tuple[VirtualTpmState, T]:
        """See ``VirtualTpms.run_command``."""
        with self._use_instance() as device:
            device.resume(state.nv, state.memory)
            result = work(device)
            return VirtualTpmState(*device.suspend()), result

    def close(self) -> None:
        """Release all instances."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def _use_instance(self) -> Iterator[TpmDevice]:
        with self._lock:
            device = self._idle.pop() if self._idle else None
        if device is None:
            device = open_device(self._backend, MemoryNv(), self._entropy)
            self.opened += 1
        try:
            yield device
        except TpmError:  # the TPM's own refusal: the instance works
            self._return_instance(device)
            raise
        except BaseException:
            device.close()
            raise
        self._return_instance(device)

    def _return_instance(self, device: TpmDevice) -> None:
        device.cut_power()
        with self._lock:
            self._idle.append(device)


class VirtualTpmPools:
    """The pools of one process, one per backend."""

    def __init__(self) -> None:
        self._pools: dict[TpmBackend, VirtualTpmPool] = {}

    def of(self, backend: TpmBackend) -> VirtualTpmPool | None:
        """The pool of that backend; None for ``none``: such a node has no vTPMs."""
        if backend is TpmBackend.NONE:
            return None
        return self._pools.setdefault(backend, VirtualTpmPool(backend))


class VirtualTpmsPort(VirtualTpms):
    """Implements ``VirtualTpms`` for ``life``. It checks whether the life goes on before the work,
    right when the work begins, and after each wait."""

    def __init__(self, pool: VirtualTpmPool, life: Incarnation, runner: Runner) -> None:
        self._pool, self._life, self._runner = pool, life, runner

    async def manufacture(self) -> VirtualTpmState:
        return await self._call("vtpm.make", self._pool.manufacture)

    async def run_command(
        self, state: VirtualTpmState, label: str, work: Callable[[VirtualTpmCommands], T]
    ) -> tuple[VirtualTpmState, T]:
        return await self._call(label, partial(self._pool.run_command, state, work))

    async def _call(self, label: str, work: Callable[[], T]) -> T:
        self._life.check()
        result = await self._runner.run(label, partial(self._alive, work))
        self._life.check()
        return result

    def _alive(self, work: Callable[[], T]) -> T:
        self._life.check()
        return work()
