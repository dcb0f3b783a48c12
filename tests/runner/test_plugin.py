"""What a run says: how long it will take, what was slow, what is flaky."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.suites import Suite

SLEEPS = """
    import time, pytest

    @pytest.mark.parametrize("n", range(12))
    def test_some(n): time.sleep(0.4 if n == 7 else 0.01)
"""


@pytest.mark.slow
def test_a_run_says_what_it_took_the_last_time_and_names_the_ten_slowest(tmp_path: Path) -> None:
    suite = Suite(tmp_path, test_a=SLEEPS)
    assert "12 tests on 1 cores; how long they take was not measured yet" in (
        suite.run("--workers", "1").out
    )
    again = suite.run("--workers", "1")
    assert again.line("keystead: 12 tests").endswith(", about 1 s")
    lines = again.out.splitlines()
    first = lines.index("keystead: the 10 slowest tests") + 1
    slowest = [line.split(" s  ") for line in lines[first : first + 10]]
    assert slowest[0][1] == "test_a.py::test_some[7]" and float(slowest[0][0]) >= 0.4
    assert [float(seconds) for seconds, _ in slowest] == sorted(
        (float(seconds) for seconds, _ in slowest), reverse=True
    )
    assert len({test for _, test in slowest}) == 10


@pytest.mark.slow
def test_what_failed_before_and_passes_now_is_named_as_flaky(tmp_path: Path) -> None:
    suite = Suite(
        tmp_path,
        test_a="""
            import pathlib

            def test_good(): pass
            def test_bad(): assert False
            def test_odd():
                there = pathlib.Path("there").exists()
                pathlib.Path("there").touch()
                assert there
        """,
    )
    assert suite.run("--workers", "1").named("FAILED") == {"test_bad", "test_odd"}
    again = suite.run("--lf", "--lfnf=none", "--name-flaky")
    assert again.named("FAILED") == {"test_bad"} and again.code == 1
    assert again.line("flaky") == "keystead: flaky: test_a.py::test_odd"


def test_stored_snapshots_that_workers_used_fail_no_run(tmp_path: Path) -> None:
    suite = Suite(tmp_path, test_it="def test_it(snapshot): assert [1] == snapshot")
    assert suite.run("--snapshot-update").code == 0
    ended = suite.run("--workers", "2")
    assert (ended.code, ended.named("PASSED")) == (0, {"test_it"}), ended.out
