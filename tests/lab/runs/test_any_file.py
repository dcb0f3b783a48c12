"""Whatever stands in a file, it is read or refused with an id; ``lint`` says all that ``run`` does.

``KEYSTEAD_FILES=100000`` reads that many instead of a few hundred; ``KEYSTEAD_SEED`` begins
elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.errors import EXPLANATIONS
from chaos.experiment.lint import BadExperiment, check_experiment
from chaos.yaml_file import read_yaml
from lab.local.experiment_files import lint, prepare_experiment
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import plan
from tests.lab.runs import files

COUNT = int(os.environ.get("KEYSTEAD_FILES", "300"))
FIRST = int(os.environ.get("KEYSTEAD_SEED", "1"))
IN_ONE_TEST = 100
HANGS_AFTER_S = 5.0  # real seconds

pytestmark = pytest.mark.timeout(60 + COUNT)
BATCHES = range(FIRST, FIRST + -(-COUNT // IN_ONE_TEST))


def _told(error: KeysteadError) -> None:
    assert error.id != "KS-INT-001" and error.exit_code in (4, 64)
    text = str(error) + error.fix
    assert "Traceback" not in text and "Internal" not in text
    assert text.replace("\n", "").replace("\t", "").isprintable()


def _in_time(began: float, text: str) -> None:
    """Looked at in long runs only: no test of the suite fails on a time."""
    taken = time.monotonic() - began
    assert taken < HANGS_AFTER_S or COUNT < 10_000, f"{taken:.1f} s for {text!r}"


@pytest.mark.slow
@pytest.mark.parametrize("batch", BATCHES)
def test_any_lab_file_is_a_lab_or_is_refused(batch: int, tmp_path: Path) -> None:
    draw = random.Random(batch)
    path = tmp_path / "lab.yaml"
    for number in range(IN_ONE_TEST):
        text = files.lab(draw)
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        began = time.monotonic()
        try:
            plan(load(path))
        except KeysteadError as error:
            _told(error)
        except Exception as error:
            raise AssertionError(f"batch {batch}, file {number}: {error!r} of {text!r}") from error
        _in_time(began, text)


@pytest.mark.slow
@pytest.mark.parametrize("batch", BATCHES)
def test_any_experiment_is_one_or_is_refused(batch: int, tmp_path: Path) -> None:
    draw = random.Random(batch)
    path = tmp_path / "x.yaml"
    for number in range(IN_ONE_TEST):
        text = files.experiment(draw)
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        began = time.monotonic()
        try:
            found = lint(str(path)).items
            assert all(item.replace("\n", "").isprintable() for item in found), found
            _prepared(path, bool(found))
        except Exception as error:
            raise AssertionError(f"batch {batch}, file {number}: {error!r} of {text!r}") from error
        _in_time(began, text)


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_a_lab_file_that_is_found_wrong_shrinks(draw: random.Random) -> None:
    """The same by Hypothesis, which makes a finding small."""
    text = files.lab(draw)
    file = read_yaml(text)
    assert file.data is not None or file.problems or text.strip() in ("null", "~", "")
    if isinstance(file.data, dict):
        with contextlib.suppress(KeysteadError):
            plan(load(file.data))


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_an_experiment_that_is_found_wrong_shrinks(draw: random.Random) -> None:
    """The same by Hypothesis; every problem has a place in the file, an id and a fix."""
    text = files.experiment(draw)
    try:
        check_experiment(text, "x.yaml")
    except BadExperiment as error:
        lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028")
        for problem in error.problems:
            assert problem.id in EXPLANATIONS and problem.text and problem.fix
            assert 1 <= problem.place.line <= lines + 2 and problem.place.column >= 1


def _prepared(path: Path, refused: bool) -> None:
    """``run`` refuses nothing that ``lint`` takes."""
    try:
        prepare_experiment(str(path), None, "model", "sim")
    except KeysteadError as error:
        _told(error)
        assert refused, f"run refuses it: {error}"
