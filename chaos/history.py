"""The history of a run: a msgpack stream, each record with the digest of the one before.

Also the plain recordings (streams of msgpack values) that it is built on, and the fold of
``fault`` and ``heal`` records into the faults that are active at a moment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import msgpack
import msgspec

from chaos.errors import ChaosError

_MOST_BYTES: Final = 64 * 1024 * 1024  # of one value
_CHUNK: Final = 256 * 1024

pack: Final[Callable[[Any], bytes]] = msgpack.Packer(default=msgspec.to_builtins).pack
"""One value as it stands in a stream."""


def read_packed(file: IO[bytes], *, whole: bool = True) -> Iterator[bytes]:
    """Each value of the stream as it was written, in bounded memory; ``whole``: it has ended.

    Raises ``ChaosError`` KS-CHAOS-204 for bytes that are no msgpack, and for a value that was cut
    off at the end, after every whole one was given.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=_MOST_BYTES)
    pending, begun, number = bytearray(), 0, 1
    while chunk := file.read(_CHUNK):
        try:
            unpacker.feed(chunk)
            pending += chunk
            while True:
                unpacker.skip()
                size = unpacker.tell() - begun
                yield bytes(pending[:size])
                del pending[:size]
                begun, number = begun + size, number + 1
        except msgpack.OutOfData:
            continue
        except (ValueError, msgpack.UnpackException) as error:
            why = str(error) or "these bytes are no msgpack"
            raise record_error(number, f"no record: {why}") from None
    if pending and whole:
        raise record_error(number, "it is cut off")


def record_error(number: int, why: str) -> ChaosError:
    """The record ``number`` of a recording is not what was written."""
    return ChaosError("KS-CHAOS-204", f"record {number}: {why}")


TYPES = ("invoke", "ok", "fail", "info", "fault", "heal", "probe", "state", "note", "end")
START = "0" * 64
FULL: Final = "full"
"""Of the note after which only faults, heals and the end are written."""
MOST_BYTES: Final = 1 << 30
"""Of a history unless it says otherwise: its records are in memory too while a run goes on."""
_ALWAYS = frozenset({"fault", "heal", "end"})
_encode = msgspec.msgpack.Encoder().encode


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record of a history: what was tried or seen, by whom, and when."""

    seq: int
    t: float
    node: str
    type: str
    op: str
    data: dict[str, Any] = {}
    prev: str = START


class History:
    """Writes one history; ``path`` None keeps it in memory only.

    ``limit`` bounds its bytes, for a run that would not end otherwise: over it a note says that
    the history is full, and from there on only faults, heals and the end are written, which counts
    the rest. ``refused`` is why the device took no more; the records go on in memory, so that a run
    ends, and heals, whatever becomes of its file.
    """

    def __init__(
        self, path: Path | None, now: Callable[[], float], *, limit: int = MOST_BYTES
    ) -> None:
        self.path = path
        self._now = now
        self._limit = limit
        self._start = now()
        self._file: IO[bytes] | None = path.open("xb", buffering=0) if path else None
        self._prev = START
        self._bytes = 0
        self._trace = hashlib.sha256()
        self.dropped = 0
        self.refused: OSError | None = None
        self.records: list[Record] = []
        self.watchers: list[Callable[[Record], None]] = []  # told of each record that is written

    def add(self, type: str, node: str = "", *, op: str = "", **data: Any) -> Record | None:
        """Write a record; None when it was left out because of the limit."""
        if type not in TYPES:
            raise ValueError(f"a record is one of {TYPES}, not {type!r}")
        if self._bytes >= self._limit and type not in _ALWAYS:
            if not self.dropped:
                self._put("note", "", FULL, {"bytes": self._bytes})
            self.dropped += 1
            return None
        return self._put(type, str(node), op, data)

    def at(self, now: float) -> float:
        """What a moment of the clock is in records: seconds since the history began."""
        return round(now - self._start, 6)

    def _put(self, type: str, node: str, op: str, data: dict[str, Any]) -> Record:
        return self._take(self._build_record(type, node, op, data))

    def _build_record(self, type: str, node: str, op: str, data: dict[str, Any]) -> Record:
        return Record(
            seq=len(self.records) + 1,
            t=self.at(self._now()),
            node=node,
            type=type,
            op=op,
            data=data,
            prev=self._prev,
        )

    def _take(self, record: Record) -> Record:
        raw = as_written(record)
        self._prev = hashlib.sha256(raw).hexdigest()
        self._bytes += len(raw)
        self._trace.update(_trace_bytes(record))
        self.records.append(record)
        self._write(raw)
        for watcher in self.watchers:
            watcher(record)
        return record

    def _write(self, raw: bytes) -> None:
        """Whole, or nothing more from here on: a device may take a part of it."""
        left = memoryview(raw)
        try:
            while self._file is not None and left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.refused = error
            self._give_back()

    def _give_back(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    @property
    def trace(self) -> str:
        """A hash over times, nodes, types and operations, and over no ids, bytes or lengths."""
        return self._trace.hexdigest()

    def close(self) -> None:
        """Write the end and give the file back; again is no change."""
        if self.records and self.records[-1].type == "end":
            return
        count = len(self.records) + 1
        data = {"records": count, "dropped": self.dropped, "trace": self.trace}
        self._take(_seal(self._build_record("end", "", "", data)))
        try:
            if self._file is not None:
                os.fsync(self._file.fileno())
        except OSError as error:
            self.refused = error
        self._give_back()


def as_written(record: Record) -> bytes:
    """The record as it stands in a file."""
    return _encode(record)


def records_of(values: Iterable[bytes]) -> Iterator[Record]:
    """Records of a history, each verified against the one before.

    Raises ``ChaosError`` KS-CHAOS-204 at the first one that is not what was written.
    """
    prev, ended, number = START, False, 0
    trace = hashlib.sha256()
    for number, raw in enumerate(values, start=1):
        try:
            record = msgspec.msgpack.decode(raw, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise record_error(number, f"no record: {error}") from None
        if ended:
            raise record_error(number, "there is a record after the end")
        if record.seq != number or record.prev != prev:
            raise record_error(number, "it does not follow the record before it")
        if as_written(record) != raw:
            raise record_error(number, "it has fields that were not written")
        prev = hashlib.sha256(raw).hexdigest()
        ended = record.type == "end"
        if ended and record.data.get("records") != number:
            raise record_error(number, "the end counts other records")
        if ended and record.data.get("trace") != trace.hexdigest():
            raise record_error(number, "the end has the trace of another history")
        if ended and _seal(record) != record:
            raise record_error(number, "the end was changed")
        trace.update(_trace_bytes(record))
        yield record
    if not ended:
        raise record_error(number + 1, "the end is missing: cut off, or the run was killed")


def _seal(end: Record) -> Record:
    """The end with a digest of itself, which no record after it could have."""
    bare = {name: value for name, value in end.data.items() if name != "seal"}
    digest = hashlib.sha256(as_written(msgspec.structs.replace(end, data=bare))).hexdigest()
    return msgspec.structs.replace(end, data={**bare, "seal": digest})


def _trace_bytes(record: Record) -> bytes:
    """What the trace folds of a record."""
    return f"{record.t:.6f} {record.node} {record.type} {record.op}\n".encode()


def verify(path: Path) -> tuple[Record, ...]:
    """All records of the file at ``path``; KS-CHAOS-204 when any is not as written."""
    with path.open("rb") as file:
        return tuple(records_of(read_packed(file)))


def until_cut(path: Path) -> tuple[Record, ...]:
    """What there is of the history of a run that was killed: all before the first record that is
    not as it was written."""
    found = []
    with path.open("rb") as file, suppress(ChaosError):
        for record in records_of(read_packed(file)):
            found.append(record)
    return tuple(found)


def fault_id(record: Record) -> str:
    """Which fault a ``fault`` or ``heal`` record, or a note about one, is about."""
    return str(record.data.get("id", ""))


@dataclass
class ActiveFaults:
    """The faults after the records that it was given, in order.

    ``began`` has the record of the begin of each that was not seen gone, by id, those too that
    could not be made as they should. ``stays`` are the ids of those whose end was tried and that
    have no undo: they are there for good.
    """

    began: dict[str, Record] = field(default_factory=dict)
    stays: set[str] = field(default_factory=set)

    def take(self, record: Record) -> Record | None:
        """Follow one record; the begin of the fault that it ended, if it ended one."""
        id = fault_id(record)
        if record.type == "fault":
            self.began[id] = record
            self.stays.discard(id)
        elif record.type == "heal":
            if record.data.get("verified"):
                self.stays.discard(id)
                return self.began.pop(id, None)
            if record.data.get("stays") and id in self.began:
                self.stays.add(id)
        return None

    def bite(self) -> Iterator[tuple[str, Record]]:
        """Those that were seen to bite, each with its id, in the order in which they began."""
        return ((id, record) for id, record in self.began.items() if "error" not in record.data)

    def ids_to_heal(self) -> tuple[str, ...]:
        """The ids of those that have to be seen gone still."""
        return tuple(id for id in self.began if id not in self.stays)
