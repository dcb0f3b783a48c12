"""What a load on a key server has measured so far, in the folder of its run: a ``kill -9`` keeps
all but the last second.

``load.msgpack`` begins with what was asked, from which all arrivals are drawn again. Each second
adds what has been begun and what has ended since, each with its checksum. It is written and not
synced: what is kept is kept from the end of the process, and a machine that loses its power may
lose the last of it. A load that comes to its end has ``load.json`` in its place.
"""

from __future__ import annotations

import errno
import io
import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from chaos.load.arrivals import Arrivals, Spread, draw
from chaos.load.profile import LoadStep, read_rate
from chaos.load.threshold import read_threshold
from chaos.recording import read_packed
from lab.load.generator import Generator
from lab.load.record import INTERRUPTED, UNSENT, LoadRecord
from lab.load.report import LoadTerms, build_report
from lab.runs.store import RunFolder
from lab.schema.answers.load import LoadChange, LoadReport

FILE: Final = "load.msgpack"
_encode: Final = msgspec.msgpack.Encoder().encode


class LoadBegin(msgspec.Struct, frozen=True, kw_only=True):
    """What a load was asked to be; see ``LoadTerms``. ``steps`` are of its profile, the warm-up
    with them; ``facts`` what else is known of it."""

    target: str
    rate: str
    mix: dict[str, int]
    spread: str
    seed: int
    warmup: float
    length: float
    thresholds: tuple[str, ...]
    outstanding: int
    askers: int
    steps: tuple[tuple[float, float, float], ...]
    facts: dict[str, str]

    def arrivals(self) -> Arrivals:
        """Those that were drawn before it began."""
        profile = tuple(LoadStep(*step) for step in self.steps)
        return draw(
            profile, self.mix, askers=self.askers, seed=self.seed, spread=Spread(self.spread)
        )

    def to_request(self) -> LoadTerms:
        return LoadTerms(
            target=self.target,
            rate=self.rate,
            mix=self.mix,
            spread=Spread(self.spread),
            seed=self.seed,
            warmup=self.warmup,
            length=self.length,
            thresholds=[read_threshold(text, tuple(self.mix)) for text in self.thresholds],
            outstanding=self.outstanding,
        )


class Piece(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What came until ``at`` seconds after the begin: of those begun since the piece before how
    late each was and whether it was held, and of those that ended its number and what came of it.
    ``errors`` and ``changes`` are those that are new."""

    at: float
    cpu_s: float
    begun: int
    offered_s: float
    late: bytes
    held: bytes
    ended: bytes
    took: bytes
    outcome: bytes
    errors: tuple[str, ...]
    changes: tuple[tuple[float, str, int], ...]


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    checksum: int
    said: bytes


def _frame(value: msgspec.Struct) -> bytes:
    said = _encode(value)
    return _encode(_Frame(zlib.crc32(said), said))


def _file(path: Path) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


class LoadJournal:
    """Of one load. Where it finds no room it says so once, and writes all of it when there is some
    again; the load goes on."""

    def __init__(
        self, folder: RunFolder, begun: LoadBegin, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        """``OSError`` where there is no room for it to begin with."""
        self._file: io.FileIO | None = _file(folder.path / FILE)
        self._tell = tell
        self._begun = self._changes = self._size = 0
        self._errors = 1
        self._owed, self._full = bytearray(_frame(begun)), False
        self._write(self._file)

    def add(
        self, of: Generator, changes: Sequence[tuple[float, str, int]], at: float, cpu_s: float
    ) -> None:
        """What has come since the last time."""
        if self._file is None:
            return
        record, ended = of.record, of.record.lately
        record.lately = array("L")
        piece = Piece(
            at=at,
            cpu_s=cpu_s,
            begun=of.begun,
            offered_s=of.offered_s,
            late=record.late[self._begun : of.begun].tobytes(),
            held=record.held[self._begun : of.begun].tobytes(),
            ended=ended.tobytes(),
            took=array("d", [record.took[n] for n in ended]).tobytes(),
            outcome=array("H", [record.outcome[n] for n in ended]).tobytes(),
            errors=tuple(record.errors[self._errors :]),
            changes=tuple(changes[self._changes :]),
        )
        self._begun, self._errors, self._changes = of.begun, len(record.errors), len(changes)
        self._owed += _frame(piece)
        try:
            self._write(self._file)
        except OSError as error:
            if not self._full:
                self._tell(f"load: what is measured is not written down: {error.strerror or error}")
            self._full = True
        else:
            if self._full:
                self._tell("load: what is measured is written again")
            self._full = False

    def _write(self, file: io.FileIO) -> None:
        """All that is owed, or nothing: half a piece would spoil what comes after it."""
        try:
            if file.write(self._owed) != len(self._owed):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                file.truncate(self._size)
                file.seek(self._size)
            raise
        self._size += len(self._owed)
        self._owed.clear()

    def close(self) -> None:
        """Nothing more is added."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _Again:
    """A load as far as its journal has it; see ``LoadProgress``."""

    def __init__(self, begun: LoadBegin) -> None:
        self.asked, self.arrivals = begun.to_request(), begun.arrivals()
        self.record = LoadRecord(len(self.arrivals))
        self.begun = 0
        self.offered_s = self.at = self.cpu_s = 0.0
        self.changes: list[LoadChange] = []
        self.of, self._errors = begun, [""]

    def add(self, piece: Piece) -> None:
        for at, rate, first in piece.changes:
            redraw(self.of, self.arrivals, len(self.changes) + 1, rate, (at, first))
            self.record.anew(first, len(self.arrivals))
            self.changes.append(LoadChange(at=at, rate=rate))
        record, since = self.record, slice(self.begun, piece.begun)
        record.late[since] = array("d", piece.late)
        record.held[since] = array("B", piece.held)
        self._errors += piece.errors
        columns = array("L", piece.ended), array("d", piece.took), array("H", piece.outcome)
        for number, took, outcome in zip(*columns, strict=True):
            record.end(number, took, self._errors[outcome])
        self.begun, self.offered_s = piece.begun, piece.offered_s
        self.at, self.cpu_s = piece.at, piece.cpu_s

    def ends(self) -> None:
        """What was under way has no answer."""
        for number, at in enumerate(self.arrivals.at):
            if self.record.took[number] < 0 and at <= self.at:
                error = INTERRUPTED if number < self.begun else UNSENT
                self.record.end(number, self.at - at, error)


def rest_of(begun: LoadBegin, nth: int, rate: float, seconds: float) -> Arrivals:
    """What is offered from the ``nth`` change of the rate on, which is drawn from the seed too."""
    return draw(
        (LoadStep(rate, rate, seconds),) if rate else (),
        begun.mix,
        askers=begun.askers,
        seed=begun.seed,
        spread=Spread(begun.spread),
        name=f"load/{nth}",
    )


def redraw(
    begun: LoadBegin, arrivals: Arrivals, nth: int, rate: str, place: tuple[float, int]
) -> None:
    """Have ``arrivals`` be as the ``nth`` change made them, at this time and from this number."""
    at, first = place
    until = begun.warmup + begun.length
    arrivals.anew(first, rest_of(begun, nth, read_rate(rate), until - at), at, until)


def recover_report(folder: RunFolder, ended: str) -> LoadReport | None:
    """What a load had measured that was not kept in the end, with a word on why it ``ended``; None
    where there is nothing of one. KS-RUN-004 for a journal that is not what was written."""
    if not (folder.path / FILE).is_file():
        return None
    again = folder.read_decoded(FILE, _read)
    if again is None:
        return None
    again.ends()
    report = build_report(
        again.asked,
        again.arrivals,
        again,
        ended_s=again.at,
        cpu_s=again.cpu_s,
        interrupted=True,
        facts={**again.of.facts, "ended": ended},
        changes=again.changes,
    )
    return msgspec.structs.replace(report, run=folder.run)


def _read(data: bytes) -> _Again | None:
    """None of one that was killed before its begin was written."""
    frames = _frames(data)
    begun = next(frames, None)
    if begun is None:
        return None
    again = _Again(msgspec.msgpack.decode(begun, type=LoadBegin))
    for frame in frames:
        again.add(msgspec.msgpack.decode(frame, type=Piece))
    return again


def forget(folder: RunFolder) -> None:
    """The load has been kept in another way."""
    with suppress(OSError):
        os.unlink(folder.path / FILE)


def _frames(data: bytes) -> Iterator[bytes]:
    """What each frame says, the last one only when it is whole."""
    for number, packed_ in enumerate(read_packed(io.BytesIO(data), whole=False), 1):
        frame = msgspec.msgpack.decode(packed_, type=_Frame)
        if zlib.crc32(frame.said) != frame.checksum:
            raise msgspec.ValidationError(f"frame {number} is not as it was written")
        yield frame.said
