"""Stored runs: listed, replayed exactly, refused when they cannot be; and runs on a running lab."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from chaos.checks.result import CheckOutcome
from chaos.experiment.lint import check_experiment
from chaos.experiment.plan import load_plan
from chaos.experiment.resolve import plan as make_plan
from chaos.history import pack, read_packed
from chaos.keeper import FaultKeeper
from chaos.lab import Directory
from chaos.progress import quiet
from lab.client import Lab
from lab.local.stored.runs import reproduce, runs
from lab.play import play
from lab.play.prepare import Prepared, begin, prepare
from lab.runs import store
from lab.runs.live import finish, play_on
from lab.runs.store import BROKEN_OFF, RUNNING, RunFolder, all_runs
from lab.schema.answers.local import RunList
from lab.schema.commands import ChaosPlay, ChaosStop
from lab.schema.errors import KeysteadError
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan

pytestmark = pytest.mark.sim

SHORT = """
apiVersion: keystead/v1
kind: Experiment
name: short
title: A cut that nobody minds
topology: {use: default, with: {hosts: 1, vms: 1}}
hypothesis:
  before: [{probe: vm.running, is: "== 100%"}]
  after: [{probe: vm.running, is: "== 100%"}]
schedule: [{id: wan, at: 5s, for: 30s, fault: link.cut, between: [vcenter, kms]}]
guards: {blast_radius: {kms: 1, vcenter: 1}}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    file = tmp_path / "short.yaml"
    file.write_text(SHORT)
    return prepare(str(file), 5, {"tpm": "model"})


def stored(prepared: Prepared, *, scan: bool = False) -> tuple[RunFolder, Any]:
    folder = begin(prepared, "sim", scan=scan)
    return folder, play.play_sim(prepared, folder)


def test_a_run_is_stored_and_replays_exactly(prepared: Prepared) -> None:
    folder, verdict = stored(prepared)
    assert (verdict.verdict, verdict.exit_code, verdict.seed) == ("pass", 0, 5)
    again, same = play.replay(folder.run)
    assert same.trace_hash == verdict.trace_hash and again.run != folder.run
    assert again.history.read_bytes() == folder.history.read_bytes()
    assert [r.run for r in all_runs()] == [folder.run, again.run]
    assert again.record().replay_of == folder.run


@pytest.mark.slow
def test_a_run_that_ends_with_a_search_for_keys_is_the_same_run_and_replays(
    prepared: Prepared,
) -> None:
    _, unsearched = stored(prepared)
    folder, verdict = stored(prepared, scan=True)
    [found] = [c for c in verdict.checks if c.name == "no_plaintext_key"]
    assert found.result is CheckOutcome.PASS, found.text
    assert verdict.trace_hash == unsearched.trace_hash
    again, _ = play.replay(folder.run)
    assert again.record().scan and again.history.read_bytes() == folder.history.read_bytes()


@pytest.mark.slow
def test_another_trace_is_told_with_the_first_difference(prepared: Prepared) -> None:
    folder, _ = stored(prepared)
    result = msgspec.json.decode(folder.read("result.json"))
    folder.write("result.json", msgspec.json.encode({**result, "trace_hash": "0" * 32}))
    with pytest.raises(KeysteadError) as caught:
        play.replay(folder.run)
    assert (caught.value.id, caught.value.exit_code) == ("KS-RUN-003", 5)
    assert "what was done or said between their records is not" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: {**r, "t": 1e6}, "t is 1000000.0 in one run and "),
        (lambda r: {**r, "data": {**r["data"], "value": 0.25}}, "data.value is 0.25 in one run"),
    ],
)
def test_a_history_that_says_something_else_is_told_in_words(
    prepared: Prepared, change: Any, words: str
) -> None:
    """The trace hashes are equal: what a record says is compared too."""
    folder, _ = stored(prepared)
    with folder.history.open("rb") as file:
        values = [msgspec.msgpack.decode(raw) for raw in read_packed(file)]
    place = next(n for n, value in enumerate(values) if value["type"] == "probe")
    values[place] = change(values[place])
    folder.history.write_bytes(b"".join(map(pack, values)))
    with pytest.raises(KeysteadError, match=f"record {place + 1}, ") as caught:
        play.replay(folder.run)
    assert caught.value.id == "KS-RUN-003"
    assert words in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["code", "python", "lock", "mode"])
def test_what_cannot_be_replayed_exactly_is_refused(prepared: Prepared, field: str) -> None:
    folder, _ = stored(prepared)
    record = msgspec.json.decode(folder.read("run.json"))
    folder.write("run.json", msgspec.json.encode({**record, field: "lab"}))
    with pytest.raises(KeysteadError) as caught:
        play.replay(folder.run)
    assert (caught.value.id, caught.value.exit_code) == ("KS-RUN-002", 4)


@pytest.mark.parametrize("name", ["chaos/verdict.py", "lab/topology/shipped/default.yaml"])
def test_the_version_of_the_code_is_that_of_all_it_runs_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A program or a lab file that says something else cannot replay what was played before."""
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text("a: 1")
    monkeypatch.setattr(store, "ROOT", tmp_path)
    before = store.code_version()
    assert store.code_version() == before
    file.write_text("a: 2")
    changed = store.code_version()
    file.rename(file.with_stem("other"))
    assert len({before, changed, store.code_version()}) == 3


def test_the_first_and_the_last_seed_are_seeds(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(SHORT)
    for seed in (0, (1 << 63) - 1):
        assert prepare(str(tmp_path / "short.yaml"), seed, {"tpm": "model"}).plan.seed == seed
    for seed in (-1, 1 << 63):
        with pytest.raises(KeysteadError, match="a whole number from 0 to"):
            prepare(str(tmp_path / "short.yaml"), seed, {"tpm": "model"})


def test_two_runs_of_one_moment_have_two_folders(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the name after it was seen to be free."""
    first = begin(prepared, "sim")
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert begin(prepared, "sim").run == f"{first.run}-2"


def test_a_file_that_a_full_disk_cuts_off_is_not_there(
    prepared: Prepared,
) -> None:
    """An empty ``run.json`` made every later list of runs fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(KeysteadError) as caught:
            begin(prepared, "sim")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.id == "KS-LAB-005"
    assert runs() == RunList(items=())
    assert begin(prepared, "sim").run == "short-sim-5", "its name is free, and its lock"


def test_a_run_that_failed_is_not_played_any_more_by_a_process_that_goes_on(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of stored runs showed a fork that found no room as running until the page ended."""

    def fail(*_: object, **__: object) -> None:
        raise KeysteadError("KS-CHAOS-206", "history.msgpack: No space left on device")

    monkeypatch.setattr(play, "run_in_worker", fail)
    folder = begin(prepared, "sim")
    assert folder.word() == RUNNING
    with pytest.raises(KeysteadError, match="No space left"):
        play.play_sim(prepared, folder)
    assert folder.word() == BROKEN_OFF


DAMAGE = ("run.json", "plan.json", "topology.msgpack", "experiment.yaml", "result.json")


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"\xff{", b"{}"])
def test_a_damaged_file_of_a_run_is_told_and_hides_no_other(
    prepared: Prepared, data: bytes
) -> None:
    sound, _ = stored(prepared)
    folder = begin(prepared, "sim")
    for name in (*DAMAGE, "history.msgpack"):
        (folder.path / name).write_bytes(sound.read(name))
    for name in DAMAGE:
        if (name, data[:1]) in (("experiment.yaml", b""), ("experiment.yaml", b"{")):
            continue  # a text all the same, of which nothing is read
        (folder.path / name).write_bytes(data)
        with pytest.raises(KeysteadError, match=name) as caught:
            play.replay(folder.run)
        assert (caught.value.id, caught.value.exit_code) == ("KS-RUN-004", 4)
        listed = runs()
        assert next(item.run for item in listed.items) == sound.run
        hidden = name in ("run.json", "result.json")
        assert listed.damaged == ((str(folder.path),) if hidden else ())
        (folder.path / name).write_bytes(sound.read(name))


@pytest.mark.parametrize("began", [-1.0, 1e12, 1e300])
def test_a_run_that_began_at_no_date_is_damaged_and_hides_no_other(
    prepared: Prepared, began: float
) -> None:
    """One such file made each list of runs fail, and the page of all runs."""
    sound, odd = begin(prepared, "sim"), begin(prepared, "sim")
    odd.write("run.json", msgspec.json.encode(structs.replace(odd.record(), began=began)))
    listed = runs()
    assert [one.run for one in listed.items] == [sound.run]
    assert listed.damaged == (str(odd.path),)


def test_a_run_has_the_name_of_its_folder(prepared: Prepared) -> None:
    """A folder may be copied, or brought from another machine under another name."""
    folder = begin(prepared, "sim")
    folder.release()
    folder.path.rename(folder.path.with_name("renamed"))
    assert RunFolder("renamed").record().run == "renamed"
    (listed,) = runs().items
    assert listed.run == "renamed"
    assert reproduce(RunFolder("renamed").record()) == "keystead chaos replay renamed"


def test_a_damaged_history_is_told(prepared: Prepared) -> None:
    folder, _ = stored(prepared)
    folder.history.write_bytes(folder.history.read_bytes()[:-9])
    with pytest.raises(KeysteadError, match=r"history\.msgpack") as caught:
        play.replay(folder.run)
    assert caught.value.id == "KS-RUN-004"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "id"), [("result.json", "KS-RUN-002"), ("history.msgpack", "KS-RUN-001")]
)
def test_a_run_that_was_killed_does_not_accuse_the_simulation(
    prepared: Prepared, name: str, id: str
) -> None:
    folder, _ = stored(prepared)
    (folder.path / name).unlink()
    with pytest.raises(KeysteadError) as caught:
        play.replay(folder.run)
    assert caught.value.id == id and len(all_runs()) == 1, "it was played first"


def test_a_run_that_is_not_there() -> None:
    with pytest.raises(KeysteadError) as caught:
        play.replay("nothing-sim-1")
    assert caught.value.id == "KS-RUN-001"


@pytest.mark.parametrize("name", ["x" * 3000, "a\0b"])
def test_a_name_that_no_folder_has_is_no_run(name: str) -> None:
    with pytest.raises(KeysteadError) as caught:
        RunFolder(name).read("plan.json")
    assert caught.value.id == "KS-RUN-001"


def test_a_running_lab_plays_one_at_a_time_and_can_be_stopped(tmp_path: Path) -> None:
    """``chaos.play`` and ``chaos.stop``: the interrupted run has healed and says 130."""
    lab, session = make(plan(load("default", hosts=1, vms=1, tpm="model")), 9)
    folder = _folder_for(session, "longer", SHORT.replace("for: 30s", "for: 20m"))

    async def scene() -> tuple[Any, str, int]:
        playing = perform(session, ChaosPlay(folder.run))
        running = asyncio.get_running_loop().create_task(playing)
        await lab.sleep(60)
        assert [f.fault.id for f in session.keeper.active()] == ["wan"]
        with pytest.raises(Exception, match="runs on this lab"):
            await perform(session, ChaosPlay(folder.run))
        with pytest.raises(KeysteadError, match="no run another is played"):
            await perform(session, ChaosStop("another"))
        assert (await perform(session, ChaosStop())).run == folder.run
        verdict = await running
        with pytest.raises(KeysteadError) as caught:
            await perform(session, ChaosStop(folder.run))
        return verdict, caught.value.id, len(session.keeper.active())

    verdict, stopped, left = lab.run(scene())
    assert verdict.exit_code == 130 and stopped == "KS-RUN-001" and left == 0
    lab.loop.close()


def _folder_for(session: LabSession, name: str, text: str) -> RunFolder:
    directory: Directory = session.lab.directory()
    experiment = check_experiment(text.replace("name: short", f"name: {name}"), f"{name}.yaml")
    made = make_plan(experiment, directory, 9)
    return begin(Prepared(plan=made, topology=session.lab.topology, text=text), "lab")


def test_a_plan_played_on_a_lab_stores_its_verdict() -> None:
    lab, session = make(plan(load("default", hosts=1, vms=1, tpm="model")), 4)
    folder = _folder_for(session, "short", SHORT)
    made = load_plan(folder.read("plan.json"))
    keeper = FaultKeeper(lab)
    verdict = lab.run(play_on(made, folder, lab, keeper, quiet))
    assert verdict.exit_code == 0 and verdict.verdict == "pass"
    assert folder.verdict() == verdict
    lab.loop.close()


async def test_the_library_runs_a_lab_of_any_shape() -> None:
    async with Lab(mode="sim", topology="edge", hosts=1, vms=1, seed=1) as lab:
        assert len(await lab.hosts()) == 1


def test_a_run_that_finds_no_room_for_its_history_is_no_failed_one(prepared: Prepared) -> None:
    folder = begin(prepared, "sim")
    folder.history.symlink_to("/dev/full")
    with pytest.raises(KeysteadError, match=r"history\.msgpack: No space left") as refused:
        play.play_sim(prepared, folder)
    assert (refused.value.id, refused.value.exit_code) == ("KS-CHAOS-206", 5)
    assert folder.verdict() is None


def test_nor_is_one_that_finds_no_room_for_its_verdict(prepared: Prepared) -> None:
    folder, verdict = stored(prepared)
    folder.remove()
    with pytest.raises(KeysteadError, match=r"result\.json") as refused:
        finish(folder, verdict)
    assert (refused.value.id, refused.value.exit_code) == ("KS-CHAOS-206", 5)
