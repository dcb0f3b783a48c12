"""Whether the folders that machines have for one datastore are one folder with working locks.

Who comes is tried, leaves a sign, and is compared with one machine that is there: each must find
the other's sign, and find it held. What is one folder with one of them is one with all. The lab
remembers that a datastore was made: an empty folder is none of it from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from lab.arrays.guest import MachineAsker
from lab.schema.errors import KeysteadError
from protocol.errors import ProductError
from protocol.messages.machines import ArrayTold, LookAtArray, ShowArray
from services.runtime.real.files import replace_file

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
