"""The fork server: loads what it is told, then forks a child per order and tells their ends.

Started by ``connection`` with a bare ``-c`` launcher, so that the owner's main module (pytest,
the command line) is never imported again. It has one thread, and refuses to serve with more.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from services.runtime.forking.packets import (
    SIZE_LIMIT,
    Ended,
    Failed,
    Fork,
    Forked,
    Kill,
    NotForked,
    Ready,
    Word,
    encode,
    orders,
)

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_BROKEN = 70  # exit code of a child whose target raised


def main(fd: int, owner: int, bound: bool, preload: Sequence[str]) -> None:
    """The server's whole life; ``fd`` is its end of the socket to ``owner``, a pid.

    ``bound``: the kernel ends it with the owner's main thread, even while it is stopped; without,
    the socket's end does. ``preload`` names modules to import, or ``module:function`` to call.
    """
    control = socket.socket(fileno=fd)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # children hold keys: no core file of them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is for the owner
    _name("keystead-fork")
    if bound:
        _die_with(owner)
    try:
        for entry in preload:
            _load(entry)
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            raise RuntimeError(f"{threads} threads run after loading {preload}: no safe fork")
    except BaseException:
        control.send(encode(Failed(traceback.format_exc()[-SIZE_LIMIT // 4 :])))
        return
    # The collector writes into each object that it looks at, and a page that was written to is
    # no longer shared with the children.
    gc.collect()
    gc.freeze()
    control.send(encode(Ready()))
    _Server(control).serve()


def resolve(target: str) -> Any:
    """The object that ``module:attribute`` names."""
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module)
    for step in attribute.split("."):
        found = getattr(found, step)
    return found


def _load(entry: str) -> None:
    if ":" in entry:
        resolve(entry)()
    else:
        importlib.import_module(entry)


def _name(name: str) -> None:
    """Be seen under ``name`` by ps and top."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def _die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL at the parent's end; leave if it has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, str] = {}
        self._wake, self._wake_in = os.pipe()

    def serve(self) -> None:
        """Until the owner's end of the socket closes."""
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_in, False)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        ready = select.poll()  # without a descriptor of its own that children would inherit
        ready.register(self._control, select.POLLIN)
        ready.register(self._wake, select.POLLIN)
        try:
            while True:
                for fd, _ in ready.poll():
                    if fd == self._wake:
                        os.read(self._wake, 4096)
                        self._reap()
                    elif not self._obey():
                        return
        except ConnectionError:
            return  # the owner went while something was told to it

    def _tell(self, word: Word) -> None:
        self._control.send(encode(word))

    def _obey(self) -> bool:
        """One order; False when there will be no more."""
        data, fds, _, _ = socket.recv_fds(self._control, SIZE_LIMIT, 1)
        if not data:
            return False
        match orders.decode(data):
            case Kill(pid):
                if pid in self._children:  # not reaped yet, so the number is still its own
                    os.kill(pid, signal.SIGKILL)
            case Fork() as order:
                try:
                    pid = self._fork(order, fds[0])
                except OSError as error:
                    self._tell(NotForked(order.number, str(error)))
                else:
                    self._children[pid] = order.name
                    self._tell(Forked(order.number, pid))
                finally:
                    os.close(fds[0])
        return True

    def _fork(self, order: Fork, fd: int) -> int:
        server = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = _BROKEN
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            _name(order.name)
            _die_with(server)
            self._control.close()
            os.close(self._wake)
            os.close(self._wake_in)
            resolve(order.target)(order.argument, socket.socket(fileno=fd))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError):
                    pass
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name, code = self._children.pop(pid), os.waitstatus_to_exitcode(status)
            if code < 0 and code != -signal.SIGKILL:
                print(f"{name} ({pid}) died of signal {-code}", file=sys.stderr, flush=True)
            self._tell(Ended(pid, code))
