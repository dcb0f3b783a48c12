"""Reading the logs of a lab's nodes: all files merged by time, then what is added to them.

``<lab>/logs/<agent>.jsonl`` and the older ``.jsonl.1`` hold ``NodeRecord`` lines
(``lab.logs.write``). A line that was cut off by a full disk or a kill is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from protocol.messages.agent import NodeRecord

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
