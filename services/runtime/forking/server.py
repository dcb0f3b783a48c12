"""The fork server: loads what its owner names, forks a child per order, and reports their ends.

``connection`` starts it with a bare ``-c`` launcher, so that the owner's main module (pytest, the
command line) is never imported again. It has one thread, and refuses to serve with more.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from services.runtime.forking.child import (
    descriptors,
    die_with,
    list_fork_hazards,
    load_target,
    run_child,
    set_process_name,
    withhold_memory,
)
from services.runtime.forking.packets import (
    SIZE_LIMIT,
    ChildEnded,
    ChildForked,
    Fork,
    ForkServerFailed,
    Kill,
    NotForked,
    Ready,
    ServerPacket,
    encode,
    orders,
    receive_parcel,
)

CHILD_ALLOCATIONS = 10_000
"""Allocations between two collections of a child's garbage collector. Requests in flight hold more
objects than Python's default of 700, so that each collection found all of them alive: a fifteenth
of the work of a busy key server."""


def main(fd: int, owner: int, bound: bool, preload: Sequence[str]) -> None:
    """The server's whole life; ``fd`` is its end of the socket to ``owner``, a pid.

    ``bound``: the kernel ends it with the owner's main thread, even while it is stopped; otherwise
    the end of the socket does. ``preload`` names modules to import, or ``module:function`` to call.
    """
    withhold_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is for the owner
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # it must receive SIGCHLD
    set_process_name("keystead-fork")
    if bound:
        die_with(owner)

    def load() -> None:
        for entry in preload:
            _load(entry)

    serve(socket.socket(fileno=fd), load)


def serve(control: socket.socket, load: Callable[[], None]) -> None:
    """Load, then fork what the other end of ``control`` orders, until it closes.

    If ``load`` fails, or leaves something open that a fork would tear (``fork_hazards``), send
    ``ForkServerFailed``.
    """
    before = descriptors()
    try:
        load()
        found = list_fork_hazards(before)
        if found:
            raise RuntimeError(f"no safe fork after loading: {'; '.join(found)}")
    except BaseException:
        with suppress(OSError):  # the owner may have gone meanwhile
            control.send(encode(ForkServerFailed(traceback.format_exc()[-SIZE_LIMIT // 4 :])))
        return
    # The collector writes to each object that it visits, and a page that was written to is no
    # longer shared with the children.
    gc.collect()
    gc.freeze()
    gc.set_threshold(CHILD_ALLOCATIONS)
    _Server(control).serve()


def run_nested_server(target: bytes, control: socket.socket) -> None:
    """The life of a child that becomes a fork server itself, whose children share what it loads.

    ``target`` (``module:function``) is called with the bytes that arrive first on ``control``
    (``packets.parcel``), before it serves.
    """
    argument = receive_parcel(control)
    if argument is not None:
        serve(control, lambda: load_target(target.decode())(argument))


def _load(entry: str) -> None:
    if ":" in entry:
        load_target(entry)()
    else:
        importlib.import_module(entry)


def _log(text: str) -> None:
    """Write a line to standard error, which may be a closed pipe or a full disk."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


class _Server:
    """Forks and reaps children. It never waits for its owner to read: an order to kill must be
    executed at once."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, str] = {}
        self._unsent: deque[bytes] = deque()
        self._wake, self._wake_in = os.pipe()
        self._ready = select.poll()  # has no descriptor of its own that children would inherit

    def serve(self) -> None:
        """Serve until the owner's end of the socket closes."""
        for fd in (self._control.fileno(), self._wake, self._wake_in):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._ready.register(self._control, select.POLLIN)
        self._ready.register(self._wake, select.POLLIN)
        try:
            self._queue_packet(Ready())
            while True:
                for fd, happened in self._ready.poll():
                    if fd == self._wake:
                        os.read(self._wake, 4096)
                        self._reap()
                        continue
                    if happened & select.POLLOUT:
                        self._flush()
                    if happened & ~select.POLLOUT and not self._execute_order():
                        return
        except ConnectionError:
            return  # the owner ended while a packet was sent to it

    def _queue_packet(self, packet: ServerPacket) -> None:
        self._unsent.append(encode(packet))
        self._flush()

    def _flush(self) -> None:
        """Send what the socket takes; the rest when it has room again."""
        while self._unsent:
            try:
                self._control.send(self._unsent[0])
            except BlockingIOError:
                break
            self._unsent.popleft()
        more = select.POLLOUT if self._unsent else 0
        self._ready.modify(self._control, select.POLLIN | more)

    def _execute_order(self) -> bool:
        """Execute one order; False when there will be no more."""
        data, fds, _, _ = socket.recv_fds(self._control, SIZE_LIMIT, 1)
        if not data:
            return False
        match orders.decode(data):
            case Kill(pid):
                if pid in self._children:  # not reaped yet, so the kernel has not reused the pid
                    os.kill(pid, signal.SIGKILL)
            case Fork(number) if not fds:  # the kernel had to drop the child's socket
                self._queue_packet(NotForked(number, "the fork server has no descriptor left"))
            case Fork() as order:
                try:
                    pid = self._fork(order, fds[0])
                except OSError as error:
                    self._queue_packet(NotForked(order.number, str(error)))
                else:
                    self._children[pid] = order.name
                    self._queue_packet(ChildForked(order.number, pid))
                finally:
                    os.close(fds[0])
        return True

    def _fork(self, order: Fork, fd: int) -> int:
        server = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        run_child(order, fd, server, (self._control.detach(), self._wake, self._wake_in))

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name, code = self._children.pop(pid), os.waitstatus_to_exitcode(status)
            if code < 0 and code != -signal.SIGKILL:
                _log(f"{name} ({pid}) died of signal {-code}")
            self._queue_packet(ChildEnded(pid, code))
