"""The Tpm port of one life of a host, on a device that outlives it.

Blocking calls of the device run in a small pool of threads, or inline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol, TypeVar

from protocol.tpm.errors import TpmError
from protocol.tpm.structures import (
    EkKind,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    Quote,
    SealedBlob,
    TpmInfo,
    TpmName,
)
from services.runtime.incarnation import Incarnation
from services.runtime.ports import Tpm
from services.runtime.tpm.device import TpmDevice
from services.runtime.tpm.latency import LATENCY_S
from services.runtime.tpm.maker import TpmMaker

T = TypeVar("T")


class Runner(Protocol):
    """Runs a device's blocking calls; see ``pool``."""

    async def run(self, label: str, work: Callable[[], T]) -> T:
        """Call ``work`` and return what it returns; what it raises is raised here."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait for so many lab seconds."""
        ...


class TpmPort(Tpm):
    """Implements ``services.runtime.ports.Tpm`` for ``life``; see ``TpmDevice`` for codes.

    Without a ``maker`` its endorsement keys have no certificates.
    """

    def __init__(
        self,
        device: TpmDevice,
        life: Incarnation,
        runner: Runner,
        maker: TpmMaker | None = None,
    ) -> None:
        self._device = device
        self._maker = maker
        self._life = life
        self._runner = runner
        self._order = asyncio.Lock()

    async def power_on(self) -> None:
        await self._call("power_on", self._device.power_on)

    async def power_off(self, orderly: bool) -> None:
        await self._call("power_off", partial(self._device.power_off, orderly))

    async def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        return await self._call("extend_log", partial(self._device.extend_log, events))

    async def pcrs(self, selection: PcrSelection) -> dict[int, bytes]:
        return await self._call("pcrs", partial(self._device.pcrs, selection))

    async def ensure_srk(self) -> TpmName:
        return await self._call("ensure_srk", self._device.ensure_srk)

    async def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        return await self._call("seal", partial(self._device.seal, secret, policy))

    async def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes:
        return await self._call("unseal", partial(self._device.unseal, blob, selection))

    async def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]:
        area, certificate = await self._call("ek", partial(self._device.ek, kind))
        if certificate is None and self._maker is not None:
            certificate = self._maker.certificate(area)
        return area, certificate

    async def ek_chain(self) -> tuple[bytes, ...]:
        chain = () if self._maker is None else self._maker.chain
        return await self._call("ek_chain", lambda: chain)

    async def ak(self) -> tuple[PublicArea, TpmName]:
        return await self._call("ak", self._device.ak)

    async def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes:
        work = partial(self._device.activate, id_object, encrypted_seed)
        return await self._call("activate", work)

    async def quote(self, selection: PcrSelection, nonce: bytes) -> Quote:
        return await self._call("quote", partial(self._device.quote, selection, nonce))

    async def counter(self, index: int, bump: bool = False) -> int:
        return await self._call("counter", partial(self._device.counter, index, bump))

    async def nv_read(self, index: int) -> bytes:
        return await self._call("nv_read", partial(self._device.nv_read, index))

    async def nv_write(self, index: int, data: bytes) -> None:
        await self._call("nv_write", partial(self._device.nv_write, index, data))

    async def info(self) -> TpmInfo:
        return await self._call("info", self._device.info)

    async def _call(self, label: str, work: Callable[[], T]) -> T:
        self._life.check()
        async with self._order:
            self._life.check()
            try:
                result = await self._runner.run(label, partial(self._alive, work))
            except TpmError:
                await self._wait_for_delay(label)
                raise
            await self._wait_for_delay(label)
            return result

    def _alive(self, work: Callable[[], T]) -> T:
        with self._device.exclusive():
            self._life.check()
            return work()

    async def _wait_for_delay(self, label: str) -> None:
        """Wait for the lab's delay of this call, then check a last time whether the life goes
        on."""
        self._life.check()
        seconds = self._device.delay_s(label)
        if seconds > 0:
            await self._runner.pause(seconds)
            self._life.check()


Result = TypeVar("Result")
Sleep = Callable[[float], Awaitable[object]]
"""Waits for so many lab seconds."""

THREADS: Final = 4


class PoolRunner(Runner):
    """Runs calls in a pool that is created at the first call, so not before a fork."""

    def __init__(self, sleep: Sleep = asyncio.sleep, threads: int = THREADS) -> None:
        self._sleep = sleep
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, label: str, work: Callable[[], Result]) -> Result:
        """Run ``work`` in a thread. If the caller is cancelled, work that began still ends."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="tpm")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def pause(self, seconds: float) -> None:
        await self._sleep(seconds)

    def close(self) -> None:
        """Wait for the calls in progress and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


class InlineRunner(Runner):
    """Runs the work at once and then sleeps ``latency_s`` of its label, also after a refusal."""

    def __init__(
        self, sleep: Sleep, latency_s: Callable[[str], float] = LATENCY_S.__getitem__
    ) -> None:
        self._sleep = sleep
        self._latency_s = latency_s

    async def run(self, label: str, work: Callable[[], Result]) -> Result:
        try:
            result = work()
        except TpmError:
            await self._sleep(self._latency_s(label))
            raise
        await self._sleep(self._latency_s(label))
        return result

    async def pause(self, seconds: float) -> None:
        await self._sleep(seconds)
