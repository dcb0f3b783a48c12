"""What is read of a file that somebody names: a regular one, never more than the limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos.experiment.lint import BadExperiment, read_experiment
from chaos.yaml_file import SIZE_LIMIT, text_of
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.yaml")
    return tmp_path / "pipe.yaml"


def test_a_file_of_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"#" * SIZE_LIMIT)
    assert len(text_of(path)) == SIZE_LIMIT
    path.write_bytes(b"#" * (SIZE_LIMIT + 1))
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        text_of(path)


@pytest.mark.timeout(20)
def test_what_never_ends_is_not_read(pipe: Path) -> None:
    """A named pipe without a writer would be waited for, a device would fill the memory."""
    for path in (pipe, Path("/dev/zero"), pipe.parent):
        with pytest.raises((ValueError, OSError)):
            text_of(path)
        with pytest.raises(KeysteadError) as caught:
            load(path)
        assert caught.value.id == "KS-TOPO-001"
        with pytest.raises(BadExperiment) as bad:
            read_experiment(path)
        assert bad.value.id == "KS-CHAOS-009"


def test_a_sparse_giant_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "giant.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(KeysteadError, match="larger than 1 MiB"):
        load(path)
