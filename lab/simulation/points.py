"""Points: the calls of storage and TPM in a simulated run, at which things can be made to happen;
the crash points of an experiment.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import FrameType
from typing import Final

import msgspec

from chaos.points import REFUSALS, Blow, Happening, Strike, When
from lab.simulation.sim_lab import SimLab
from protocol.terms import NodeName
from protocol.tpm.errors import RC_FAILURE, TpmError, tpm_error
from services.runtime.incarnation import WayDown
from services.runtime.seeded import stream
from services.runtime.sim import database
from services.runtime.sim.gate import COMMIT, StorageCall, StorageGate


class CallPlace(msgspec.Struct, frozen=True, order=True):
    """A place in a service that calls its storage, on one node.

    ``function`` is the service's own (``archive.Archive._append_addition``), whatever of the
    runtime lies between; ``call`` is ``disk.append``, ``db.commit`` and so on, ``path`` the file or
    database.
    """

    node: NodeName
    function: str
    call: str
    path: str

    def __str__(self) -> str:
        return f"{self.node}:{self.function}:{self.call}:{self.path}"


class Passage(msgspec.Struct, frozen=True):
    """The ``nth`` time (from 1) that a point was passed, ``at`` lab seconds in life ``boot``."""

    point: CallPlace
    nth: int
    at: float
    boot: int

    def __str__(self) -> str:
        return f"{self.point}:{self.nth}"


@dataclass
class Struck:
    """A blow that waits for its passage, or has met it."""

    matches: Callable[[Passage], bool]
    blow: Blow | None
    nth: int
    met: Callable[[Passage], None] | None = None
    fell: Callable[[Passage], None] | None = None
    seen: int = 0
    passage: Passage | None = None


Decide = Callable[[Passage, When], Happening | None]
"""Asked at each moment of each passage: what happens there, if anything."""


class Points(StorageGate):
    """Stands where the storage calls of ``nodes`` take effect, until it is left.

    ``hear`` is called with every passage, ``decide`` before the armed strikes are looked up.
    """

    def __init__(
        self,
        lab: SimLab,
        nodes: Iterable[NodeName],
        *,
        hear: Callable[[Passage], None] | None = None,
        decide: Decide | None = None,
    ) -> None:
        self._lab, self._nodes = lab, tuple(nodes)
        self._hear, self._decide = hear, decide
        self._counts: Counter[CallPlace] = Counter()
        self._armed: list[Struck] = []
        self._image = b""  # of the database, before the commit that is passed
        self._passage: Passage | None = None  # from its ``before`` to its ``after`` nobody else's

    def __enter__(self) -> Points:
        for node in self._nodes:
            self._lab.world.store(node).gate = self
        return self

    def __exit__(self, *error: object) -> None:
        for node in self._nodes:
            self._lab.world.store(node).gate = None

    def arm(
        self,
        blow: Blow | None,
        *,
        node: str = "*",
        function: str = "*",
        call: str = "*",
        path: str = "*",
        nth: int = 1,
        met: Callable[[Passage], None] | None = None,
        fell: Callable[[Passage], None] | None = None,
    ) -> Struck:
        """Let ``blow`` fall at the ``nth`` passage from now on that these patterns fit, once.

        Patterns are of the shell's kind. ``met`` is called there too, in the step of who called;
        with no ``blow`` it is all that happens. ``fell`` is called when the blow falls, which may
        be later in the same call.
        """

        def matches(passage: Passage) -> bool:
            point = passage.point
            found = (point.node, point.function, point.call, point.path)
            return all(map(fnmatchcase, found, (node, function, call, path)))

        struck = Struck(matches, blow, nth, met, fell)
        self._armed.append(struck)
        return struck

    # ---- the gate ---------------------------------------------------------------------------

    async def before(self, call: StorageCall) -> None:
        """Name the passage, and see what happens before the call has its effect."""
        point = CallPlace(call.life.node, _caller(), call.name, call.path)
        self._counts[point] += 1
        at = self._lab.monotonic()
        passage = self._passage = Passage(point, self._counts[point], at, call.life.boot)
        if self._hear is not None:
            self._hear(passage)
        for struck in self._armed:
            if struck.passage is None and struck.matches(passage):
                struck.seen += 1
                if struck.seen == struck.nth:
                    struck.passage = passage
                    if struck.met is not None:
                        struck.met(passage)
        if call.name == COMMIT:
            self._image = self._lab.world.store(call.life.node).drives[call.path].image()
        happening = self._happens(When.BEFORE)
        if happening is Happening.TORN:
            self._tear(call)
        await self._ends(call, happening)
        if happening in REFUSALS:
            if happening is Happening.ENOSPC and call.data is not None:
                self._shorten(call)  # what has room is there
            if happening is Happening.EIO and call.name == "disk.sync":
                self._lab.world.store(call.life.node).on_disk.lose_unsynced(call.path)
            raise _build_error(happening, call)

    def within(self, call: StorageCall) -> None:
        """See what happens between the work of a commit and the commit."""
        happening = self._happens(When.WITHIN)
        match happening:
            case Happening.CRASH:
                self._fall(call, WayDown.CRASH)
            case Happening.POWER_LOSS:
                self._fall(call, WayDown.POWER_LOSS)
            case Happening.ENOSPC | Happening.EIO:
                error = sqlite3.OperationalError(f"{happening} at the commit")
                full = happening is Happening.ENOSPC
                error.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
                raise error
            case _:
                pass

    async def after(self, call: StorageCall) -> None:
        """See what happens when the call has had its effect, and nobody knows."""
        happening = self._happens(When.AFTER)
        await self._ends(call, happening)
        if happening in REFUSALS:
            raise _build_error(happening, call)
        if happening in _FLAWS:
            drive = self._lab.world.store(call.life.node).drives[call.path]
            drawn = stream(self._lab.seed, f"flaw/{self._passage}/{happening}")
            make = _FLAWS[happening]
            drive.flaws |= make(self._image, drive.image(), lambda below: drawn.randrange(below))

    def _happens(self, when: When) -> Happening | None:
        passage = self._passage
        if passage is None:
            return None
        if self._decide is not None:
            decided = self._decide(passage, when)
            if decided is not None:
                return decided
        for struck in self._armed:
            if struck.passage is passage and struck.blow and struck.blow.when is when:
                if struck.fell is not None:
                    struck.fell(passage)
                return struck.blow.happening
        return None

    # ---- what happens -----------------------------------------------------------------------

    def _fall(self, call: StorageCall, way: WayDown) -> None:
        self._lab.agent.machine(call.life.node).end_life_now(way)

    async def _ends(self, call: StorageCall, happening: Happening | None) -> None:
        """End the life, if that is what happens; then nothing of it goes on."""
        match happening:
            case Happening.CRASH:
                way = WayDown.CRASH
            case Happening.POWER_LOSS:
                way = WayDown.POWER_LOSS
            case Happening.TORN:
                way = WayDown.CRASH if call.data is not None else WayDown.POWER_LOSS
            case _:
                return
        self._fall(call, way)
        await self._lab.loop.create_future()

    def _tear(self, call: StorageCall) -> None:
        """A write that reached the file in part; a sync that reached the device in part."""
        if call.data is not None:
            self._shorten(call)
            return
        images = self._lab.world.store(call.life.node).on_disk
        written = images.read(call.path)
        synced = dict(images.walk(synced=True)).get(call.path, b"")
        kept = len(synced) if written.startswith(synced) else 0
        images.write(call.path, written[: kept + self._part(len(written) - kept)])
        images.sync(call.path)

    def _shorten(self, call: StorageCall) -> None:
        data = call.data or b""
        images = self._lab.world.store(call.life.node).on_disk
        part = data[: self._part(len(data))]
        if call.name == "disk.append":
            images.append(call.path, part)
        else:
            images.write(call.path, part)

    def _part(self, size: int) -> int:
        """How much of so many bytes: some and not all, as the seed draws for this passage."""
        if size < 2:
            return 0
        return 1 + int(stream(self._lab.seed, f"torn/{self._passage}").random() * (size - 1))


def _build_error(happening: Happening, call: StorageCall) -> OSError | TpmError:
    if call.name.startswith("tpm."):
        return tpm_error(RC_FAILURE)
    code = errno.ENOSPC if happening is Happening.ENOSPC else errno.EIO
    return OSError(code, os.strerror(code), call.path)


_FLAWS: Final = {
    Happening.LOST_WRITE: database.draw_lost_write,
    Happening.MISDIRECTED: database.draw_misdirected_write,
    Happening.BIT_ROT: database.draw_bit_rot,
}
_RUNTIME: Final = "services.runtime"


def _caller() -> str:
    """The function of a service that has called, with the last name of its module."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("services.") and not module.startswith(_RUNTIME):
            return f"{module.rpartition('.')[2]}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "-"


class SimStrikes:
    """Implements ``chaos.points.Strikes``: at each node that is to be struck stand ``Points``."""

    def __init__(self, lab: SimLab) -> None:
        self._lab = lab
        self._points: dict[NodeName, Points] = {}

    def arm(self, strike: Strike, fell: Callable[[str], None]) -> None:
        """See ``Strikes``."""
        if strike.node not in self._points:
            self._points[strike.node] = Points(self._lab, (strike.node,)).__enter__()
        self._points[strike.node].arm(
            strike.blow,
            node=strike.node,
            function=strike.function,
            call=strike.call,
            path=strike.path,
            nth=strike.nth,
            fell=lambda passage: fell(str(passage)),
        )

    def disarm(self) -> None:
        """See ``Strikes``."""
        for points in self._points.values():
            points.__exit__()
        self._points.clear()
