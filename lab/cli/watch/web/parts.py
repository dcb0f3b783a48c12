"""What a lab answered as parts of the page: HTML by name, made again when what it shows changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from chaos.lab import Directory
from chaos.report.filling import fill_part
from chaos.report.topology import BoxMark, Marks, ServerBox, draw_lab
from lab.cli.watch.scene import LabAnswers, LabView, StateLevel, by_level, scene_of_lab
from lab.cli.watch.web.acts import ExecutedLine
from lab.schema.answers import RuledLink
from lab.schema.errors import KeysteadError

TEMPLATE: Final = "live_parts.html"
LEVELS: Final = {
    StateLevel.BAD: "bad",
    StateLevel.ODD: "odd",
    StateLevel.IDLE: "idle",
    StateLevel.GOOD: "good",
}
_EVENTS: Final = 40


class Parts:
    """The parts of the page with the version at which each has changed. ``of_lab`` is added to
    command lines: the lab's name, unless it is the default one."""

    def __init__(self, of_lab: str = "") -> None:
        self.html: dict[str, str] = {}
        self._of_lab = of_lab
        self._shown = "", ""
        self._values: dict[str, tuple[Any, ...]] = {}
        self._versions: dict[str, int] = {}
        self._version = 0

    def list_changes(self, version: int) -> tuple[int, dict[str, str]]:
        """The present version, and the parts that have changed after ``version``."""
        changed = {n: html for n, html in self.html.items() if self._versions[n] > version}
        return self._version, changed

    def draw(self, answers: LabAnswers, directory: Directory, links: Sequence[RuledLink]) -> None:
        """Draw the lab as it answered."""
        scene = scene_of_lab(answers)
        self._shown = answers.status.name, answers.status.mode
        self._set("head", "head", *self._shown, scene.notice)
        self._draw_scene(scene)
        faults = tuple(replace(one, left="") for one in scene.faults)
        self._set("faults", "faults", faults, self._of_lab)
        picked = tuple((tile.name, tile.state, tile.level) for tile in scene.problems)
        self._set("topology", _topology, directory.nodes, picked, tuple(links))

    def draw_moment(self, scene: LabView, name: str, word: str) -> None:
        """Draw a moment of a stored run."""
        self._set("head", "head", name, word, scene.notice, False)
        self._draw_scene(scene)
        self._set("faults", "faults", scene.faults, None)

    def draw_loss(self, error: KeysteadError) -> None:
        """Say that the lab does not answer; everything else stays as it was."""
        fix = f" ({error.fix})" if error.fix else ""
        self._set("head", "head", *self._shown, f"{error.id}: {error}{fix}")

    def draw_done(self, done: Sequence[ExecutedLine]) -> None:
        """What was done on this page."""
        self._set("done", "done", tuple(done), self._of_lab)

    def _draw_scene(self, scene: LabView) -> None:
        self._set("summary", "summary", scene.summary())
        self._set("problems", "problems", scene.problems)
        self._set("servers", "tiles", by_level(scene.servers))
        self._set("hosts", "tiles", by_level(scene.hosts))
        self._set("vms", "tiles", by_level(scene.vms))
        self._set("events", "events", scene.events[: -_EVENTS - 1 : -1])

    def _set(self, name: str, draw: str | Callable[..., str], *values: Any) -> None:
        if self._values.get(name) == values:
            return
        self._values[name] = values
        self._version += 1
        self._versions[name] = self._version
        self.html[name] = (
            fill_part(TEMPLATE, draw, *values) if isinstance(draw, str) else draw(*values)
        )


def _topology(entries: Any, problems: Sequence[tuple[str, str, StateLevel]], links: Any) -> str:
    nodes = {name: BoxMark(f"l-{LEVELS[level]}", f": {state}") for name, state, level in problems}

    def describe_break(a: ServerBox, b: ServerBox) -> str:
        return "; ".join(rules_between(links, a.nodes, b.nodes))

    marks = Marks(nodes, describe_break, "not as they should be", linked=True)
    return fill_part(TEMPLATE, "topology", draw_lab(entries, marks))


def rules_between(
    links: Sequence[RuledLink], a: frozenset[str], b: frozenset[str]
) -> tuple[str, ...]:
    """What lies on the links between two boxes of the picture, and on how many of them."""
    counts: Counter[str] = Counter()
    for link in links:
        if (link.src in a and link.dst in b) or (link.src in b and link.dst in a):
            counts.update({f"{rule.kind} ({rule.id})" for rule in link.rules})
    return tuple(f"{text} in {count} directions" for text, count in sorted(counts.items()))
