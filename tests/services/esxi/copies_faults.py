"""What disturbs the storage while a host does a command: one disturbance at a time.

``crash``, ``power_loss``  the host falls at the n-th storage call
``full``  the datastore has room for n - 1 further files
``done and failed``  it makes the n-th write, and says that it has failed
``unreadable``  it fails the n-th read
``host full``, ``host fails``  the host's own disk refuses every write, or every call
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from protocol.messages.agent import PowerOff
from protocol.terms import NodeName
from services.runtime.sim.datastore import SimDatastore
from tests.services.esxi.rig import Rig

FALLS: Final = ("crash", "power_loss")
FAULTS: Final = (*FALLS, "full", "done and failed", "unreadable", "host full", "host fails")


class Fault:
    """See the module's text; an empty ``kind`` disturbs nothing. ``happened``: it did."""

    def __init__(self, rig: Rig, node: NodeName, kind: str, nth: int) -> None:
        self.rig, self.node, self.kind, self.left = rig, node, kind, nth
        self.happened = False

    @property
    def falls(self) -> bool:
        """Whether its host is down afterwards, if it happened."""
        return self.kind in FALLS

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """For as long as the command is under way."""
        rig, store = self.rig, self.rig.store(self.node)
        refused = store.refused
        with pytest.MonkeyPatch.context() as patched:
            if self.falls:
                patched.setattr(store, "charge", self._charge)
                patched.setattr(rig.array, "charge", self._charge)
            elif self.kind.startswith("host"):
                patched.setattr(store, "full" if self.kind == "host full" else "fail", True)
            elif self.kind == "unreadable":
                patched.setattr(SimDatastore, "read", self._reading())
            elif self.kind:
                patched.setattr(SimDatastore, "write", self._writing())
            try:
                yield
            finally:
                self.happened |= store.refused > refused

    async def _charge(self, label: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.happened = True
            self.rig.world.spawn(None, "fall", self._fall())
            await asyncio.Event().wait()  # its life ends here
        await self.rig.world.charge(label)

    async def _fall(self) -> None:
        await self.rig.agent.power_off(PowerOff(node=self.node, way=self.kind))

    def _reading(self) -> object:
        read = SimDatastore.read

        async def reading(of: SimDatastore, vm: str, file: str) -> bytes:
            self.left -= 1
            if self.left == 0:
                self._refuse(errno.EIO)
            return await read(of, vm, file)

        return reading

    def _writing(self) -> object:
        write, full = SimDatastore.write, self.kind == "full"

        async def writing(of: SimDatastore, vm: str, file: str, data: bytes) -> None:
            self.left -= bool(data) or not full
            if full and data and self.left <= 0:
                self._refuse(errno.ENOSPC)
            await write(of, vm, file, data)
            if not full and self.left == 0:
                self._refuse(errno.EIO)

        return writing

    def _refuse(self, why: int) -> None:
        self.happened = True
        raise OSError(why, os.strerror(why))
