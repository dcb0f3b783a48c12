"""Stored runs on the page's server: a list, each one's report, and any moment of one."""

from __future__ import annotations

import asyncio
import contextlib
import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from chaos.report.filling import fill
from chaos.report.story import Story
from lab.cli.watch.scene import moments, scene_of_run
from lab.cli.watch.web.parts import Parts
from lab.cli.watch.web.what_if import draw_fields, draw_form
from lab.load.stored_loads import LOAD
from lab.local.stored.descriptions import SWEEP
from lab.local.stored.reports import page_of, story_of
from lab.local.stored.runs import reproduce, runs
from lab.matrix.run import MATRIX, OUTSIDE
from lab.runs.store import RunFolder
from lab.schema.answers.local import StoredRun
from lab.schema.errors import KeysteadError

_REPORT_POLICY: Final = "frame-ancestors 'none'"
"""A report has its own policy in its head, which knows its script by its digest."""
_SHOWN: Final = 200
_WITHOUT_MOMENTS: Final = (MATRIX, OUTSIDE, LOAD, SWEEP)
"""What is no run of an experiment, and is neither stepped through nor replayed."""


def routes() -> list[Route]:
    """The routes of stored runs."""
    return [
        Route("/runs", _list),
        Route("/runs/{run}", _report),
        Route("/runs/{run}/beside/{other}", _report),
        Route("/runs/{run}/watch", _watch),
        Route("/runs/{run}/at", _moment),
        Route("/runs/{run}/fault", _fault),
    ]


async def _list(_: Request) -> Response:
    return _html(await asyncio.to_thread(_draw_list))


def _draw_list() -> str:
    found = runs(newest=True)
    rows = [
        {
            "stored": stored,
            "began": datetime.fromtimestamp(stored.began, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "again": _again(stored),
        }
        for stored in found.items[:_SHOWN]
    ]
    more = len(found.items) - len(rows)
    return fill("runs.html", {"rows": rows, "more": more, "damaged": found.damaged})


def _again(stored: StoredRun) -> str:
    """The command that plays a run again; empty for one that is no experiment, or has gone."""
    if stored.experiment not in _WITHOUT_MOMENTS:
        with contextlib.suppress(KeysteadError):
            return reproduce(RunFolder(stored.run).record())
    return ""


async def _report(request: Request) -> Response:
    try:
        page = await asyncio.to_thread(page_of, *request.path_params.values())
    except KeysteadError as error:
        return _not_found(error)
    return Response(page, 200, {"content-security-policy": _REPORT_POLICY}, "text/html")


async def _watch(request: Request) -> Response:
    run = request.path_params["run"]
    try:
        story = await asyncio.to_thread(_story, run)
    except KeysteadError as error:
        return _not_found(error)
    values = {
        "title": f"keystead: {run}",
        "parts": _draw(story, 0.0),
        "stream": "",
        "run": run,
        "moments": " ".join(f"{t:.3f}".rstrip("0").rstrip(".") for t in moments(story)),
        "what_if": draw_form(story),
    }
    return _html(fill("live.html", values))


async def _moment(request: Request) -> Response:
    try:
        at = float(request.query_params.get("t", "0"))
        if math.isnan(at):
            raise ValueError(at)
        story = await asyncio.to_thread(_story, request.path_params["run"])
    except KeysteadError as error:
        return _not_found(error)
    except ValueError:
        return PlainTextResponse("t is a number of lab seconds\n", 400)
    t = min(max(at, 0.0), story.seconds)
    return JSONResponse({"parts": _draw(story, t), "time": t, "pace": 0})


async def _fault(request: Request) -> Response:
    """The fields of a fault, for the form of a fork."""

    def draw() -> str:
        return draw_fields(_story(request.path_params["run"]), request.query_params.get("kind", ""))

    try:
        return _html(await asyncio.to_thread(draw))
    except KeysteadError as error:
        return _not_found(error)


def _story(run: str) -> Story:
    """The story of a run; read again when its folder has changed: a run may still be played, or
    have been removed, and its name used again."""
    folder = RunFolder(run)
    stamps = []
    for path in (folder.path, folder.history):
        with contextlib.suppress(OSError):  # ``story_of`` says what is missing
            found = path.stat()
            stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return _story_at(run, tuple(stamps))


@lru_cache(maxsize=2)
def _story_at(run: str, _stamps: tuple[tuple[int, int, int], ...]) -> Story:
    return story_of(run)


def _draw(story: Story, t: float) -> dict[str, str]:
    parts = Parts()
    parts.draw_moment(scene_of_run(story, t), f"run {story.run}", story.word)
    return parts.html


def _not_found(error: KeysteadError) -> Response:
    return PlainTextResponse(f"{error.id}: {error}\n", 404)


def _html(text: Any) -> Response:
    return Response(text, media_type="text/html")
