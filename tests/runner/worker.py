"""A process forked after collection: it runs the tests that it is handed, and reports each.

It says what pytest's hooks say, as pairs of a word and its argument:

``start`` place of a test, and where it is defined · ``reports`` those of a test that has ended
``warning`` text and place ·
``used`` place of a test, and what it used, in a run that maps that
``idle`` all that was handed out is done · ``end`` what it leaves for the summary
``broken`` why it cannot go on
"""

from __future__ import annotations

import atexit
import os
import signal
import traceback
from collections.abc import Generator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.reached.site import tracing
from tests.runner.leftovers import end_with_parent

COMPUTE_NICE = 5
"""Added for workers whose tests compute; those that wait for real processes go first."""


class _Between:
    """Stands for the test after the last one of a unit: what lives for the session stays."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[Any]:
        return [self._session]


class _Telling:
    """Sends what pytest reports to the process that handed out the tests."""

    def __init__(self, config: pytest.Config, line: Connection) -> None:
        self._config, self._line = config, line
        self._reports: list[Any] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._reports.append(data)
        if report.when == "teardown":
            self._line.send(("reports", self._reports))
            self._reports = []

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        told = warning_message
        text = (str(told.message), told.category.__name__, told.filename, told.lineno)
        self._line.send(("warning", (text, when, nodeid, location)))


class _Tracing:
    """What this worker and the processes that it starts use; they write into ``log``."""

    def __init__(self, log: Path) -> None:
        log.touch()
        os.environ[tracing.LOG] = str(log)
        self._log = log.open()
        self._taken: set[str] = set()
        tracing.begin()

    def take(self) -> set[str]:
        """What was used since the last time."""
        self._collect()
        taken, self._taken = self._taken, set()
        return taken

    def _collect(self, prefix: str = "") -> None:
        used = tracing.take() | set(self._log.read().splitlines())
        self._taken |= {key if key.startswith(tracing.BY) else prefix + key for key in used}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """What lives as long as the session is made for the first test that asks, and for all."""
        if fixturedef.scope != "session":
            return (yield)
        self._collect()
        try:
            return (yield)
        finally:
            self._collect(tracing.ALWAYS)


def live(
    session: pytest.Session, line: Connection, number: int, *, nice: int, traced: bool
) -> NoReturn:
    """Be a worker until the other end says so or is gone; never returns to the forked stack."""
    code = 1
    try:
        _settle(session, number, nice)
        session.config.pluginmanager.register(_Telling(session.config, line))
        factory: Any = session.config._tmp_path_factory  # type: ignore[attr-defined]
        used = _Tracing(factory.getbasetemp() / "used") if traced else None
        if used is not None:
            session.config.pluginmanager.register(used)
        try:
            _serve(session, line, used)
        except (EOFError, BrokenPipeError):
            pass  # who hands out tests has ended
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        finally:
            session._setupstate.teardown_exact(None)
        _tell_end(session, line)
        code = 0
    except BaseException:
        with suppress(OSError):
            line.send(("broken", traceback.format_exc()))
    finally:
        atexit._run_exitfuncs()
        os._exit(code)


def _settle(session: pytest.Session, number: int, nice: int) -> None:
    """Take on what a process of its own has, and shared with none of its siblings."""
    os.setpgid(0, 0)  # Ctrl-C at a terminal is for the parent, which tells us
    end_with_parent(signal.SIGINT)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.nice(nice)
    atexit._clear()
    config = session.config
    name = f"w{number}"
    os.environ["PYTEST_XDIST_WORKER"] = name  # plugins know a worker by it
    config.workeroutput = {}  # type: ignore[attr-defined]
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.getbasetemp() / name
    factory._basetemp.mkdir()
    _be_silent(config)


def _be_silent(config: Any) -> None:
    """Write nothing to the terminal, and capture what tests say in files of our own."""
    silent = os.open(os.devnull, os.O_WRONLY)
    config.get_terminal_writer()._file = os.fdopen(silent, "w")
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture._method == "no":
        return
    capture.stop_global_capturing()
    for stream in (1, 2):
        os.dup2(silent, stream)
    capture.start_global_capturing()
    capture.suspend_global_capture()


def _serve(session: pytest.Session, line: Connection, used: _Tracing | None) -> None:
    between: Any = _Between(session)
    while (order := line.recv()) is not None:
        items = [session.items[place] for place in order]
        for place, item, after in zip(order, items, [*items[1:], between], strict=True):
            line.send(("start", (place, item.location)))
            item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
            if used is not None:
                line.send(("used", (place, used.take())))
            if session.shouldstop or session.shouldfail:
                break
        line.send(("idle", None))


def _tell_end(session: pytest.Session, line: Connection) -> None:
    config: Any = session.config
    snapshots = getattr(config, "_syrupy", None)
    if snapshots is not None:
        snapshots.finish()
    line.send(("end", dict(config.workeroutput)))
