"""A scene as lines of text, as many and as wide as the terminal has. Pure.

Meaning is never by colour alone: a state has its word or its sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from lab.cli.watch.scene import FaultLine, LabView, StateLevel, Tile, by_level
from protocol.printable import one_line

STYLES: Final = {
    StateLevel.BAD: "bold red",
    StateLevel.ODD: "yellow",
    StateLevel.IDLE: "dim",
    StateLevel.GOOD: "green",
}
KEYS_OF_LAB: Final = "q quit  a all  p problems  h hosts  v VMs"
KEYS_OF_RUN: Final = f"{KEYS_OF_LAB}  <- -> step  0 begin  $ end"
_SHARE: Final = 0.4  # of the height, for problems at the most
_EVENTS: Final = 6  # lines at the most


def draw(scene: LabView, width: int, height: int, *, keys: str = "") -> list[Text]:
    """At most ``height`` lines of at most ``width`` characters, what is wrong first."""
    head = [*_heading(scene, width, keys), *map(Text, scene.summary())]
    if scene.notice:
        head.append(Text(one_line(scene.notice), "yellow"))
    room = height - len(head)
    parts: list[list[Text]] = [
        _section("PROBLEMS", _problems(scene.problems), max(3, int(room * _SHARE))),
        _section("FAULTS", [_fault(one) for one in scene.faults], max(3, room // 4)),
    ]
    events = [Text(one_line(text)) for text in reversed(scene.events[-_EVENTS:])]
    after = _section("EVENTS, newest first", events, _EVENTS + 2)
    used = sum(map(len, parts))
    left = max(4, room - used - len(after))
    for title, tiles in (("SERVERS", scene.servers), ("HOSTS", scene.hosts), ("VMS", scene.vms)):
        rows = _grid(tiles, width)
        mine = max(3, left if title == "VMS" else min(len(rows) + 2, left // 2))
        part = _section(title, rows, mine)
        left -= len(part)
        parts.append(part)
    lines = [*head, *(line for part in (*parts, after) for line in part)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _heading(scene: LabView, width: int, keys: str) -> list[Text]:
    title = Text(one_line(scene.title), "bold")
    if not keys:
        return [title]
    if len(title.plain) + len(keys) + 2 > width:
        return [title, Text(keys, "dim")]
    title.append(" " * (width - len(title.plain) - len(keys)))
    title.append(keys, "dim not bold")
    return [title]


def _section(title: str, lines: Sequence[Text], room: int) -> list[Text]:
    """A heading and the lines for which there is room; how many more there are."""
    if not lines:
        return []
    shown = list(lines[: room - 2])
    if len(shown) < len(lines):
        shown[-1:] = [Text(f"and {len(lines) - len(shown) + 1} more lines", "dim")]
    return [Text(""), Text(title, "bold"), *shown]


def _problems(tiles: Sequence[Tile]) -> list[Text]:
    name = max((len(tile.name) for tile in tiles), default=0)
    state = max((len(tile.state) for tile in tiles), default=0)
    return [
        Text.assemble(
            (f"{tile.sign} {tile.name:{name}}  {tile.state:{state}}", STYLES[tile.level]),
            f"  {one_line(tile.why)}".rstrip(),
        )
        for tile in tiles
    ]


def _fault(fault: FaultLine) -> Text:
    left = f"  {fault.left}" if fault.left else "  until it is healed"
    return Text.assemble((one_line(fault.text), "yellow"), f"  ({fault.id})", left)


def _grid(tiles: Sequence[Tile], width: int) -> list[Text]:
    """Tiles side by side, each as wide as the widest; the worst first."""
    if not tiles:
        return []
    ordered = by_level(tiles)
    cells = [f"{tile.sign} {tile.name} {tile.state}" for tile in ordered]
    wide = max(map(len, cells)) + 2
    columns = max(1, (width + 2) // wide)
    rows = []
    for first in range(0, len(cells), columns):
        row = Text()
        for place in range(first, min(first + columns, len(cells))):
            row.append(cells[place].ljust(wide), STYLES[ordered[place].level])
        row.rstrip()
        rows.append(row)
    return rows
