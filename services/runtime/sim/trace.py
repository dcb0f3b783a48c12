"""The trace of a run: what happened, in order, folded into one hash.

Two runs of one seed must have the same hash on every machine, so an entry is made of things
that the seed fixes: virtual time, node, boot, label, ordinals. It never has bytes, lengths,
wall time, addresses or random ids; ``ordinal`` turns such an id into "the n-th of its kind".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

_FLUSH = 4096  # entries folded at once
_MASK = (1 << 63) - 1  # msgpack has no larger integers, and needs none here


class TraceEntry(NamedTuple):
    """One thing that happened. ``at`` is virtual nanoseconds; node "" is the world itself."""

    at: int
    node: str
    boot: int
    label: str
    ordinals: tuple[int, ...]

    def __str__(self) -> str:
        who = f"{self.node}/{self.boot}" if self.node else "-"
        numbers = " ".join(map(str, self.ordinals))
        return f"{self.at / 1e9:15.6f}  {who:<16} {self.label} {numbers}".rstrip()


@dataclass(frozen=True)
class Difference:
    """Where two recorded traces part: entry ``index``; None is the end of a trace."""

    index: int
    first: TraceEntry | None
    second: TraceEntry | None
    before: tuple[TraceEntry, ...]  # the last common entries

    def __str__(self) -> str:
        lines = [f"the runs part at entry {self.index}:"]
        lines += [f"    {entry}" for entry in self.before]
        lines += [f"  1 {self.first or '(ended)'}", f"  2 {self.second or '(ended)'}"]
        return "\n".join(lines)


class Trace:
    """Folds entries as they come; with ``record`` it keeps them too (memory: all of the run).

    ``count`` is the number of entries. The hash does not depend on ``record``.
    """

    def __init__(self, *, record: bool = False) -> None:
        self._fold = hashlib.blake2b(digest_size=16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._flushed = 0
        self._ordinals: dict[str, dict[str | bytes | int, int]] = {}
        self._entries: list[TraceEntry] | None = [] if record else None
        # The loop appends a step here directly: one call less in its hottest line.
        self.pending: list[tuple[int, str, int, str, tuple[int, ...]]] = []

    def add(self, at: int, node: str, boot: int, label: str, *ordinals: int) -> None:
        """Fold one entry. ``label`` must be a fixed word or a name that the topology gives."""
        self.pending.append((at, node, boot, label, tuple(n & _MASK for n in ordinals)))
        if len(self.pending) >= _FLUSH:
            self.flush()

    def ordinal(self, kind: str, value: str | bytes | int) -> int:
        """1 for the first ``value`` of this kind that is asked for, 2 for the next, ..."""
        known = self._ordinals.setdefault(kind, {})
        return known.setdefault(value, len(known) + 1)

    def flush(self) -> None:
        """Fold what is pending. Where the borders fall changes nothing: entries are folded
        one by one."""
        if not self.pending:
            return
        encode = self._encode
        self._fold.update(b"".join([encode(entry) for entry in self.pending]))
        self._flushed += len(self.pending)
        if self._entries is not None:
            self._entries += [TraceEntry(*entry) for entry in self.pending]
        self.pending.clear()

    @property
    def count(self) -> int:
        """How many entries were folded so far."""
        return self._flushed + len(self.pending)

    @property
    def entries(self) -> list[TraceEntry]:
        """The recorded entries; ``ValueError`` when this trace does not record."""
        if self._entries is None:
            raise ValueError("this trace was made without record=True")
        self.flush()
        return self._entries

    def hash(self) -> str:
        """32 hexadecimal digits over everything so far; the trace may go on."""
        self.flush()
        return self._fold.hexdigest()


def first_difference(
    a: Trace | Iterable[TraceEntry], b: Trace | Iterable[TraceEntry], *, context: int = 5
) -> Difference | None:
    """The first entry in which two recorded traces differ; None when they are equal."""
    first = a.entries if isinstance(a, Trace) else list(a)
    second = b.entries if isinstance(b, Trace) else list(b)
    for index in range(max(len(first), len(second))):
        mine = first[index] if index < len(first) else None
        other = second[index] if index < len(second) else None
        if mine != other:
            before = tuple(first[max(0, index - context) : index])
            return Difference(index, mine, other, before)
    return None
