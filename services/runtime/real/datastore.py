"""A cluster's shared array as a folder that many processes of this machine use.

The jobs of one step of the loop go to a thread together, and their results come back together.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, NodeDown
from services.runtime.ports import Datastore, VmLockHeld
from services.runtime.real import files
from services.runtime.real.files import replace_file, sync_folder
from services.runtime.store import Array, block_start, check_plain_name, place_blocks

MOST: Final = 8
"""Jobs that one thread runs in a row. More would make the last ones wait for the disk."""

_Work = Callable[[], Any]
_Outcome = tuple[Any, BaseException | None]


class ThreadBatches:
    """The jobs that wait for the end of this step of the loop."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._waiting: list[tuple[_Work, asyncio.Future[Any], Callable[[Future[Any]], None]]] = []

    async def run(self, work: _Work, begun: Callable[[Future[Any]], None]) -> Any:
        """The result of ``work``, or its exception. ``begun`` is called with a future that is done
        when the thread is."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._submit, loop)
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((work, answer, begun))
        return await answer

    def _submit(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        for at in range(0, len(waiting), MOST):
            works, answers, begun = zip(*waiting[at : at + MOST], strict=True)
            thread = self._pool.submit(_run_in_a_row, loop, works, answers)
            for notify in begun:
                notify(thread)


def _run_in_a_row(
    loop: asyncio.AbstractEventLoop,
    works: Sequence[_Work],
    answers: Sequence[asyncio.Future[Any]],
) -> None:
    outcomes = [_run_one(work) for work in works]
    if not loop.is_closed():
        loop.call_soon_threadsafe(_set_results, answers, outcomes)


def _run_one(work: _Work) -> _Outcome:
    try:
        return work(), None
    except (Exception, NodeDown) as error:
        return None, error


def _set_results(answers: Sequence[asyncio.Future[Any]], outcomes: Sequence[_Outcome]) -> None:
    for answer, (value, error) in zip(answers, outcomes, strict=True):
        if answer.done():  # the caller has been cancelled
            continue
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)


T = TypeVar("T")

THREADS = 4
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


class LabArray(Array):
    """One cluster's array below ``folder``; one object per process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vms, self.locks, self.incoming = (
            folder / name for name in ("vms", "locks", "incoming")
        )
        folder.mkdir(0o700, parents=True, exist_ok=True)
        for part in (self.vms, self.locks, self.incoming):
            part.mkdir(0o700, exist_ok=True)
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"array-{folder.name}")
        self.block_writes = ThreadBatches(self.pool)
        self._open: dict[Incarnation, LabDatastore] = {}

    def open(self, life: Incarnation) -> LabDatastore:
        if life not in self._open:
            self._open[life] = LabDatastore(life, self)
        return self._open[life]

    async def end(self, life: Incarnation) -> None:
        datastore = self._open.pop(life, None)
        if datastore is not None:
            await asyncio.get_running_loop().run_in_executor(None, datastore.release)

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Blocking."""
        for path in sorted(self.vms.rglob("*")):
            if path.is_file():
                yield path.relative_to(self.folder).as_posix(), path.read_bytes()

    def close(self) -> None:
        """Release threads and locks; this process does not use the array any more."""
        self.pool.shutdown(wait=True)
        for datastore in self._open.values():
            datastore.release()
        self._open.clear()


class LabDatastore(Datastore):
    """The Datastore port of one life."""

    def __init__(self, life: Incarnation, array: LabArray) -> None:
        self._life, self._array = life, array
        self._top = str(array.vms)
        self._held: dict[str, int] = {}  # VM -> descriptor
        self._locking = threading.Lock()
        self._running: set[Future[Any]] = set()
        self._count = 0

    async def _run(self, work: Callable[[], T]) -> T:
        self._life.check()
        running: Future[T] = self._array.pool.submit(self._check_and_run, work)
        self._track(running)
        try:
            return await asyncio.wrap_future(running)
        finally:
            self._life.check()

    def _check_and_run(self, work: Callable[[], T]) -> T:
        self._life.check()
        return work()

    def _track(self, running: Future[Any]) -> None:
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    def release(self) -> None:
        """After the life ended: wait for running calls, then release the locks. Blocking."""
        wait(self._running.copy())
        for vm in list(self._held):
            self._unlock(vm)

    def _folder_of(self, vm: str) -> Path:
        folder = self._array.vms / check_plain_name(vm)
        if folder.is_symlink():
            raise ValueError(f"{vm} is a symbolic link")
        return folder

    def _open_file(self, vm: str, file: str, flags: int) -> int:
        """Plain strings instead of paths: guests call this for every block."""
        folder = f"{self._top}/{check_plain_name(vm)}"
        if os.path.islink(folder):
            raise ValueError(f"{vm} is a symbolic link")
        try:
            return os.open(f"{folder}/{check_plain_name(file)}", flags | _NO_LINK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ValueError(f"{vm}/{file} is a symbolic link") from None
            raise

    # ---- locks ------------------------------------------------------------------------------

    async def lock(self, vm: str) -> None:
        check_plain_name(vm)
        await self._run(lambda: self._lock(vm))

    def _lock(self, vm: str) -> None:
        with self._locking:  # two concurrent calls of one life must not refuse each other
            if vm not in self._held:
                self._held[vm] = self._take_lock(vm)

    def _take_lock(self, vm: str) -> int:
        try:
            descriptor = files.take_lock(self._array.locks / vm)
        except files.Locked as held:
            raise VmLockHeld(vm, held.text or "another host") from None
        with suppress(OSError):  # on a full device the lock is held without the holder's name
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, self._life.node.encode(), 0)
        return descriptor

    async def unlock(self, vm: str) -> None:
        """Runs after all earlier calls, even cancelled ones: an orderly end cancels guests while
        their threads continue. Threads take work in order, so this never waits for later work."""
        check_plain_name(vm)
        before = self._running.copy()

        def work() -> None:
            wait(before)
            self._unlock(vm)

        await self._run(work)

    def _unlock(self, vm: str) -> None:
        with self._locking:
            descriptor = self._held.pop(vm, None)
            if descriptor is not None:
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
                os.close(descriptor)

    async def holders(self, vms: Sequence[str]) -> dict[str, NodeName]:
        wanted = [check_plain_name(vm) for vm in vms]
        return await self._run(
            lambda: {vm: holder for vm in wanted if (holder := self._holder_of(vm))}
        )

    def _holder_of(self, vm: str) -> NodeName:
        """Empty when nobody holds the lock, or the holder has not written its name yet."""
        if vm in self._held:
            return self._life.node
        return NodeName(files.holder_of(self._array.locks / vm))

    # ---- files ------------------------------------------------------------------------------

    async def read(self, vm: str, file: str) -> bytes:
        def work() -> bytes:
            with open(self._open_file(vm, file, os.O_RDONLY), "rb") as opened:
                return opened.read()

        return await self._run(work)

    async def write(self, vm: str, file: str, data: bytes) -> None:
        self._count += 1
        fresh = f"{self._life.node}-{self._life.boot}-{self._count}"
        await self._run(lambda: self._replace(vm, file, data, self._array.incoming / fresh))

    def _replace(self, vm: str, file: str, data: bytes, fresh: Path) -> None:
        folder, name = self._folder_of(vm), check_plain_name(file)
        if not folder.is_dir():
            folder.mkdir(0o700, exist_ok=True)
            sync_folder(self._array.vms)
        replace_file(folder / name, data, unfinished=fresh, durable=True)

    async def read_blocks(
        self, vm: str, file: str, blocks: Sequence[int], size: int
    ) -> list[bytes]:
        """Reads on the loop, not in a thread: blocks that guests read repeatedly are in the page
        cache, and a thread switch costs ten times the read."""
        starts = [block_start(index, size) for index in blocks]
        self._life.check()
        descriptor = self._open_file(vm, file, os.O_RDONLY)
        try:
            return [os.pread(descriptor, size, start) for start in starts]
        finally:
            os.close(descriptor)

    async def write_blocks(self, vm: str, file: str, blocks: Mapping[int, bytes]) -> None:
        """One write per block, so that each is atomic as far as the file system allows; one sync
        for all."""

        def work() -> None:
            descriptor = self._open_file(vm, file, os.O_WRONLY)
            try:
                for start, data in place_blocks(vm, file, blocks, os.fstat(descriptor).st_size):
                    if os.pwrite(descriptor, data, start) != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{vm}/{file}")
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

        self._life.check()
        try:
            await self._array.block_writes.run(partial(self._check_and_run, work), self._track)
        finally:
            self._life.check()

    async def files(self, vm: str) -> tuple[str, ...]:
        return await self._run(lambda: _list_names(self._folder_of(vm)))

    async def vms(self) -> tuple[str, ...]:
        return await self._run(lambda: _list_names(self._array.vms))

    async def remove(self, vm: str) -> None:
        def work() -> None:
            folder = self._folder_of(vm)
            if folder.is_dir():
                shutil.rmtree(folder)
                sync_folder(self._array.vms)

        await self._run(work)


def _list_names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(folder)))
    except FileNotFoundError:
        return ()
