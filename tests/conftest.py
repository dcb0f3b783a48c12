"""Tests have a state folder of their own: a lab of the person who runs them is never seen.

They note what they reach (``tests.reached``), and those of the corpus come first. The garbage
collector has nothing to do with what is there for the whole run: it would look at fourteen
thousand tests again and again.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from services.runtime.forking.child import TRACEABLE
from tests.corpus.ordering import first_those_of
from tests.reached import plugin
from tests.services.kms.memory import closing_databases

# A machine that others use too is slow at times: no test fails on a time.
settings.register_profile(
    "any-machine",
    deadline=None,
    max_examples=40,  # of a property that names no number itself
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any-machine")

pytest_plugins = ("tests.runner.plugin",)

ALLOCATIONS = 20_000
"""Between two looks of the garbage collector; what a simulated lab holds is alive until its end."""

_WARM = ("tests/e2e/", "tests/lab/", "tests/conformance/", "tests/docs/", "tests/scan/")
"""Tests that do not look at how a fork server is started, or at what it costs."""

_UNREACHED = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For tests that do not choose one; environments of processes begin with it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path_factory.mktemp("state-home")))
        patch.setenv(TRACEABLE, "1")  # tests look into processes that they start
        yield


@pytest.fixture(autouse=True)
def _databases_end_with_their_test() -> Iterator[None]:
    with closing_databases():
        yield


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        gc.disable()  # until everything is collected, which who only hands tests out does not do
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background of a script
        signal.signal(signal.SIGINT, signal.default_int_handler)
    plugin.begin(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has broken once is asked for first; xdist hands tests out in this order too."""
    items[:] = first_those_of("tests/corpus/", items, lambda item: item.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 20, 20)
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Workers share the process from which commands are forked: it is there before them."""
    option = session.config.option
    if option.workers == "0" or option.collectonly or option.map:
        return  # each worker has its own when it notes what its tests use
    if any(item.get_closest_marker("lab") is not None for item in session.items):
        from tests.lab.cli import warm

        warm.process()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fork servers of these tests come from that process, where it is there."""
    if "tests.lab.cli.warm" not in sys.modules:
        return
    from tests.lab.cli import warm, warm_servers

    there = warm.running()
    if there is not None and item.nodeid.startswith(_WARM):
        warm_servers.use(there.address)
    else:
        warm_servers.use_none()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    complaints = session.config.stash[_UNREACHED] = plugin.end(session)
    if complaints:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    complaints = terminalreporter.config.stash.get(_UNREACHED, [])
    if complaints:
        terminalreporter.section("not reached", red=True)
        for line in complaints:
            terminalreporter.line(line)
