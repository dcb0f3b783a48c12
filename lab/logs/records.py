"""Records of nodes as JSON lines: appended with a limit on size (one older file is kept), and read,
merged by time and filtered, then what is added to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from protocol.messages.agent import NodeRecord

LIMIT_BYTES = 4 << 20  # bytes of a file before it is put aside


class RecordLog:
    """Appends structs as JSON lines to ``path``; at ``limit`` the file becomes ``<path>.1``.

    A full disk must not stop a node for its log: a line that cannot be written is ``lost``.
    """

    def __init__(self, path: Path, limit: int = LIMIT_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._limit = path, limit
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size
        self.lost = 0

    def write(self, record: msgspec.Struct) -> None:
        line = msgspec.json.encode(record) + b"\n"
        try:
            if self._size + len(line) > self._limit:
                self._path.replace(self._path.with_suffix(self._path.suffix + ".1"))
                full, self._file = self._file, self._path.open("ab", buffering=0)
                full.close()
                self._size = 0
            self._file.write(line)
            self._size += len(line)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        self._file.close()


LEVELS = ("debug", "info", "warning", "error")


@dataclass
class _File:
    """How far one log file has been read; ``inode`` tells when it was put aside."""

    inode: int = 0
    offset: int = 0


@dataclass
class NodeLogs:
    """``read`` gives what is new since the last call, in order of lab time."""

    folder: Path
    nodes: frozenset[str] = frozenset()  # empty: all
    level: str = "debug"
    unreadable: int = 0
    _files: dict[str, _File] = field(default_factory=dict)

    def read(self, since: float = 0.0) -> list[NodeRecord]:
        """New records at or after ``since`` (lab seconds), oldest first."""
        found = [r for path in sorted(self.folder.glob("*.jsonl")) for r in self._new(path)]
        wanted = [r for r in found if r.at >= since and self._wanted(r)]
        return sorted(wanted, key=lambda r: (r.at, r.node))

    def _wanted(self, record: NodeRecord) -> bool:
        low = LEVELS.index(self.level)
        level = record.level
        return (not self.nodes or record.node in self.nodes) and (
            level not in LEVELS or LEVELS.index(level) >= low
        )

    def _new(self, path: Path) -> Iterator[NodeRecord]:
        known = self._files.get(path.name)
        older = path.with_suffix(".jsonl.1")
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            return  # between the two steps of putting it aside
        if known is None:
            known = self._files[path.name] = _File(inode)
            yield from self._lines(older, _File())
        elif known.inode != inode:
            yield from self._lines(older, known)  # the rest of what was put aside
            known.inode, known.offset = inode, 0
        yield from self._lines(path, known)

    def _lines(self, path: Path, place: _File) -> Iterator[NodeRecord]:
        try:
            with path.open("rb") as file:
                file.seek(place.offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1  # a line being written is read the next time
        place.offset += whole
        for line in data[:whole].splitlines():
            record = _record(line)
            if record is None:
                self.unreadable += 1
            else:
                yield record


def _record(line: bytes) -> NodeRecord | None:
    try:
        return msgspec.json.decode(line, type=NodeRecord)
    except msgspec.DecodeError:
        return None
