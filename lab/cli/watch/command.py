"""``watch``: asks a lab again and again, or steps through a stored run, and draws what is there."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from lab.cli.arguments import COMPLETERS, duration
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import console, say
from lab.cli.streams import flush
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder

if TYPE_CHECKING:
    from rich.live import Live

    from lab.cli.watch.scene import LabAnswers, LabView

Kinds = Literal["all", "problems", "hosts", "vms"]
_BY_KEY: Final[dict[str, Kinds]] = {"a": "all", "p": "problems", "h": "hosts", "v": "vms"}
_QUIT: Final = "q"
LEAST_S, MOST_S = 0.1, 3600.0


@dataclass
class _Wanted:
    """What the person at the terminal wants to see; ``moved``: steps through a stored run."""

    kinds: Kinds
    names: tuple[str, ...]
    ended: bool = False


def watch(
    *names: Annotated[str, Parameter(help="Only nodes and VMs with one of these in their name.")],
    only: Annotated[Kinds, Parameter(help="What is shown: all, problems, hosts or vms.")] = "all",
    run: Annotated[
        str,
        Parameter(help="A stored run instead of a lab that runs.", completer=COMPLETERS["run"]),
    ] = "",
    at: Annotated[str, Parameter(help="Of a stored run: the moment to begin at: 90s, 2m.")] = "",
    every: Annotated[str, Parameter(help="Real time between two looks.")] = "1s",
    once: Annotated[
        bool, Parameter(negative="", help="Draw one picture and end, as into a pipe.")
    ] = False,
    web: Annotated[
        bool, Parameter(negative="", help="A page for a browser of this machine instead.")
    ] = False,
    port: Annotated[int, Parameter(help="With --web: the port; 0 chooses a free one.")] = 0,
    sim: Annotated[
        str, Parameter(help="With --web: a Lab file (path or shipped name) in virtual time.")
    ] = "",
    seed: Annotated[int | None, Parameter(help="Seed of that simulation.")] = None,
    webhook: Annotated[
        str, Parameter(help="With --web: send vCenter's events to this URL, as CloudEvents.")
    ] = "",
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Watch a lab: hosts and VMs by state, faults, events, keys; problems first.

    keystead watch
    keystead watch --only problems
    keystead watch --run edge-outage-reboot-sim-7 --at 90s
    keystead watch --web
    keystead watch --web --sim default --seed 7

    Keys: q ends it; a, p, h, v choose what is shown. In a stored run the arrows step from change
    to change, back too. With --web a page is served on loopback until Ctrl-C. It changes the lab
    only when it is opened with the token of the printed address. The time of a simulation passes
    while a page is open.
    """
    every_s = duration("--every", every)
    if not LEAST_S <= every_s <= MOST_S:
        raise KeysteadError("KS-USE-003", f"--every {every}: {LEAST_S:g}s to {MOST_S:g}s")
    if at and not run:
        raise KeysteadError("KS-USE-003", f"--at {at}: it is a moment of a stored run: --run RUN")
    moment = duration("--at", at) if at else None
    if web:
        if names or once or only != "all":
            raise KeysteadError("KS-USE-003", "--web shows all: leave out names, --only and --once")
        if not 0 <= port <= 65535:
            raise KeysteadError("KS-USE-003", f"--port {port}: 0 to 65535")
        _serve_page(options.name, run, moment or 0.0, port, every_s, sim, seed, webhook)
        return
    if port or sim or webhook or seed is not None:
        raise KeysteadError("KS-USE-003", "--port, --sim, --seed and --webhook go with --web")
    wanted = _Wanted(only, names)
    once = once or not sys.stdout.isatty()
    if run:
        _watch_run(run, moment, wanted, once)
        return
    asyncio.run(_watch_lab(options, every_s, wanted, once))


def _serve_page(
    name: str, run: str, at: float, port: int, every_s: float, sim: str, seed: int | None,
    webhook: str,
) -> None:  # fmt: skip
    from lab.cli.watch.web.serving import serve_lab, serve_run

    if run:
        if sim or webhook:
            raise KeysteadError("KS-USE-003", "--run with --sim or --webhook: a run or a lab")
        asyncio.run(serve_run(run, at, port, say))
        return
    file = os.path.abspath(sim) if sim and os.path.exists(sim) else sim
    asyncio.run(serve_lab(name, port, every_s, file, seed, say, webhook))


async def _watch_lab(options: LabOptions, every_s: float, wanted: _Wanted, once: bool) -> None:
    from lab.cli.watch.scene import ask, scene_of_lab
    from lab.local.remote import Remote

    async with Remote(LabFolder(options.name), options.vcenter) as lab:
        if once:
            _draw_once(scene_of_lab(await ask(lab.do, None)), wanted)
            return
        pressed = asyncio.Event()
        with _screen() as live, _keys(asyncio.get_running_loop(), pressed) as typed:
            seen: LabAnswers | None = None
            while not wanted.ended:
                seen = await ask(lab.do, seen)
                _draw(live, scene_of_lab(seen), wanted, run=False)
                try:
                    async with asyncio.timeout(every_s):
                        await pressed.wait()
                except TimeoutError:
                    continue
                pressed.clear()
                for key in typed():
                    _choose(wanted, key)


def _watch_run(run: str, at: float | None, wanted: _Wanted, once: bool) -> None:
    from lab.cli.watch.scene import moments, scene_of_run
    from lab.local.stored.reports import story_of

    story = story_of(run)
    if once:
        _draw_once(scene_of_run(story, story.seconds if at is None else at), wanted)
        return
    steps = moments(story)
    place = next((n for n, t in enumerate(steps) if t >= (at or 0.0)), len(steps) - 1)
    with _screen() as live, _raw():
        while not wanted.ended:
            _draw(live, scene_of_run(story, steps[place]), wanted, run=True)
            for key in _split(os.read(sys.stdin.fileno(), 64)):
                _choose(wanted, key)
                place = _step(key, place, len(steps))


def _step(key: str, place: int, count: int) -> int:
    match key:
        case "left":
            return max(place - 1, 0)
        case "right":
            return min(place + 1, count - 1)
        case "0":
            return 0
        case "$":
            return count - 1
    return place


def _choose(wanted: _Wanted, key: str) -> None:
    wanted.ended = wanted.ended or key == _QUIT
    wanted.kinds = _BY_KEY.get(key, wanted.kinds)


# Terminal -----------------------------------------------------------------------------------


def _draw(live: Live, scene: LabView, wanted: _Wanted, *, run: bool) -> None:
    from rich.console import Group

    from lab.cli.watch.drawing import KEYS_OF_LAB, KEYS_OF_RUN, draw

    size = live.console.size
    chosen = scene.select(wanted.kinds, wanted.names)
    keys = KEYS_OF_RUN if run else KEYS_OF_LAB
    live.update(Group(*draw(chosen, size.width, size.height, keys=keys)), refresh=True)


def _draw_once(scene: LabView, wanted: _Wanted) -> None:
    """One picture, as high as it has to be."""
    from lab.cli.watch.drawing import draw

    out = console(sys.stdout)
    for line in draw(scene.select(wanted.kinds, wanted.names), out.width, 1 << 16):
        out.print(line)
    flush()


@contextmanager
def _screen() -> Iterator[Live]:
    """The whole terminal, which is as it was before when it ends."""
    from rich.live import Live

    with Live(console=console(sys.stdout), screen=True, auto_refresh=False) as live:
        yield live


@contextmanager
def _raw() -> Iterator[None]:
    """Keys come one by one, without Enter, and are not shown; nothing of a stdin that is none."""
    file = sys.stdin.fileno()
    if not os.isatty(file):
        raise KeysteadError("KS-USE-003", "keys come from a terminal: use --once")
    before = termios.tcgetattr(file)
    tty.setcbreak(file)
    try:
        yield
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


@contextmanager
def _keys(
    loop: asyncio.AbstractEventLoop, pressed: asyncio.Event
) -> Iterator[Callable[[], list[str]]]:
    """Give a function for the keys that were pressed since its last call."""
    file, waiting = sys.stdin.fileno(), []

    def read() -> None:
        waiting.extend(_split(os.read(file, 64)))
        pressed.set()

    def take() -> list[str]:
        found, waiting[:] = list(waiting), []
        return found

    with _raw():
        loop.add_reader(file, read)
        try:
            yield take
        finally:
            loop.remove_reader(file)


def _split(typed: bytes) -> list[str]:
    """Keys by name; a stdin that has ended is a ``q``."""
    if not typed:
        return [_QUIT]
    text = typed.decode("ascii", "replace")
    for code, name in (("\x1b[C", "\0"), ("\x1bOC", "\0"), ("\x1b[D", "\1"), ("\x1bOD", "\1")):
        text = text.replace(code, name)
    return [{"\0": "right", "\1": "left"}.get(key, key) for key in text]
