"""``watch --web``: from a lab to an address that a browser opens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

from lab.cli.options import LAB_DEFAULTS
from lab.local.vsphere import EXTRA, accept_commands, executor_of
from lab.schema.commands import GetStatus
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder
from lab.vsphere.executor import Executor, ServedCall

Say = Callable[[str], None]
Changed = Callable[[], Awaitable[None]]


async def serve_lab(
    name: str, port: int, every_s: float, simulated: str, seed: int | None, say: Say,
    webhook: str = "",
) -> None:  # fmt: skip
    """Show the lab ``name``, or a simulation of the file ``simulated``, until SIGINT or SIGTERM.

    ``webhook`` is an address that events are sent to. KS-API-002 without the extra, KS-API-003 when
    the port cannot be had, KS-LAB-001 when the lab does not run, KS-USE-003 for what is no address.
    """
    stopped = _until_signal()
    async with contextlib.AsyncExitStack() as stack:
        executor = executor_of(name, simulated, seed)
        lab, simulation = await stack.enter_async_context(executor)
        page = page_of_lab(name, lab, port, every_s, simulated, say, webhook=webhook)
        look = await stack.enter_async_context(page)
        if simulation is not None:
            LabFolder(name).make()
            await stack.enter_async_context(accept_commands(name, lab, look, simulation))
        await stopped.wait()


@contextlib.asynccontextmanager
async def page_of_lab(
    name: str,
    lab: Executor,
    port: int,
    every_s: float,
    simulated: str,
    say: Say,
    *,
    changed: Changed | None = None,
    calls: Sequence[ServedCall] = (),
    still: bool = False,
    webhook: str = "",
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The page of the lab behind an executor, for the length of a block; gives what has it look
    again. ``changed`` is called after each command that the page gives; ``calls`` are the newest of
    clients of an API server; ``still``: looking lets no
    time of a simulation pass. Errors as ``serve_lab``."""
    try:
        from lab.cli.watch.web.app import LabPage, application, serve
        from lab.cli.watch.web.updates import Looker
        from lab.cli.watch.web.webhook import Receiver, Webhook
    except ImportError as error:
        raise KeysteadError("KS-API-002", str(error), EXTRA) from None
    of_lab = "" if name == LAB_DEFAULTS.name else f" --name {name}"
    stopped, token = asyncio.Event(), secrets.token_urlsafe(24)
    receiver = Receiver(webhook) if webhook else None
    bound, address = _bind(port)
    with contextlib.closing(bound):
        looker = Looker(lab, every_s, of_lab, still=still)
        await looker.look()
        if looker.seen is None:
            await lab.do(GetStatus())  # raises what is wrong
        page = LabPage(looker, name, lambda: _topology(name, simulated), of_lab, changed, calls)
        app = application(page.routes(), lambda: bound.getsockname()[1], token)
        say(f"the page of {name}: {address}#token={token}")
        say(f"without the token it only shows: {address}    Ctrl-C ends it")
        tasks = [asyncio.create_task(serve(app, bound, stopped))]
        if receiver is not None:
            tasks.append(asyncio.create_task(Webhook(receiver, name, say).follow(looker)))
        try:
            yield looker.look
        finally:
            for task in tasks[1:]:
                task.cancel()
            looker.stop()
            stopped.set()
            await asyncio.wait(tasks)


async def serve_run(run: str, at: float, port: int, say: Say) -> None:
    """Show the stored run, and all others, until SIGINT or SIGTERM. Errors as of ``serve_lab``, and
    KS-RUN-001 for a run that is not there."""
    try:
        from lab.cli.watch.web.app import application, serve
    except ImportError as error:
        raise KeysteadError("KS-API-002", str(error), EXTRA) from None
    from lab.local.stored.reports import story_of

    stopped, token = _until_signal(), secrets.token_urlsafe(24)
    story_of(run)  # raises what is wrong with it
    bound, address = _bind(port)
    page = f"{address}runs/{quote(run)}/watch"
    say(f"the run {run}: {page}#token={token}&t={at:g}")
    say(f"without the token it only shows: {page}#t={at:g}    Ctrl-C ends it")
    await serve(application([], lambda: bound.getsockname()[1], token), bound, stopped)


def _bind(port: int) -> tuple[socket.socket, str]:
    try:
        bound = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        text = f"127.0.0.1:{port}: {os.strerror(error.errno or 0)}"
        raise KeysteadError("KS-API-003", text, "give another port with `--port`") from None
    return bound, f"http://127.0.0.1:{bound.getsockname()[1]}/"


def _until_signal() -> asyncio.Event:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def _topology(name: str, simulated: str) -> Any:
    """What an experiment says of this lab: its file, or the whole of it."""
    if simulated:
        return {"use": simulated}
    record = LabFolder(name).record()
    if record is None:
        raise KeysteadError("KS-USE-003", f"the lab {name} is elsewhere: its Lab file is not here")
    return record.file
