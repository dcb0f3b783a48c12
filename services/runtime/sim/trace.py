"""The trace of a run: what happened and what was said, in order, folded into one hash.

Two runs of one seed must have the same hash on every machine. An entry therefore has only things
that the seed fixes: virtual time, node, boot, label, ordinals, and the normal form of
what was said. It never has keys, nonces, wall time or addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from services.runtime.sim import normal_form

_FLUSH = 4096  # entries folded at once
_MASK = (1 << 63) - 1  # msgpack has no larger integers, and needs none here


_Entry = (
    tuple[int, str, int, str, tuple[int, ...]] | tuple[int, str, int, str, tuple[int, ...], bytes]
)


class TraceEntry(NamedTuple):
    """One thing that happened. ``at`` is virtual nanoseconds; node "" is the world itself;
    ``content`` is the normal form of a message or record."""

    at: int
    node: str
    boot: int
    label: str
    ordinals: tuple[int, ...]
    content: bytes = b""

    def __str__(self) -> str:
        who = f"{self.node}/{self.boot}" if self.node else "-"
        numbers = " ".join(map(str, self.ordinals))
        content = normal_form.format_normal_form(self.content)
        more = f" {content[:160]}{' ...' * (len(content) > 160)}" if content else ""
        return f"{self.at / 1e9:15.6f}  {who:<16} {self.label} {numbers}".rstrip() + more


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
        first, second = self.first, self.second
        if first is not None and second is not None and first[:5] == second[:5]:
            lines.append(
                f"  {first.label}: {normal_form.describe_difference(first.content, second.content)}"
            )
        return "\n".join(lines)


class Trace:
    """Folds entries into a hash. With ``record`` it also keeps them (memory: the whole run).

    ``count`` is the number of entries. The hash does not depend on ``record``.
    """

    def __init__(self, *, record: bool = False) -> None:
        self._fold = hashlib.blake2b(digest_size=16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._flushed = 0
        self._entries: list[TraceEntry] | None = [] if record else None
        # The loop appends a step here directly: one call less in its hottest line.
        self.pending: list[_Entry] = []

    def add(self, at: int, node: str, boot: int, label: str, *ordinals: int) -> None:
        """Fold one entry. ``label`` must be a fixed word or a name of the topology."""
        self.pending.append((at, node, boot, label, tuple([n & _MASK for n in ordinals])))
        if len(self.pending) >= _FLUSH:
            self.flush()

    def add_content(self, at: int, node: str, boot: int, label: str, content: bytes) -> None:
        """Fold a message, record or answer: ``content`` is its ``normal_form``."""
        self.pending.append((at, node, boot, label, (), content))
        if len(self.pending) >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        """Fold the pending entries. Entries are folded one by one, so the moment does not
        matter."""
        if not self.pending:
            return
        count = len(self.pending)
        # An array of entries is its head, which is left out, and then the entries one by one.
        head = 1 if count < 16 else 3 if count < 1 << 16 else 5
        self._fold.update(memoryview(self._encode(self.pending))[head:])
        self._flushed += count
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
