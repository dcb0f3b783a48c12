"""A stored history is judged again, and what it shows of a violation can be looked at."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaos.history import History, Record, verify
from lab.cli.experiments.stored_runs import check as check_command
from lab.cli.experiments.stored_runs import describe_run
from lab.cli.invocation import Format
from lab.cli.options import Options
from lab.cli.program import build
from lab.local.experiment_files import prepare_experiment
from lab.local.stored.runs import check, describe, reproduce
from lab.play import play
from lab.play.prepare import begin, prepare
from lab.runs.live import finish
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError
from tests.lab.runs.test_runs import SHORT

pytestmark = pytest.mark.sim


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    (tmp_path / "short.yaml").write_text(SHORT)
    made = prepare(str(tmp_path / "short.yaml"), 5, {"tpm": "model"})
    folder = begin(made, "sim")
    play.play_sim(made, folder)
    return folder


def tell(folder: RunFolder, change: Callable[[History, Record], None]) -> None:
    """The same history, well chained, with what ``change`` adds before each record."""
    records = verify(folder.history)
    folder.history.unlink()
    now = [0.0]
    history = History(folder.history, lambda: now[0])
    for record in records[:-1]:
        now[0] = record.t
        change(history, record)
        history.add(record.type, record.node, op=record.op, **record.data)
    history.close()


def lie(history: History, record: Record) -> None:
    """A guest reads something wrong while the link is cut."""
    if record.type == "heal" and record.data.get("id") == "wan":
        history.add("ok", "vm-01", op="guest.challenge", wrong="block 7 is of another")


def test_a_run_is_judged_again_as_it_was(run: RunFolder) -> None:
    verdict = run.verdict()
    assert verdict is not None
    answer = check(run.run)
    assert answer.verdict == verdict.verdict == "pass"
    then = {c.name: (c.result, c.text) for c in verdict.checks}
    assert {c.check: (c.result, c.text) for c in answer.items}.items() <= then.items()
    assert [c.check for c in check(run.run, ["no_fault_left"]).items] == ["no_fault_left"]
    assert check(run.run, ["needs_no_kms"]).verdict == "unknown"


def test_the_verdict_of_the_run_stands_beside_that_of_its_checks(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = run.verdict()
    assert verdict is not None
    assert check(run.run).ended == "pass" and check_command(run.run) == 0
    assert "itself" not in capsys.readouterr().err
    finish(run, msgspec.structs.replace(verdict, verdict="interrupted", exit_code=130))
    assert check_command(run.run) == 0
    assert f"PASS  run {run.run}, which itself ended: interrupted" in capsys.readouterr().err


def test_a_violation_is_shown_with_its_scene(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(run, lie)
    answer = check(run.run)
    [bad] = [item for item in answer.items if item.result == "fail"]
    assert (answer.verdict, bad.check) == ("fail", "guests_read_back")
    assert bad.scene is not None
    assert bad.scene.faults == ("cut vcenter <-> kms",)
    assert bad.scene.first in bad.records
    assert bad.reproduce == f"keystead chaos replay {run.run}"
    assert check_command(run.run) == 1
    shown = capsys.readouterr().out
    assert "active faults: cut vcenter <-> kms" in shown
    assert next(line for line in shown.splitlines() if line.startswith("> ")).endswith(
        '{"wrong":"block 7 is of another"}'
    )
    assert f"again: keystead chaos replay {run.run}" in shown
    assert check_command(run.run, options=Options(output=Format.JSON)) == 1
    assert msgspec.json.decode(capsys.readouterr().out)["verdict"] == "fail"
    assert check_command(run.run, only=("needs_no_kms",)) == 2


def test_what_cannot_be_judged_is_refused(run: RunFolder) -> None:
    with pytest.raises(KeysteadError, match="no check is called x; there are: no_") as no:
        check(run.run, ["x"])
    assert no.value.id == "KS-USE-002"
    with pytest.raises(KeysteadError) as none:
        check("no-such-run")
    assert none.value.id == "KS-RUN-001"
    whole = run.history.read_bytes()
    run.history.write_bytes(whole[:-1])
    with pytest.raises(KeysteadError) as cut:
        check(run.run)
    assert cut.value.id == "KS-CHAOS-204"
    run.history.unlink()
    with pytest.raises(KeysteadError) as gone:
        check(run.run)
    assert gone.value.id == "KS-RUN-001"


@pytest.mark.parametrize(
    ("tpm", "given", "scan", "options"),
    [
        (None, (), False, ""),
        ("model", ("apart=7 s",), True, " --tpm model --with 'apart=7 s' --scan"),
    ],
)
def test_the_command_that_plays_it_again_on_real_processes_makes_the_same_plan(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tpm: str | None,
    given: tuple[str, ...],
    scan: bool,
    options: str,
) -> None:
    """Of a file that is gone since, with what was said at the command line."""
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "a home"))
    file = tmp_path / "mine.yaml"
    file.write_text(SHORT.replace("at: 5s", "at: '${apart}'") + "with: {apart: 5s}\n")
    made = prepare_experiment(str(file), 5, tpm, "lab", given)
    folder = begin(made, "lab", scan=scan)
    file.unlink()
    command = reproduce(folder.record())
    copy = shlex.quote(str(folder.path / "experiment.yaml"))
    assert command == f"keystead chaos run {copy} --mode lab --seed 5{options}"
    words = shlex.split(command)
    again = prepare_experiment(words[3], 5, tpm, "lab", given)
    same = msgspec.structs.replace(again.plan, file=made.plan.file)
    assert (same, again.topology) == (made.plan, made.topology)
    _, bound, _ = build().parse_args(words[1:], print_error=False, exit_on_error=False)
    assert bound.arguments.get("given") == (list(given) or None)


def test_a_shipped_experiment_is_played_again_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    folder = begin(prepare_experiment("edge-outage-reboot", 5, None, "lab"), "lab")
    assert reproduce(folder.record()) == (
        "keystead chaos run edge-outage-reboot --mode lab --seed 5"
    )
    folder.write("experiment.yaml", b"another of this name")
    assert str(folder.path) in reproduce(folder.record())


def test_a_history_of_another_version_is_refused_and_no_error_of_ours(run: RunFolder) -> None:
    """Well chained, and what a check reads of it is not there."""

    def spoil(history: History, record: Record) -> None:
        if record.op == "staging":
            record.data.pop("clusters")

    tell(run, spoil)
    with pytest.raises(KeysteadError) as caught:
        check(run.run)
    assert caught.value.id == "KS-CHAOS-204"
    assert "cannot read its records: KeyError: 'clusters'" in str(caught.value)
    assert check(run.run, ["guests_read_back"]).verdict == "pass"


def test_a_run_is_described(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    found = describe(run.run)
    [cut] = found.faults
    assert (cut.id, cut.fault, cut.summary) == ("wan", "link.cut", "cut vcenter <-> kms")
    assert cut.ended is not None and cut.ended - cut.began == pytest.approx(30, abs=3)
    assert (found.hosts, found.vms, found.seed, found.problem) == (1, 1, 5, "")
    assert found.verdict is not None and found.verdict.exit_code == 0
    describe_run(run.run)
    shown = capsys.readouterr().out
    assert f"try: keystead check {run.run}" in shown
    assert "s: cut vcenter <-> kms" in shown
    describe_run(run.run, options=Options(output=Format.JSON))
    assert msgspec.json.decode(capsys.readouterr().out)["run"] == run.run


def test_a_run_that_was_killed_is_described_with_what_is_wrong(run: RunFolder) -> None:
    run.history.write_bytes(run.history.read_bytes()[:-40])
    (run.path / "result.json").unlink()
    found = describe(run.run)
    assert found.verdict is None
    assert "KS-CHAOS-204" in found.problem or "cut off" in found.problem
    assert (found.records, found.seconds) == (0, None)
