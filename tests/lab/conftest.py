"""The command line program: with a state folder of its own, or in this process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lab.cli.program import build
from tests.lab.cli.conftest import Cli


@pytest.fixture(scope="session", autouse=True)
def _one_program() -> Iterator[None]:
    """Made once in each worker: it is the same for every line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.cli.program.build", cache(build))
        yield


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "state")
    yield made
    made.end()
