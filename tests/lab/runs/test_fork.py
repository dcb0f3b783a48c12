"""A fork of a run is the same run up to its moment, and another one from there on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chaos.experiment.plan import Plan
from lab.cli.main import run
from lab.local.stored.reports import describe_fork, page_of
from lab.play import play
from lab.play.play import fork
from lab.play.prepare import Prepared, begin, prepare
from lab.runs.store import RunFolder, history_of
from lab.schema.errors import KeysteadError

pytestmark = pytest.mark.sim

SHORT = """
apiVersion: keystead/v1
kind: Experiment
name: short
title: A cut that nobody minds, under some work
topology: {use: default, with: {hosts: 2, vms: 2}}
workload: [{op: guest.challenge, rate: 1/s}, {op: vm.off_on, rate: 0.1/s, until: 30s}]
hypothesis:
  before: [{probe: vm.running, is: "== 100%"}]
  during: [{probe: vm.works, is: ">= 0%", every: 7s}]
  recover: {within: 90s}
  after: [{probe: vm.running, is: "== 100%"}]
schedule: [{id: wan, at: 5s, for: 40s, fault: link.cut, between: [vcenter, kms]}]
guards: {blast_radius: {kms: 1, vcenter: 1}, max_duration: 2m}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "state"))


def stored(folder: Path, order: str = "", seed: int = 5) -> RunFolder:
    """A run of the short experiment, in this order of steps."""
    file = folder / "short.yaml"
    file.write_text(f"{SHORT}order: {order}\n" if order else SHORT)
    prepared = prepare(str(file), seed, {"tpm": "model"})
    made = begin(prepared, "sim")
    play.play_sim(prepared, made)
    return made


@pytest.mark.parametrize(
    "order", ["random", *(pytest.param(one, marks=pytest.mark.slow) for one in ("fifo", "few"))]
)
def test_a_fork_is_the_same_up_to_its_moment(tmp_path: Path, order: str) -> None:
    old = stored(tmp_path, order)
    new, verdict = fork(old.run, 20.5, "host.power_loss", {"on": "esxi-001"}, lasts_s=5.0)
    before, after = history_of(old), history_of(new)
    begun = next(record for record in after if record.data.get("id") == "fork-1")
    assert begun.op == "inject" and 20.5 <= begun.t < 20.51
    count = begun.seq - 1
    assert count > 40 and before[:count] == after[:count]
    assert before[count:] != after[count:]
    assert new.record().fork_of == old.run and new.record().fork_at == 20.5
    same, again = play.replay(new.run)
    assert again.trace_hash == verdict.trace_hash and same.record().fork_of == old.run


def test_what_differs_is_told_in_words_and_drawn_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = stored(tmp_path)
    words = ["chaos", "fork", old.run, "host.power-loss", "on=esxi-001", "--at", "20s"]
    assert run([*words, "--for", "10s", "-o", "name", "-q"]) == 0
    made = capsys.readouterr().out.strip()
    verdict = RunFolder(made).verdict()
    assert verdict is not None
    told = describe_fork(made, verdict)
    assert (told.of, told.at, told.exit_code) == (old.run, 20.0, 0)
    first, second, *rest = told.differences
    assert first.endswith("Then the second has: power loss of esxi-001 for 10 s.")
    assert second == "Both runs end with the verdict pass."
    assert any("down" in text and "in the second run" in text for text in rest), rest
    assert any(text.startswith("esxi-001: off from 2") for text in rest), rest
    page = page_of(old.run, made).decode()
    assert "What differs, in words" in page and first in page
    assert run(["chaos", "fork", made, "proc.pause", "on=esxi-002", "--at", "35s"]) == 0
    said = capsys.readouterr().out
    assert "Until 35 s both runs are the same." in said


@pytest.mark.parametrize(
    ("at", "kind", "values", "lasts_s", "id"),
    [
        (500.0, "host.power_loss", {"on": "esxi-001"}, None, "KS-USE-003"),
        (20.0, "host.power_loss", {"on": "esxi-009"}, None, "KS-USE-002"),
        (20.0, "no.fault", {}, None, "KS-USE-002"),
        (20.0, "host.power_loss", {"on": "esxi-001"}, 600.0, "KS-CHAOS-013"),
        (20.0, "point.crash", {}, None, "KS-CHAOS-021"),
    ],
)
def test_what_cannot_be_forked_is_refused(
    tmp_path: Path, at: float, kind: str, values: dict[str, str], lasts_s: float | None, id: str
) -> None:
    old = stored(tmp_path)
    with pytest.raises(KeysteadError) as caught:
        fork(old.run, at, kind, values, lasts_s=lasts_s)
    assert caught.value.id.startswith(id)
    assert not (old.path.parent / f"{old.run}-2").exists()


def test_two_faults_that_undo_each_other_are_refused(tmp_path: Path) -> None:
    old = stored(tmp_path)
    new, _ = fork(old.run, 20.0, "host.power_loss", {"on": "esxi-001"}, lasts_s=10.0)
    with pytest.raises(KeysteadError, match="hold the power of esxi-001") as caught:
        fork(new.run, 25.0, "host.power_loss", {"on": "esxi-001"})
    assert caught.value.id == "KS-CHAOS-020"


def test_a_fork_that_is_not_the_same_before_its_moment_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stored(tmp_path)
    played = play.play_sim

    def play_another(prepared: Prepared, folder: RunFolder, *_: object) -> object:
        arrivals = prepared.plan.arrivals[1:]
        plan: Plan = msgspec.structs.replace(prepared.plan, arrivals=arrivals)
        return played(msgspec.structs.replace(prepared, plan=plan), folder)

    monkeypatch.setattr("lab.play.play.play_sim", play_another)
    with pytest.raises(KeysteadError, match="its fork differs from it at record") as caught:
        fork(old.run, 20.0, "host.power_loss", {"on": "esxi-001"}, lasts_s=5.0)
    assert caught.value.id == "KS-RUN-003"
