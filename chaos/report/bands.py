"""The faults of a history as intervals of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chaos.active_faults import ActiveFaults, fault_id
from chaos.history import Record


@dataclass(frozen=True, kw_only=True)
class Band:
    """A fault from when it was done to when it was seen gone (None: it was not), in seconds of the
    run; ``bit`` is when it was seen to bite.

    ``error`` is why it could not be made; ``nodes`` are those it touches; ``seq`` and ``heal`` are
    the records of its begin and of its end (0: there is none). ``sides`` are those of a fault that
    lies on links, else empty.
    """

    id: str
    kind: str
    summary: str
    began: float
    bit: float
    ended: float | None = None
    error: str = ""
    nodes: tuple[str, ...] = ()
    sides: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    seq: int
    heal: int = 0

    @property
    def label(self) -> str:
        """Its summary, with its id before it unless the summary begins with that word."""
        said = self.summary or self.kind
        return said if f"{said} ".startswith(f"{self.id} ") else f"{self.id}: {said}"

    def covers(self, t: float) -> bool:
        """Whether it was there at ``t``."""
        return not self.error and self.began <= t and (self.ended is None or t < self.ended)


def bands(records: Sequence[Record]) -> tuple[Band, ...]:
    """The faults of a history in the order in which they began."""
    found: dict[str, Band] = {}
    active = ActiveFaults()
    for record in records:
        id, ended = fault_id(record), active.take(record)
        if record.type == "fault":
            found[id] = Band(
                id=id,
                kind=record.op,
                summary=str(record.data.get("summary", "")),
                began=float(record.data.get("began", record.t)),
                bit=record.t,
                error=str(record.data.get("error", "")),
                nodes=tuple(map(str, record.data.get("nodes", ()))),
                sides=_sides(record.data.get("values", {})),
                seq=record.seq,
            )
        elif ended is not None:
            found[id] = replace(found[id], ended=record.t, heal=record.seq)
    return tuple(sorted(found.values(), key=lambda band: band.began))


def _sides(values: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(values.get("a", ())), frozenset(values.get("b", ()))


def rows(spans: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """A row for each span (begin, end), so that no two in a row overlap: the first row that has
    room, in the order given."""
    free: list[float] = []  # from when on each row has room
    chosen = []
    for begin, end in spans:
        row = next((n for n, since in enumerate(free) if since <= begin), len(free))
        free[row : row + 1] = [end]
        chosen.append(row)
    return tuple(chosen)
