"""The shared datastores of machines, here or over the control plane, and whether the folders that
machines have for one datastore are one folder with working locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from lab.arrays.shared_datastore import SharedDatastore
from lab.brokers.control_plane import Handler
from lab.schema.errors import KeysteadError
from lab.state.in_thread import in_thread
from protocol.errors import ProductError
from protocol.messages.base import Request
from protocol.messages.machines import ArrayTold, LookAtArray, ShowArray
from services.runtime.real.files import replace_file

T = TypeVar("T")

LIMIT_S: Final = 20.0  # real seconds for one trial, or one look
CLOSE_LIMIT_S: Final = 1.0  # real seconds for signs to be taken back; a lock ends with its process
_WAY_S: Final = 2.0  # real seconds for question and answer
HERE: Final = "_here"  # no machine has such a name


class MachineAsker(Protocol):
    """Whom the supervisor asks about the datastores of a machine."""

    name: str

    @property
    def there(self) -> bool:
        """Whether it will answer, as far as is known."""
        ...

    async def show(self, message: ShowArray) -> ArrayTold: ...

    async def look(self, message: LookAtArray) -> ArrayTold: ...


class Guest:
    """``folders`` is where each shared datastore's folder is mounted, by the datastore's name."""

    def __init__(
        self, machine: str, folders: Mapping[str, Path], meant: Callable[[str], None]
    ) -> None:
        self.name, self._meant = machine, meant
        self._places = {name: SharedDatastore(at, name, machine) for name, at in folders.items()}
        self.handlers: Mapping[type[Request[Any]], Handler] = {
            ShowArray: self._show,
            LookAtArray: self._look,
        }

    @property
    def there(self) -> bool:
        """It is here."""
        return True

    async def _show(self, message: ShowArray, sender: str) -> ArrayTold:
        self._meant(message.run)
        return await self.show(message)

    async def _look(self, message: LookAtArray, sender: str) -> ArrayTold:
        self._meant(message.run)
        return await self.look(message)

    async def show(self, message: ShowArray) -> ArrayTold:
        """Try the folder of a datastore, and leave a sign there."""

        def work(place: SharedDatastore) -> str:
            return place.show(message.lab, message.id, message.fresh)

        return await self._answer(message.array, work)

    async def look(self, message: LookAtArray) -> ArrayTold:
        """See that another machine's sign is there."""

        def work(place: SharedDatastore) -> str:
            place.look(message.sign)
            return ""

        return await self._answer(message.array, work)

    async def _answer(self, array: str, work: Callable[[SharedDatastore], str]) -> ArrayTold:
        place = self._places.get(array)
        try:
            if place is None:
                text = f"this machine has no shared datastore {array}"
                raise KeysteadError("KS-ARRAY-004", text)
            return ArrayTold(sign=await _within(LIMIT_S, lambda: work(place), place.path))
        except KeysteadError as error:
            return ArrayTold(error_id=error.id, text=str(error), fix=error.fix)

    async def remove(self) -> None:
        """Remove the datastores of a lab that is no more."""
        for place in self._places.values():
            with suppress(KeysteadError):
                await _within(LIMIT_S, place.remove, place.path)

    def close(self) -> None:
        """Take all signs back, where the folders answer."""
        closing = [
            threading.Thread(target=place.close, name="array-close", daemon=True)
            for place in self._places.values()
        ]
        for thread in closing:
            thread.start()
        until = time.monotonic() + CLOSE_LIMIT_S
        for thread in closing:
            thread.join(max(until - time.monotonic(), 0.0))


async def _within(limit_s: float, work: Callable[[], T], path: Path) -> T:
    """Do it in a thread that nobody waits for longer; KS-ARRAY-007 when it takes longer."""
    try:
        return await in_thread(work, limit_s)
    except TimeoutError:
        text = f"{path} has not answered for {limit_s:g} s"
        raise KeysteadError("KS-ARRAY-007", text) from None


class RemoteGuest:
    """The shared datastores of another machine, whose agent is asked by ``ask``; see ``Guest``."""

    def __init__(
        self,
        machine: str,
        ask: Callable[[Request[ArrayTold], float], Awaitable[ArrayTold]],
        there: Callable[[], bool],
    ) -> None:
        self.name, self._ask, self._there = machine, ask, there

    @property
    def there(self) -> bool:
        """Whether it has joined, or is about to, and answers."""
        return self._there()

    async def show(self, message: ShowArray) -> ArrayTold:
        """See ``Guest``; ``ProductError`` when it does not answer."""
        return await self._ask(message, LIMIT_S + _WAY_S)

    async def look(self, message: LookAtArray) -> ArrayTold:
        """See ``Guest``; ``ProductError`` when it does not answer."""
        return await self._ask(message, LIMIT_S + _WAY_S)


_ID_BYTES: Final = 12


class KnownDatastore(msgspec.Struct, frozen=True):
    """What a lab remembers of a shared datastore: its id, and whether a machine has made it."""

    id: str
    made: bool = False


class Meeting:
    """Of the lab ``lab`` in ``folder``."""

    def __init__(self, folder: Path, lab: str) -> None:
        self._folder, self._lab = folder / "shared", lab
        self._there: dict[str, dict[str, tuple[MachineAsker, str, str]]] = {}
        self._making: dict[str, asyncio.Lock] = {}

    async def come(self, guest: MachineAsker, run: str, arrays: tuple[str, ...]) -> None:
        """See that the folders of ``guest`` fit. KS-ARRAY-001 to KS-ARRAY-007; ``ProductError``
        when it does not answer, ``OSError`` when the lab cannot remember."""
        for array in arrays:
            async with contextlib.AsyncExitStack() as turn:
                if not self.read_known(
                    array
                ).made:  # of two that make it at once, both would have one
                    making = self._making.setdefault(array, asyncio.Lock())
                    await turn.enter_async_context(making)
                await self._comes(guest, run, array)

    async def _comes(self, guest: MachineAsker, run: str, array: str) -> None:
        there = self._there.setdefault(array, {})
        there.pop(guest.name, None)
        known = self.read_known(array)
        told = await guest.show(
            ShowArray(run=run, array=array, lab=self._lab, id=known.id, fresh=not known.made)
        )
        _fits(guest, told)
        others = [other for other in there.values() if other[0].there]
        there[guest.name] = guest, run, told.sign
        try:
            await self._compare(array, there[guest.name], others)
        except BaseException:
            there.pop(guest.name, None)
            raise
        if not known.made:
            self._keep(array, KnownDatastore(known.id, made=True))

    async def _compare(
        self,
        array: str,
        one: tuple[MachineAsker, str, str],
        others: list[tuple[MachineAsker, str, str]],
    ) -> None:
        """With the first that answers; one that does not is away, or will be soon."""
        guest, run, sign = one
        for other, other_run, other_sign in others:
            try:
                seen = await other.look(LookAtArray(run=other_run, array=array, sign=sign))
            except ProductError:
                continue
            _fits(other, seen)
            back = await guest.look(LookAtArray(run=run, array=array, sign=other_sign))
            _fits(guest, back)
            return

    def read_known(self, array: str) -> KnownDatastore:
        """What is remembered of a datastore, which gets its id when it has none."""
        try:
            return msgspec.json.decode(
                (self._folder / f"{array}.json").read_bytes(), type=KnownDatastore
            )
        except FileNotFoundError:
            known = KnownDatastore(os.urandom(_ID_BYTES).hex())
        except msgspec.DecodeError:
            text = f"what the lab {self._lab} knows of its datastore {array} is damaged"
            raise KeysteadError("KS-ARRAY-006", text) from None
        self._keep(array, known)
        return known

    def _keep(self, array: str, known: KnownDatastore) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        replace_file(self._folder / f"{array}.json", msgspec.json.encode(known), durable=True)


def _fits(guest: MachineAsker, told: ArrayTold) -> None:
    if told.error_id:
        where = "here" if guest.name.startswith("_") else f"on machine {guest.name}"
        raise KeysteadError(told.error_id, f"{where}: {told.text}", told.fix)
