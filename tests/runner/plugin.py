"""pytest's side: options, the loop over the tests, what is said before and after.

Without ``--workers`` pytest runs tests in its own process, one after another, as always.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.reached.site import tracing
from tests.runner import reach
from tests.runner.durations import CACHE_KEY, Durations, stored
from tests.runner.pool import Pool
from tests.runner.share import choose_share, read_commit
from tests.runner.units import UNKNOWN_S, Kind, forecast, module_of, shares_fixtures, units_of

WAITING_PER_CORE = 3
SLOWEST = 10
NO_MAP = (
    "there is no map of what each test uses in this checkout; `./keystead test --map` runs the"
    " tests and makes one, `./keystead test` runs all without"
)
_KNOWN = 0.5
"""The part of the tests that was measured before, below which no forecast is made."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("keystead")
    group.addoption(
        "--workers",
        metavar="N",
        default="0",
        help="share the tests out to N forked processes for those that compute, and 3 N for those"
        " that mostly wait for real processes; `auto`: N is the number of cores",
    )
    group.addoption(
        "--map",
        action="store_true",
        help="note which functions and files each test uses, for --changed; it takes longer",
    )
    group.addoption(
        "--changed",
        action="store_true",
        help="run tests that use what has changed since the map was made, and new ones",
    )
    group.addoption(
        "--share",
        type=float,
        metavar="SECONDS",
        help="of the tests marked slow, run as many as take together so long on one core, others"
        " for each commit",
    )
    group.addoption(
        "--name-flaky",
        action="store_true",
        help="name each test that passes as flaky: it has failed before, with the same code",
    )


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGTERM, _interrupted)
    config.pluginmanager.register(Runner(config), "keystead-runner")


def _interrupted(number: int, frame: object) -> None:
    """Fixtures end what they began, as at Ctrl-C."""
    raise KeyboardInterrupt(signal.Signals(number).name)


class Runner:
    """One run of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._cores = cores(config.getoption("--workers"))
        self._spent: dict[str, float] = defaultdict(float)
        self._collected: list[str] = []
        self._pool: Pool | None = None
        self._failed: set[str] = set()
        self._chosen: reach.Selection | None = None
        self._began = time.monotonic()
        self._cache: pytest.Cache | None = getattr(config, "cache", None)  # no:cacheprovider
        measured = self._cache.get(CACHE_KEY, {}) if self._cache is not None else {}
        self._durations = Durations(measured, stored())
        self._map = reach.new() if config.getoption("--map") else None
        if self._map is not None:
            tracing.begin()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        option = session.config.option
        self._collected = [item.nodeid for item in session.items]
        if not self._cores or option.collectonly or not session.items:
            return None
        if session.testsfailed and not option.continue_on_collection_errors:
            return None  # pytest says so
        workers = {Kind.WAIT: self._cores * WAITING_PER_CORE, Kind.COMPUTE: self._cores}
        units = units_of(session.items, self._durations.expected)
        self._say_forecast(forecast(units, workers))
        self._prepare(session)
        # Syrupy sees that tests ran, but which snapshots they used only their workers know.
        option.disable_unused_snapshots = True
        mapped = self._map
        self._pool = Pool(session, units, workers, mapped)
        self._pool.run()
        if mapped is not None and self._cache is not None:
            shared = {module_of(item.nodeid) for item in session.items if shares_fixtures(item)}
            mapped.finish(shared, self._failed)
            mapped.write(self._map_file(self._cache))
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        if self._map is None or not isinstance(collector, pytest.Module):
            return (yield)
        self._map.note_collection("", tracing.take())
        try:
            return (yield)
        finally:
            self._map.note_collection(module_of(collector.nodeid), tracing.take())

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        seconds = config.getoption("--share")
        if seconds is not None:
            slow = [item.nodeid for item in items if item.get_closest_marker("slow")]
            takes = self._durations.expected
            share = choose_share(
                slow, seconds, lambda test: takes(test) or UNKNOWN_S, read_commit()
            )
            left = set(slow) - share
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
            items[:] = [item for item in items if item.nodeid not in left]
        if not config.getoption("--changed"):
            return
        known = None if self._cache is None else reach.read(self._map_file(self._cache))
        if known is None:
            raise pytest.UsageError(NO_MAP)
        chosen = reach.selection(known)
        dropped = [item for item in items if not chosen.wants(item.nodeid)]
        items[:] = [item for item in items if chosen.wants(item.nodeid)]
        config.hook.pytest_deselected(items=dropped)
        self._chosen = chosen

    def _map_file(self, cache: pytest.Cache) -> Path:
        return cache.mkdir("keystead-reach") / reach.NAME

    def _prepare(self, session: pytest.Session) -> None:
        """What all workers share is there before the first of them."""
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        capture.stop_global_capturing()  # says what was captured, which a worker must not repeat
        capture.start_global_capturing()
        capture.suspend_global_capture()
        self._terminal().showfspath = False  # files come in no order

    def _terminal(self) -> Any:
        return self._config.pluginmanager.getplugin("terminalreporter")

    def _say_forecast(self, seconds: float) -> None:
        known = sum(self._durations.expected(test) is not None for test in self._collected)
        what = f"{len(self._collected)} tests on {self._cores} cores"
        if known < _KNOWN * len(self._collected):
            text = f"{what}; how long they take was not measured yet"
        else:
            text = f"{what}, about {spoken(seconds)}"
        self._terminal().write_line(f"keystead: {text}")

    def pytest_report_collectionfinish(self) -> list[str]:
        """What a run of changes is about."""
        chosen = self._chosen
        if chosen is None:
            return []
        if chosen.everything:
            return [f"keystead: all tests: {chosen.everything}"]
        files = len(chosen.change.paths)
        functions = len(chosen.change.functions)
        return [f"keystead: since the map was made, {functions} functions in {files} files changed"]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._spent[report.nodeid] += report.duration
        if report.failed:
            self._failed.add(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._pool is not None and self._pool.complaints:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self._cache is not None and self._spent:
            renewed = self._durations.renewed(self._spent, self._config.rootpath)
            self._cache.set(CACHE_KEY, renewed)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if excinfo.type is KeyboardInterrupt:
            said = str(excinfo.value) or "Ctrl-C"
            self._terminal().write_line(f"\nkeystead: interrupted by {said}", red=True)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        write = terminalreporter.write_line
        for complaint in self._pool.complaints if self._pool else ():
            write(f"keystead: {complaint}", red=True)
        for line in self._pool.leftovers if self._pool else ():
            write(f"keystead: a test left this process behind: {line}", yellow=True)
        if self._config.getoption("--name-flaky"):
            for test in sorted(self._spent.keys() - self._failed):
                write(f"keystead: flaky: {test}", yellow=True)
        if self._cores and self._spent:
            write(f"keystead: the {SLOWEST} slowest tests")
            slowest = sorted(self._spent.items(), key=lambda entry: -entry[1])[:SLOWEST]
            for test, seconds in slowest:
                write(f"{seconds:8.1f} s  {test}")


def cores(option: str) -> int:
    """How many workers compute; 0 for none."""
    if option == "auto":
        return len(os.sched_getaffinity(0))
    if not option.isdecimal():
        raise pytest.UsageError(f"--workers: a number or auto, not {option}")
    return int(option)


def spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
