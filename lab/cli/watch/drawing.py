"""A scene as lines of text, as many and as wide as the terminal has. Pure.

Meaning is never by colour alone: a state has its word or its sign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.text import Text

from chaos.report.timeline import SIGNS
from lab.cli.watch.scene import FaultLine, Level, Scene, Tile
from protocol.printable import one_line

STYLES: Final = {
    Level.BAD: "bold red",
    Level.ODD: "yellow",
    Level.IDLE: "dim",
    Level.GOOD: "green",
}
_SIGN: Final = {Level.BAD: "!", Level.ODD: "?", Level.IDLE: "-", Level.GOOD: "+"}
KEYS_OF_LAB: Final = "q quit  a all  p problems  h hosts  v VMs"
KEYS_OF_RUN: Final = f"{KEYS_OF_LAB}  <- -> step  0 begin  $ end"
_SHARE: Final = 0.4  # of the height, for problems at the most
_EVENTS: Final = 6  # lines at the most


def draw(scene: Scene, width: int, height: int, *, keys: str = "") -> list[Text]:
    """At most ``height`` lines of at most ``width`` characters, what is wrong first."""
    head = [*_heading(scene, width, keys), *_summary(scene)]
    if scene.notice:
        head.append(Text(one_line(scene.notice), "yellow"))
    room = height - len(head)
    problems = [t for t in (*scene.servers, *scene.hosts, *scene.vms) if t.level <= Level.ODD]
    problems.sort(key=lambda tile: tile.level)
    parts: list[list[Text]] = [
        _section("PROBLEMS", _problems(problems), max(3, int(room * _SHARE))),
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


def _heading(scene: Scene, width: int, keys: str) -> list[Text]:
    title = Text(one_line(scene.title), "bold")
    if not keys:
        return [title]
    if len(title.plain) + len(keys) + 2 > width:
        return [title, Text(keys, "dim")]
    title.append(" " * (width - len(title.plain) - len(keys)))
    title.append(keys, "dim not bold")
    return [title]


def _summary(scene: Scene) -> Iterator[Text]:
    """How many there are of each state, and the keys."""
    parts = [
        f"{len(tiles)} {what}: {_counted(tiles)}"
        for what, tiles in (("hosts", scene.hosts), ("VMs", scene.vms))
        if tiles
    ]
    yield Text("; ".join(parts))
    if scene.keys is not None:
        keys = scene.keys
        told = f"keys: {keys.memory} in memory, {keys.kept} of them kept by a TPM"
        yield Text(f"{told}, {keys.missing} missing")


def _counted(tiles: Iterable[Tile]) -> str:
    counts = Counter(tile.state for tile in tiles)
    return ", ".join(f"{count} {state}" for state, count in counts.most_common())


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
            (f"{_sign(tile)} {tile.name:{name}}  {tile.state:{state}}", STYLES[tile.level]),
            f"  {one_line(tile.why)}".rstrip(),
        )
        for tile in tiles
    ]


def _fault(fault: FaultLine) -> Text:
    left = f"  {fault.left}" if fault.left else "  until it is healed"
    return Text.assemble((one_line(fault.text), "yellow"), f"  ({fault.id})", left)


def _sign(tile: Tile) -> str:
    return SIGNS.get(tile.state, _SIGN[tile.level])


def _grid(tiles: Sequence[Tile], width: int) -> list[Text]:
    """Tiles side by side, each as wide as the widest; the worst first."""
    if not tiles:
        return []
    ordered = sorted(tiles, key=lambda tile: tile.level)
    cells = [f"{_sign(tile)} {tile.name} {tile.state}" for tile in ordered]
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
