"""Every transcript is played, and compared as a whole with what it says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.data import SnapshotCollections
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation

from lab.cli.program import build
from tests.transcripts.players import Stage
from tests.transcripts.script import transcripts


class Transcript(SingleFileSnapshotExtension):
    """The file of a transcript is its own snapshot: renewing it keeps the lines that were written
    and changes the others."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"

    @classmethod
    def get_location(cls, *, test_location: PyTestLocation, index: object) -> str:
        return str(transcripts()[_name_in(test_location)])

    @classmethod
    def matches_test_location(
        cls, *, test_location: PyTestLocation, snapshot_location: str
    ) -> bool:
        return Path(snapshot_location).stem == _name_in(test_location)

    def discover_snapshots(self, **_: object) -> SnapshotCollections:
        return SnapshotCollections()  # none is ever unused: each file is a test


def _name_in(location: PyTestLocation) -> str:
    return str(location.item.callspec.params["name"])  # type: ignore[attr-defined]


built = cache(build)  # it is the same for every line


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    made = Stage(home, here)
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(home))
    for name in (
        "KEYSTEAD_NAME",
        "KEYSTEAD_OUTPUT",
        "KEYSTEAD_USER",
        "KEYSTEAD_VCENTER",
        "KEYSTEAD_COMMAND",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(here)
    monkeypatch.setattr("lab.local.remote.Remote", made.way)
    for module in ("running.journal", "results", "running.waiting"):
        monkeypatch.setattr(f"lab.cli.{module}.LOOK_EVERY_S", 0.0)
    for module in ("experiments.chaos", "progress"):
        monkeypatch.setattr(f"lab.cli.{module}.LINE_EVERY_S", inf)
    monkeypatch.setattr("lab.cli.running.waiting.time", SimpleNamespace(monotonic=made.lab_time))
    monkeypatch.setattr("lab.cli.results.time", SimpleNamespace(strftime=lambda form: "12:00:00"))
    monkeypatch.setattr("lab.cli.program.build", built)
    yield made
    made.close()


@pytest.mark.sim
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", transcripts())
def test_what_commands_say(name: str, stage: Stage, snapshot: SnapshotAssertion) -> None:
    assert stage.played(transcripts()[name].read_text()) == snapshot(extension_class=Transcript)
