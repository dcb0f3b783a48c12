"""Each judge accepts sound code, finds a planted bug, and leaves one alone that it cannot see."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.simulation.workers import simulations
from services.runtime.sim.runner import default_server
from tests.breakage.bugs import Bug, bugs_of
from tests.breakage.early import FILE
from tests.breakage.plays import JUDGES
from tests.breakage.product import Sweep


class Change(NamedTuple):
    """Names a bug; listing the bugs of a file takes seconds, which only its test shall spend."""

    path: str
    before: str
    after: str

    def find(self) -> Bug:
        [found] = [
            one
            for one in bugs_of(self.path)
            if (one.before, one.after) == (self.before, self.after)
        ]
        return found


TAG = Change(
    "services/kms/objects/algorithms.py",
    "raise InvalidField(f'a tag of {tag} bytes; the parameters say {parameters.tag_length}')",
    "nothing",
)
DEEP = Change(
    "services/vcenter/tasks/reconfigure.py", "deep and row.power is not PowerState.OFF", "deep"
)
STATE = Change(
    "services/kms/objects/key_row.py",
    "return (state, since)",
    "return ()",
)


def seen(
    judge: str, play: str, bugs: Sequence[Bug], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    default_server.cache_clear()  # one of another test has the bugs of that test
    simulations.cache_clear()
    file = folder / "bugs.json"
    file.write_text(json.dumps([dataclasses.asdict(one) for one in bugs]))
    monkeypatch.setenv(FILE, str(file))
    monkeypatch.setitem(JUDGES, judge, JUDGES[judge]._replace(plays=lambda: [play]))
    sweep = Sweep(bugs, float("inf"), lambda text: None, file.with_suffix(".reached"))
    sweep.plays(judge)
    return [sight.judge for sight in sweep.sights]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("judge", "play", "sees", "does_not"),
    [
        ("cases", "encrypt-gcm.xml", TAG, DEEP),
        ("replay", "9.0", STATE, TAG),
        ("conformance", "A18", DEEP, TAG),
        ("experiments", "sc-12-key-destroyed", STATE, TAG),
    ],
)
def test_a_judge_sees_one_bug_and_not_the_other(
    judge: str,
    play: str,
    sees: Change,
    does_not: Change,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert seen(judge, play, (sees.find(), does_not.find()), tmp_path, monkeypatch) == [judge, ""]


def test_every_judge_has_plays() -> None:
    assert {name for name, judge in JUDGES.items() if judge.plays()} == set(JUDGES)
