"""Who saw which bug: kept in ``seen.json``, and compared with what the run before has kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

SEEN: Final = Path(__file__).with_name("seen.json")


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One bug by its name. ``judge`` is empty when nobody saw it. ``reached``: whether any run of
    the product's judges came to its place; for tests always."""

    bug: str
    judge: str = ""
    said: str = ""
    where: str = ""
    reached: bool = True


Kept = dict[str, tuple[Row, ...]]
"""Rows of each kind of run: ``product, seed 1``."""


def kept(path: Path = SEEN) -> Kept:
    """What earlier runs have kept; empty when there was none."""
    return msgspec.json.decode(path.read_bytes(), type=Kept) if path.exists() else {}


def keep(run: str, rows: tuple[Row, ...], path: Path = SEEN) -> None:
    """Put these in the place of what ``run`` has kept."""
    whole = msgspec.json.encode(kept(path) | {run: rows})
    path.write_bytes(msgspec.json.format(whole, indent=1) + b"\n")


def summary(rows: tuple[Row, ...]) -> list[str]:
    """How many were seen, by whom, and what was seen by nobody."""
    judges = Counter(row.judge for row in rows if row.judge)
    seen, reached = sum(judges.values()), sum(row.reached for row in rows)
    by = ", ".join(f"{judge} {count}" for judge, count in judges.most_common())
    lines = [f"{seen} of {len(rows)} bugs seen ({_share(seen, len(rows))}): {by or 'by nobody'}"]
    if reached < len(rows):
        lines.append(
            f"{reached} are in places that a run came to, and {_share(seen, reached)} of these seen"
        )
    for row in rows:
        if not row.judge:
            lines.append(f"  not seen: {row.bug}{'' if row.reached else ' (no run came to it)'}")
    return lines


def differences(before: tuple[Row, ...], now: tuple[Row, ...]) -> list[str]:
    """Bugs of both runs that only one of them saw."""
    old: Mapping[str, Row] = {row.bug: row for row in before}
    lines = []
    for row in now:
        was = old.get(row.bug)
        if was is not None and bool(was.judge) != bool(row.judge):
            change = f"seen now by {row.judge}" if row.judge else f"no longer seen by {was.judge}"
            lines.append(f"  {change}: {row.bug}")
    return lines


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none"
