"""The wall around the simulation: every attempt to leave it is refused and recorded.

There are two nets. The loop's own ways to threads, sockets, signals and processes raise. An audit
hook of the interpreter catches what bypasses the loop while it runs; before Python 3.13 it does not
see threads and sleeps, so these two functions are replaced meanwhile. A service may swallow the
exception; the record remains, and the run is void (exit 5).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_EVENTS = frozenset(
    {
        "_thread.start_new_thread",
        "_thread.start_joinable_thread",
        "os.exec",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "signal.pthread_kill",
        "socket.__new__",
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "sqlite3.connect",
        "subprocess.Popen",
        "time.sleep",
    }
)


_log = logging.getLogger("asyncio")

ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class EscapeRefused(RuntimeError):
    """Code inside the simulation tried to reach the real world. The run is void."""


class _Net:
    """The state of the audit hook. A hook cannot be removed, so it is idle between runs."""

    def __init__(self) -> None:
        self.installed = False
        self.thread = 0
        self.sink: list[str] | None = None

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.sink is None or event not in _EVENTS or threading.get_ident() != self.thread:
            return
        if event == "sqlite3.connect" and args and _in_memory(str(args[0])):
            return
        self.refuse(f"{event} {args[0]!r}" if event == "sqlite3.connect" and args else event)

    def refuse(self, what: str) -> None:
        """Only for the thread in which the loop runs; other threads are not checked."""
        if self.sink is not None and threading.get_ident() == self.thread:
            self.sink.append(what)
            raise EscapeRefused(f"{what}: refused inside the simulation")


def _in_memory(database: str) -> bool:
    return database in (":memory:", "") or "mode=memory" in database


_net = _Net()


@contextmanager
def guard_thread(sink: list[str]) -> Iterator[None]:
    """While inside, refuse what this thread does past the loop, and note it in ``sink``."""
    if not _net.installed:
        sys.addaudithook(_net)
        _net.installed = True
    before = (_net.sink, _net.thread, threading.Thread.start, time.sleep)
    _net.sink, _net.thread = sink, threading.get_ident()
    threading.Thread.start = _build_guard("threading.Thread.start", before[2])  # type: ignore[method-assign]
    time.sleep = _build_guard("time.sleep", before[3])
    try:
        yield
    finally:
        _net.sink, _net.thread, threading.Thread.start, time.sleep = before  # type: ignore[method-assign]


def _build_guard(name: str, original: Callable[..., None]) -> Callable[..., None]:
    def guard(*args: Any, **kwargs: Any) -> None:
        _net.refuse(name)
        original(*args, **kwargs)

    return guard


def _build_refusal(name: str) -> Any:
    def refuse(self: WalledLoop, *args: Any, **kwargs: Any) -> NoReturn:
        self.refuse(f"loop.{name}")

    refuse.__name__ = name
    return refuse


class WalledLoop(asyncio.AbstractEventLoop):
    """An event loop without access to the real world, and the formalities that asyncio expects of a
    loop.

    ``escapes`` lists every attempt to leave, ``unhandled`` every exception that no code handled.
    """

    def __init__(self) -> None:
        self.escapes: list[str] = []
        self.unhandled: list[str] = []
        self._handler: ExceptionHandler | None = None

    def refuse(self, what: str) -> NoReturn:
        """Note the attempt and raise ``EscapeRefused``."""
        self.escapes.append(what)
        raise EscapeRefused(f"{what}: refused inside the simulation")

    call_soon_threadsafe: Any = _build_refusal("call_soon_threadsafe")
    run_in_executor: Any = _build_refusal("run_in_executor")
    set_default_executor: Any = _build_refusal("set_default_executor")
    getaddrinfo: Any = _build_refusal("getaddrinfo")
    getnameinfo: Any = _build_refusal("getnameinfo")
    create_connection: Any = _build_refusal("create_connection")
    create_server: Any = _build_refusal("create_server")
    create_unix_connection: Any = _build_refusal("create_unix_connection")
    create_unix_server: Any = _build_refusal("create_unix_server")
    create_datagram_endpoint: Any = _build_refusal("create_datagram_endpoint")
    connect_accepted_socket: Any = _build_refusal("connect_accepted_socket")
    start_tls: Any = _build_refusal("start_tls")
    sendfile: Any = _build_refusal("sendfile")
    connect_read_pipe: Any = _build_refusal("connect_read_pipe")
    connect_write_pipe: Any = _build_refusal("connect_write_pipe")
    subprocess_shell: Any = _build_refusal("subprocess_shell")
    subprocess_exec: Any = _build_refusal("subprocess_exec")
    add_reader: Any = _build_refusal("add_reader")
    remove_reader: Any = _build_refusal("remove_reader")
    add_writer: Any = _build_refusal("add_writer")
    remove_writer: Any = _build_refusal("remove_writer")
    sock_recv: Any = _build_refusal("sock_recv")
    sock_recv_into: Any = _build_refusal("sock_recv_into")
    sock_recvfrom: Any = _build_refusal("sock_recvfrom")
    sock_recvfrom_into: Any = _build_refusal("sock_recvfrom_into")
    sock_sendall: Any = _build_refusal("sock_sendall")
    sock_sendto: Any = _build_refusal("sock_sendto")
    sock_connect: Any = _build_refusal("sock_connect")
    sock_accept: Any = _build_refusal("sock_accept")
    sock_sendfile: Any = _build_refusal("sock_sendfile")
    add_signal_handler: Any = _build_refusal("add_signal_handler")
    remove_signal_handler: Any = _build_refusal("remove_signal_handler")

    # ---- formalities ------------------------------------------------------------------------

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note the exception in ``unhandled``; then call the handler that was set, or log a
        line."""
        error = context.get("exception")
        self.unhandled.append(f"{context.get('message')}: {error!r}")
        if self._handler is not None:
            self._handler(self, context)
        else:
            self.default_exception_handler(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        _log.error("%s", context.get("message"), exc_info=context.get("exception"))

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        self._handler = handler

    def get_exception_handler(self) -> ExceptionHandler | None:
        return self._handler

    get_debug: Any = staticmethod(bool)
    """False. It is a C function, because every future calls it."""

    def set_debug(self, enabled: bool) -> None:
        """Nothing: debug mode measures the machine's time."""

    def set_task_factory(self, factory: Any) -> None:
        if factory is not None:
            raise RuntimeError("the simulation makes its own tasks")

    def get_task_factory(self) -> None:
        return None

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: generators are closed when they are dropped."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing: there is no executor."""
