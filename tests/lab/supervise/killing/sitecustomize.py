"""Loaded by Python itself in every process of a test that has this folder in ``PYTHONPATH``.

Counts the steps of one kind of process that change something outside of it: files and folders of
the state folder, processes, orders to agents. Each is written to a file before it is done; the
step of a given number is not done, the process is killed in its place.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any

PROCESS = os.environ.get("KILL_PROCESS", "")  # a module that is run with -m
AT = int(os.environ.get("KILL_AT", "0"))
LOG = os.environ.get("KILL_LOG", "")
HOME = os.environ.get("KEYSTEAD_STATE_HOME", "/nowhere")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_steps = 0
_inside = False


def step(label: str) -> None:
    """One step, before it is done."""
    global _steps, _inside
    _steps += 1
    _inside = True
    if LOG:
        with open(LOG, "a") as file:
            file.write(f"{label}\n")
    if _steps == AT:
        os.kill(os.getpid(), signal.SIGKILL)
    _inside = False


def shown(path: str) -> str:
    """A path without what differs from run to run."""
    text = os.path.relpath(path, HOME)
    return re.sub(r"\.\d+$|[0-9a-f]{8}$|-[a-z0-9_]{8}(?=/|$)", "#", text)


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    """See the module's text."""
    if _inside:
        return
    path = arguments[0] if arguments else None
    if event == "open":
        ours = isinstance(path, str) and path.startswith(HOME)
        if ours and (arguments[2] or 0) & WRITES:
            step(f"write {shown(str(path))}")
    elif event in CHANGES:
        relative = isinstance(path, str) and not path.startswith("/")
        name = event.removeprefix("os.")
        if relative:
            step(f"{name} what is in a folder that is emptied")
        elif str(path).startswith(HOME):
            step(f"{name} {shown(str(path))}")
    elif event == "subprocess.Popen":
        words = [str(word) for word in arguments[1]]
        step(f"start {next((w for w in words if w.startswith('lab.') or 'nats' in w), words[0])}")
        count_orders()
    elif event == "os.kill":
        step(f"signal {arguments[1]}")


def count_orders() -> None:
    """Orders to agents are steps too; by now the process has loaded what sends them."""
    plane = sys.modules.get("lab.brokers.control_plane")
    if plane is None or hasattr(plane.ControlClient, "uncounted"):
        return
    plane.ControlClient.uncounted = plane.ControlClient.request

    async def request(self: Any, to: str, message: Any, **more: Any) -> Any:
        inner = getattr(message, "name", "")
        step(f"order {type(message).__name__} {inner}".rstrip())
        return await self.uncounted(to, message, **more)

    plane.ControlClient.request = request


if PROCESS and PROCESS in sys.orig_argv:
    sys.addaudithook(hook)
