"""Tests shared out to forked workers end as they do in one process, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.runner.suites import Ended, Suite

ENDINGS = """
    import os
    import warnings
    import pytest

    @pytest.fixture
    def broken():
        raise RuntimeError("no fixture")

    def test_good(): pass
    def test_bad(): assert 1 == 2, "said why"
    def test_skipped(): pytest.skip("not here")
    def test_broken(broken): pass
    @pytest.mark.xfail
    def test_expected(): assert False
    def test_captured():
        print("told on stdout")
        os.write(2, b"told on stderr")
        assert False
    def test_warns(): warnings.warn("odd thing")
    @pytest.mark.parametrize("number", range(9))
    def test_many(number): pass
"""


def totals(ended: Ended) -> str:
    """``4 failed, 22 passed``: the last line without its ornament and the seconds."""
    return ended.out.splitlines()[-1].strip("= ").split(" in ")[0]


@pytest.mark.slow
def test_endings_are_those_of_one_process(tmp_path: Path) -> None:
    suite = Suite(tmp_path, test_a=ENDINGS, test_b=ENDINGS)
    alone, shared = suite.run(), suite.run("--workers", "2")
    assert alone.code == shared.code == 1
    for outcome in ("PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL"):
        assert shared.named(outcome) == alone.named(outcome), shared.out
    for text in ("said why", "told on stdout", "told on stderr", "no fixture", "odd thing"):
        assert text in shared.out and text in alone.out
    assert totals(alone) == totals(shared)


@pytest.mark.slow
def test_tests_run_in_several_processes_and_those_of_a_shared_fixture_in_one(
    tmp_path: Path,
) -> None:
    shared = """
        import os, time, pathlib, pytest

        @pytest.fixture(scope="module")
        def place():
            return os.getpid()

        @pytest.mark.parametrize("n", range(6))
        def test_same(place, n):
            time.sleep(0.02)
            assert place == os.getpid()
    """
    spread = """
        import os, time, pathlib, pytest

        @pytest.mark.parametrize("n", range(200))
        def test_some(n):
            pathlib.Path(f"process-{os.getpid()}").touch()
            time.sleep(0.005)
    """
    ended = Suite(tmp_path, test_one=shared, test_two=spread).run("--workers", "2")
    assert ended.code == 0, ended.out
    assert len([*tmp_path.glob("process-*")]) == 2, ended.out


@pytest.mark.slow
def test_tests_of_one_worker_run_in_it_one_after_another(tmp_path: Path) -> None:
    source = """
        import os, time, pathlib, pytest

        pytestmark = pytest.mark.one_worker("engine")

        @pytest.mark.parametrize("n", range(3))
        def test_some(n):
            with open("lock", "x"):
                pathlib.Path(f"process-{os.getpid()}").touch()
                time.sleep(0.05)
            os.remove("lock")
    """
    ended = Suite(tmp_path, test_one=source, test_two=source).run("--workers", "3")
    assert ended.code == 0, ended.out
    assert len([*tmp_path.glob("process-*")]) == 1, ended.out


@pytest.mark.slow
def test_a_fixture_of_the_session_is_made_once_a_worker_and_ended(tmp_path: Path) -> None:
    suite = Suite(
        tmp_path,
        conftest="""
            import os, pathlib, pytest

            @pytest.fixture(scope="session", autouse=True)
            def place():
                pathlib.Path(f"began-{os.getpid()}").touch(exist_ok=False)
                yield
                pathlib.Path(f"ended-{os.getpid()}").touch(exist_ok=False)
        """,
        test_a=ENDINGS,
        test_b=ENDINGS,
    )
    suite.run("--workers", "2")
    began = {path.name[6:] for path in tmp_path.glob("began-*")}
    assert began == {path.name[6:] for path in tmp_path.glob("ended-*")} and len(began) == 2


@pytest.mark.slow
def test_a_worker_that_dies_fails_its_test_alone(tmp_path: Path) -> None:
    suite = Suite(
        tmp_path,
        test_a="""
            import os, pytest

            @pytest.mark.parametrize("n", range(9))
            def test_some(n):
                if n == 4:
                    os.kill(os.getpid(), 9)
        """,
    )
    ended = suite.run("--workers", "1")
    assert ended.code == 1
    assert ended.named("FAILED") == {"test_some[4]"} and len(ended.named("PASSED")) == 8
    assert "its process ended with -9" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("when", ["setup", "teardown"])
def test_a_session_fixture_that_breaks_is_told(tmp_path: Path, when: str) -> None:
    body = {
        "setup": "raise RuntimeError('broke here')",
        "teardown": "yield\n    raise RuntimeError('broke here')",
    }[when]
    conftest = (
        f"import pytest\n@pytest.fixture(scope='session', autouse=True)\ndef place():\n    {body}\n"
    )
    suite = Suite(tmp_path, test_a="def test_good(): pass")
    (tmp_path / "conftest.py").write_text(conftest)
    ended = suite.run("--workers", "1")
    assert ended.code == 1 and "broke here" in ended.out


@pytest.mark.slow
def test_the_first_failure_stops_the_run_when_that_is_wanted(tmp_path: Path) -> None:
    many = """
        import time, pytest

        def test_bad(): assert False
        @pytest.mark.parametrize("n", range(400))
        def test_some(n): time.sleep(0.05)
    """
    ended = Suite(tmp_path, test_a=many).run("--workers", "1", "-x")
    assert ended.code == 1 and "stopping after 1 failures" in ended.out
    assert len(ended.named("PASSED")) < 50


LEAVES = """
    import os, pathlib, subprocess, sys, time, pytest

    def daemon():
        # As a lab's supervisor: of a session of its own, and nobody's child.
        program = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', " \\
            "'import time; time.sleep(300) # left behind'], start_new_session=True)"
        subprocess.run([sys.executable, "-c", program], check=True)

    @pytest.fixture
    def place():
        yield
        pathlib.Path("finalised").touch()
"""


def left_behind(folder: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter()
        if process.is_running()
        and "left behind" in " ".join(process.cmdline() if process.status() != "zombie" else [])
        and process.cwd() == str(folder)
    ]


@pytest.mark.slow
def test_what_a_test_leaves_behind_is_ended_and_named(tmp_path: Path) -> None:
    ended = Suite(tmp_path, test_a=LEAVES + "\n    def test_it(): daemon()\n").run("--workers", "1")
    assert ended.code == 0, ended.out
    assert "left behind" in ended.line("a test left this process behind")
    assert left_behind(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_signal_ends_the_run_its_fixtures_and_what_tests_began(
    tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    test = """
    @pytest.mark.lab
    def test_it(place):
        %s
        pathlib.Path("begun").touch()
        time.sleep(60)
    """
    daemon = "" if workers == "0" else "daemon()"  # that of one process is for its fixtures to end
    process = Suite(tmp_path, test_a=LEAVES + test % daemon).begin("--workers", workers)
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    assert (tmp_path / "finalised").exists(), out
    assert left_behind(tmp_path) == []


def test_workers_end_with_the_process_that_hands_out_tests(tmp_path: Path) -> None:
    test = """
    def test_it(place):
        pathlib.Path("begun").write_text(str(os.getpid()))
        time.sleep(60)
    """
    process = Suite(tmp_path, test_a=LEAVES + test).begin("--workers", "1")
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.1)
    worker = psutil.Process(int((tmp_path / "begun").read_text()))
    with process:
        process.kill()
        worker.wait(timeout=30)
    assert (tmp_path / "finalised").exists()
