"""Supervisors that need not load the program first: forked from the process that ran ``up``.

Two thirds of the processor time of a small lab's start go into the imports of its supervisor and
of its fork server. In tests that do not look at how a lab's processes begin, ``warm`` has all of it
loaded already: the supervisor is a copy of ``up``, and the fork server a copy of the supervisor, as
labs of the matrix have it (``lab.matrix.players``).
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, NoReturn

from lab.processes import agents, preload
from lab.processes.process_lab import ProcessLab
from lab.state.scratch import state_home
from lab.state.state_folder import put_aside
from lab.supervise import supervisor
from lab.supervise.launching import ROOT, Start
from services.runtime.forking.child import descriptors, threads
from services.runtime.forking.own_forks import CopiedServer
from services.runtime.forking.packets import MARK
from tests.lab.cli.posing import pose

_SERVER = f"{__name__}:fork_server"


def spawned(start: Start, progress: int, lock: int) -> Copy:
    """In place of ``Start._spawn``."""
    start.log.parent.mkdir(parents=True, exist_ok=True)
    put_aside(start.log)
    output = os.open(start.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    assert threads() == 1, threads()
    pid = os.fork()
    if pid == 0:
        home = str(state_home())
        os.environ["KEYSTEAD_STATE_HOME"] = home
        _live([start.folder.name, str(progress), str(lock), home], output, {progress, lock})
    os.close(output)
    return Copy(pid)


class Copy:
    """The part of ``subprocess.Popen`` that ``Start`` uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        return self._wait(0)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, options)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _live(arguments: list[str], output: int, kept: set[int]) -> NoReturn:
    """The copy: a supervisor from its first step to its end, and nothing of ``up``."""
    code: object = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        atexit._clear()
        silent = os.open(os.devnull, os.O_RDONLY)
        for source, standard in ((silent, 0), (output, 1), (output, 2)):
            os.dup2(source, standard)
        for fd in descriptors() - kept - {0, 1, 2}:
            os.close(fd)
        os.chdir(ROOT)
        sys.argv = [supervisor.__file__, *arguments]
        pose([sys.executable, "-m", "lab.supervise.supervisor", *arguments], os.environ)
        _agents_from(CopiedServer("keystead-fork", _SERVER))
        try:
            supervisor.main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
        except BaseException:  # as the interpreter tells it
            traceback.print_exc()
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
    finally:
        os._exit(code if isinstance(code, int) else 1)


def _agents_from(server: CopiedServer) -> None:
    """The lab of this process has its agents forked from ``server`` at first."""
    make = ProcessLab.__init__

    def made(lab: ProcessLab, folder: Any, *rest: Any, **options: Any) -> None:
        make(lab, folder, *rest, **options)
        agents.begin(server, folder)
        lab.agents.server = server

    ProcessLab.__init__ = made  # type: ignore[assignment,method-assign]


def fork_server(log: bytes) -> None:
    """As ``lab.processes.preload.set_up_copy``, seen as a fork server that was started."""
    pose([sys.executable, "-c", "", MARK], os.environ)
    preload.set_up_copy(log)
