"""*What if from here*: a stored run with one more fault, from a moment on, beside the run itself.

The page sends a line of ``keystead chaos fork``, which the program's own parser reads. One fork is
played at a time. It is asked to stop after ``FORK_LIMIT_S``, and when its page goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chaos.faults import FAULTS
from chaos.faults.base import Fault
from chaos.lab import Directory
from chaos.progress import ProgressStep
from chaos.reference import entries
from chaos.report.compare import tell_differences
from chaos.report.filling import fill_part
from chaos.report.outcomes import outcomes
from chaos.report.story import Story
from chaos.report.timeline import timeline
from chaos.verdict import Exit
from chaos.yaml_file import read_yaml
from lab.cli.experiments.stored_runs import fork, play_fork
from lab.cli.watch.web.actions import parse_line
from lab.cli.watch.web.parts import TEMPLATE, describe_error
from lab.cli.watch.web.sent import read_line_sent
from lab.local.stored.reports import story_of
from lab.play.play import fault_phase_of
from lab.schema.errors import KeysteadError
from protocol.terms import Role

FORK_LIMIT_S: Final = 120.0
"""Seconds of real time after which a fork is asked to stop; it then heals its lab and ends."""
_BEGINNING: Final = tuple(kind for kind in FAULTS if not kind.at_point)
_FIRST: Final = "host.power_loss"
_LASTS: Final = "30s"


def routes() -> list[Route]:
    """The routes of forks."""
    return [Route("/runs/{run}/fork", RunForks().begin, methods=["POST"])]


# The form ---------------------------------------------------------------------------------------


class FormField(msgspec.Struct, frozen=True):
    """A field of a fault as the form shows it. ``given`` are its values at first, one input each;
    ``known`` are names of the lab that it may take, ``choices`` all values of one with few."""

    name: str
    values: str
    default: str
    required: bool
    given: tuple[str, ...]
    known: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def draw_form(story: Story) -> str:
    """The form for a run; why there is none, for one that cannot be forked."""
    phase = fault_phase_of(story.plan, story.records)
    if story.mode != "sim" or phase is None:
        why = "Only runs of a simulation are forked." if phase else "This run has no fault phase."
        return fill_part(TEMPLATE, "no_what_if", why)
    kinds = tuple(kind.kind for kind in _BEGINNING)
    fields = draw_fields(story, _FIRST)
    return fill_part(TEMPLATE, "what_if", story.run, phase, kinds, _FIRST, fields)


def draw_fields(story: Story, kind: str) -> str:
    """The fields of a fault with targets of the run's lab; KS-USE-002 for an unknown kind."""
    found = next((one for one in _BEGINNING if one.kind == kind), None)
    if found is None:
        raise KeysteadError("KS-USE-002", f"there is no fault {kind}")
    told = next(entry for entry in entries("fault") if entry.name == kind)
    lasts = _LASTS if found.reversible and found.lasts_s is None else ""
    return fill_part(TEMPLATE, "fault_fields", told.text, fields_of(found, story.directory), lasts)


def fields_of(kind: type[Fault], directory: Directory) -> tuple[FormField, ...]:
    """The fields of a fault, filled in as its example is, with names that the lab has."""
    told = next(entry for entry in entries("fault") if entry.name == kind.kind)
    example: Mapping[str, Any] = read_yaml(f"{{{kind.example}}}").data
    names = {info.alias or name for name, info in kind.params.model_fields.items()}
    made = []
    for field in told.fields:
        if field.name not in names:
            continue
        known = _known(field.name, kind, directory)
        given = _fitting(example.get(field.name, ()), known)
        choices = tuple(field.values.split(" | ")) if " | " in field.values else ()
        made.append(
            FormField(
                field.name, field.values, field.default, field.required, given, known, choices
            )
        )
    return tuple(made)


def _known(field: str, kind: type[Fault], directory: Directory) -> tuple[str, ...]:
    """The names of the lab that a field may take, those that fit best first."""
    if kind.kind.startswith("broker."):
        return tuple(str(n + 1) for n in range(directory.bus_servers))
    role = getattr(kind, "role", None)
    nodes = [str(e.node) for e in directory.nodes if role in (None, e.role)]
    if kind.kind.startswith("host."):
        hosts = {str(e.node) for e in directory.nodes if e.role is Role.ESXI}
        nodes.sort(key=lambda name: name not in hosts)
    clusters = dict.fromkeys(f"cluster:{e.cluster}" for e in directory.nodes if e.cluster)
    match field:
        case "on" | "between":
            return (*nodes, *(clusters if role in (None, Role.ESXI) else ()))
        case "to":
            return tuple(str(e.node) for e in directory.nodes if e.role is Role.KMS)
        case "site":
            return tuple(dict.fromkeys(e.site for e in directory.nodes))
        case "vm":
            return tuple(map(str, directory.vms))
        case "vcenter":
            return tuple(str(e.node) for e in directory.nodes if e.role is Role.VCENTER)
    return ()


def _fitting(example: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    """An example's values, each a name of this lab where there are any."""
    whole = example if isinstance(example, (list, tuple)) else [example]
    values = [str(one).lower() if isinstance(one, bool) else str(one) for one in whole]
    if not known:
        return tuple(values)
    left = [name for name in known if name not in values]
    return tuple(one if one in known else left.pop(0) if left else "" for one in values)


# Both runs --------------------------------------------------------------------------------------


def draw_both(a: Story, b: Story) -> str:
    """What differs between a run and its fork in words, their timelines on one axis, and links."""
    seconds = max(a.drawn, b.drawn)
    drawn = [(story, timeline(story, outcomes(story), seconds)) for story in (a, b)]
    return fill_part(TEMPLATE, "both_runs", a.run, b.run, tell_differences(a, b), drawn, b.fork_at)


# Playing ----------------------------------------------------------------------------------------


class StopRequest:
    """Asks the worker of a fork to stop, from another thread and at any time."""

    def __init__(self) -> None:
        self._lock, self._stop = threading.Lock(), _nothing
        self.asked = False

    def ask(self) -> None:
        """Stop it, or have it stopped as soon as it plays."""
        with self._lock:
            if not self.asked:
                self.asked = True
                self._stop()

    @contextlib.contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """As of ``Stopping``."""

        def stop_worker() -> None:
            with contextlib.suppress(OSError):  # it has just ended
                stop()

        with self._lock:
            self._stop = stop_worker
            if self.asked:
                stop_worker()
        try:
            yield
        finally:
            with self._lock:
                self._stop = _nothing


def _nothing() -> None:
    """There is no worker to stop."""


class RunForks:
    """Plays forks for the page, one at a time."""

    def __init__(self) -> None:
        self._task: asyncio.Task[str] | None = None

    async def begin(self, request: Request) -> Response:
        """Play the fork of a line. The answer is a stream of JSON lines: ``step`` is how far it is,
        and at the end ``html`` is both runs, or ``error`` what is wrong."""
        try:
            words = read_fork(await read_line_sent(request), request.path_params["run"])
            if self._task is not None and not self._task.done():
                text = "a fork is being played: one at a time"
                raise KeysteadError("KS-USE-003", text, "wait for it, or stop it on its page")
        except KeysteadError as error:
            return JSONResponse({"error": describe_error(error)}, 409)
        loop, steps, stop = asyncio.get_running_loop(), asyncio.Queue[str](), StopRequest()

        def show(step: ProgressStep) -> None:
            loop.call_soon_threadsafe(steps.put_nowait, step.where())

        self._task = loop.create_task(asyncio.to_thread(_play, words, show, stop))
        limit = loop.call_later(FORK_LIMIT_S, stop.ask)

        def end(task: asyncio.Task[str]) -> None:
            limit.cancel()
            if not task.cancelled():
                task.exception()  # the page that it was for may have gone
            steps.put_nowait("")

        self._task.add_done_callback(end)
        return _ForkStream(_follow(self._task, steps), stop)


class _ForkStream(StreamingResponse):  # type: ignore[misc]
    """The progress of a fork, which is stopped when nobody waits for it any more."""

    def __init__(self, lines: AsyncIterator[bytes], stop: StopRequest) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._stop = stop

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As of the base class."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stop.ask()


async def _follow(task: asyncio.Task[str], steps: asyncio.Queue[str]) -> AsyncIterator[bytes]:
    while step := await steps.get():
        yield _line(step=step)
    try:
        yield _line(html=task.result())
    except KeysteadError as error:
        yield _line(error=describe_error(error))
    except Exception as error:
        # A defect: the page says it, and another fork can be played.
        traceback.print_exc()
        yield _line(error=f"KS-INT-001: {type(error).__name__}: {error}")


def _line(**values: str) -> bytes:
    return msgspec.json.encode(values) + b"\n"


def read_fork(line: str, run: str) -> dict[str, Any]:
    """The arguments of a line of ``chaos fork`` for this run; KS-USE-001 and KS-USE-003 for any
    other line."""
    function, bound = parse_line(line)
    wanted: Callable[..., Any] = fork
    given = dict(bound.arguments)
    if function != wanted or "options" in given:
        raise KeysteadError("KS-USE-003", f"{line}: this page plays `chaos fork` only")
    if given["run"] != run:
        raise KeysteadError("KS-USE-003", f"{line}: this page is of the run {run}")
    return given


def _play(words: dict[str, Any], show: Callable[[ProgressStep], None], stop: StopRequest) -> str:
    named = {name: value for name, value in words.items() if name not in ("run", "kind", "values")}
    folder, verdict = play_fork(
        words["run"],
        words["kind"],
        *words.get("values", ()),
        **named,
        show=show,
        stopping=stop.stopping,
    )
    if verdict.exit_code == Exit.INTERRUPTED:
        text = f"the fork {folder.run} was stopped; a page plays one for {FORK_LIMIT_S:g} s"
        raise KeysteadError("KS-USE-003", text, "play it on the command line")
    return draw_both(story_of(words["run"]), story_of(folder.run))
