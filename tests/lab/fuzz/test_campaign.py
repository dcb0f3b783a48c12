"""Campaigns: written down as they go, taken up after a kill, and their findings made small."""

from __future__ import annotations

import resource
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.experiment.generate import Mix
from chaos.history import Record
from chaos.verdict import Verdict
from chaos.workload import OPERATIONS
from lab.fuzz import campaign as campaigns
from lab.fuzz.campaign import (
    AGAIN_EVERY,
    VOIDS_IN_A_ROW,
    Campaign,
    Seed,
    differs,
    read_seeds,
)
from lab.fuzz.play import (
    Coverage,
    Failure,
    PlayedRun,
    collect_coverage,
    failures,
    of_exception,
    play,
)
from lab.fuzz.world import CampaignWorld
from lab.schema.errors import KeysteadError
from lab.simulation.snapshot import BuiltLabs
from services.runtime.forking.connection import ForkFailed
from services.runtime.sim.runner import WorkerDied

pytestmark = pytest.mark.sim
MIX = Mix(until_s=60.0, from_s=5.0)
WORLD = CampaignWorld(hosts=1, vms=1, mix=MIX)
LATE = float("inf")


def quiet(text: str, step: int, total: int) -> None:
    """Nobody listens."""


def campaign(folder: Path, **changes: object) -> Campaign:
    return Campaign(folder / "c", msgspec.structs.replace(WORLD, **changes))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    with campaign(tmp_path_factory.mktemp("campaign")) as made:
        list(made.play(range(4), LATE, quiet))
    return made


def test_seeds_are_played_written_down_and_read_again(played: Campaign) -> None:
    assert sorted(played.played) == [0, 1, 2, 3]
    again = list(read_seeds(played.folder / "seeds.msgpack"))
    assert {seed.seed: seed for seed in again} == played.played
    assert all(seed.trace and seed.cpu_s > 0 for seed in again)
    assert [seed.twice for seed in sorted(again, key=lambda seed: seed.seed)] == [
        number % AGAIN_EVERY == 0 for number in range(4)
    ]


def test_it_goes_on_where_a_kill_cut_it_off(played: Campaign, tmp_path: Path) -> None:
    """The last seed was being written: it is played again, and nothing else is."""
    with campaign(tmp_path) as made:
        log = made.folder / "seeds.msgpack"
        log.write_bytes((played.folder / "seeds.msgpack").read_bytes()[:-7])
    last = list(played.played.values())[-1]
    with Campaign(made.folder, WORLD) as again:
        assert sorted(again.played) == sorted(set(played.played) - {last.seed})
        now = list(again.play(range(4), LATE, quiet))
    assert [(seed.seed, seed.trace) for seed in now] == [(last.seed, last.trace)]
    assert len(list(read_seeds(log))) == 4


def refused(folder: Path, world: CampaignWorld) -> KeysteadError:
    with pytest.raises(KeysteadError) as caught, Campaign(folder, world):
        pass
    return caught.value


@pytest.mark.slow
def test_a_folder_of_another_campaign_is_refused(
    played: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = refused(played.folder, msgspec.structs.replace(WORLD, hosts=2))
    assert other.id == "KS-RUN-005" and "other options" in str(other)
    monkeypatch.setattr(campaigns, "code_version", lambda: "older")
    other = refused(played.folder, WORLD)
    assert other.id == "KS-RUN-005" and "other code" in str(other)


def test_a_folder_whose_description_cannot_be_read_is_refused_and_kept(tmp_path: Path) -> None:
    with campaign(tmp_path) as made:
        about = made.folder / "campaign.json"
    about.write_bytes(about.read_bytes()[:-5])
    other = refused(made.folder, WORLD)
    assert other.id == "KS-RUN-005" and "cannot be read" in str(other)
    assert about.exists()


@pytest.mark.slow
def test_one_process_plays_a_campaign_at_a_time(played: Campaign, tmp_path: Path) -> None:
    """What another one is writing is not cut off."""
    with campaign(tmp_path) as made:
        log = made.folder / "seeds.msgpack"
        half = (played.folder / "seeds.msgpack").read_bytes()[:-7]
        log.write_bytes(half)
        assert refused(made.folder, WORLD).id == "KS-RUN-007"
        assert log.read_bytes() == half
    with Campaign(made.folder, WORLD) as again:
        assert len(again.played) == 3


def test_a_seed_for_which_there_is_no_room_is_told_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    """The kernel takes a part of a line and refuses the rest, as at the end of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with campaign(tmp_path) as made:
        [_] = made.play(range(1), LATE, quiet)
        log = made.folder / "seeds.msgpack"
        whole = log.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 9, hard))
        try:
            with pytest.raises(KeysteadError) as caught:
                list(made.play(range(2), LATE, quiet))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handled)
    assert caught.value.id == "KS-LAB-005"
    assert log.read_bytes() == whole


def test_time_that_is_over_and_a_stop_begin_no_seed(tmp_path: Path) -> None:
    with campaign(tmp_path) as made:
        assert not list(made.play(range(9), time.monotonic() - 1, quiet))
        made.stop = threading.Event()
        made.stop.set()
        assert not list(made.play(range(9), LATE, quiet))


def test_a_planted_bug_is_found_and_what_dies_is_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with campaign(tmp_path, patch="tests.lab.fuzz.planted") as made:
        [seed] = made.play([3], LATE, quiet)
        assert seed.failures == (Failure("check", "guests_read_back"),)
        assert seed.twice

        def dies(*_: object) -> PlayedRun:
            raise WorkerDied("killed by signal 9")

        monkeypatch.setattr(campaigns, "play", dies)
        [dead] = made.play([4], LATE, quiet)
    assert dead.failures == (Failure("crash", "WorkerDied"),)


@pytest.mark.slow
def test_a_run_that_is_another_the_second_time_is_found(played: Campaign) -> None:
    with BuiltLabs(WORLD.origin()) as snapshot:
        plan = played.plan(1)
        first = play(snapshot, plan)
        assert differs(snapshot, plan, first)[0] == ()
        verdict = msgspec.structs.replace(first.verdict, trace_hash="0")
        other = msgspec.structs.replace(first, verdict=verdict)
        assert differs(snapshot, plan, other)[0] == (Failure("replay", "trace"),)


def verdict(code: int, *checks: CheckResult, reasons: tuple[str, ...] = ()) -> Verdict:
    return Verdict(
        verdict="x", exit_code=code, seed=1, trace_hash="", run="", checks=checks, reasons=reasons
    )


BAD = CheckResult(name="no_fault_left", result=CheckOutcome.FAIL, text="")
FINE = CheckResult(name="tpm_sane", result=CheckOutcome.PASS, text="")


@pytest.mark.parametrize(
    ("ended", "found"),
    [
        (verdict(0, FINE), ()),
        (verdict(2, FINE), ()),
        (verdict(1, BAD, FINE, BAD), (Failure("check", "no_fault_left"),)),
        (verdict(5, reasons=("KS-CHAOS-103: x", "y")), (Failure("harness", "KS-CHAOS-103"),)),
        (verdict(5), (Failure("harness", "x"),)),
    ],
)
def test_in_which_way_a_run_failed(ended: Verdict, found: tuple[Failure, ...]) -> None:
    assert failures(ended) == found


def test_in_which_way_a_run_without_a_verdict_failed() -> None:
    assert of_exception(TimeoutError()) == Failure("slow", "")
    assert of_exception(MemoryError()) == Failure("crash", "MemoryError")
    group = ExceptionGroup("x", [ExceptionGroup("y", [KeyError("z")])])
    assert of_exception(group) == Failure("crash", "KeyError")
    assert str(Failure("slow", "")) == "slow"


def test_what_was_tried_is_counted_and_what_was_not_is_told() -> None:
    def record(type: str, op: str, **data: object) -> Record:
        return Record(seq=1, t=0.0, node="", type=type, op=op, data=data)

    one = collect_coverage(
        [
            record("ok", "key.create"),
            record("fault", "link.cut", id="a"),
            record("info", "key.create"),
            record("heal", "heal", id="a", verified=True),
            record("fail", "vm.encrypt"),
            record("fault", "host.reboot", id="b", error="KS"),
            record("note", "missed", fault="link.dup"),
        ],
        verdict(1, BAD, FINE),
    )
    assert one.faults == {"link.cut": 1}
    assert one.missed == {"link.dup": 1}
    assert one.operations == {"ok key.create": 1, "info key.create": 1, "fail vm.encrypt": 1}
    assert one.pairs == {"link.cut x key.create": 1}
    assert one.checks == {"fail no_fault_left": 1, "pass tpm_sane": 1}
    whole = Coverage()
    whole.add(one)
    whole.add(one)
    assert whole.faults == {"link.cut": 2}
    untried = whole.list_untried()
    assert "link.cut" not in untried["faults"] and "host.reboot" in untried["faults"]
    tried = {"key.create", "vm.encrypt"}
    assert untried["operations"] == tuple(op for op in OPERATIONS if op not in tried)
    assert "tpm_sane" not in untried["checks"] and "no_internal_error" in untried["checks"]
    assert "link.cut x vm.encrypt" in untried["pairs"]


def test_seeds_survive_as_they_are() -> None:
    seed = Seed(seed=7, failures=(Failure("check", "x"),), coverage=Coverage(faults={"a": 1}))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(seed), type=Seed) == seed


def test_a_seed_without_a_process_is_void_and_the_others_are_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = {2}

    def plays(self: Campaign, snapshots: object, world: object, lab: object, number: int) -> Seed:
        if number in refusing:
            raise ForkFailed("the system refuses")
        return Seed(seed=number)

    monkeypatch.setattr(Campaign, "_one", plays)
    told: list[str] = []
    with campaign(tmp_path) as made:
        found = list(made.play(range(1, 5), LATE, lambda text, step, total: told.append(text)))
        assert sorted(seed.seed for seed in found) == [1, 3, 4]
        assert made.void == {2: "the system refuses"} and told[-1].endswith(", 1 void")
        refusing.clear()
        assert [seed.seed for seed in made.play(range(1, 5), LATE, quiet)] == [2], "it is made up"
        assert made.void == {}
        refusing |= set(range(10, 20))
        with pytest.raises(ForkFailed):
            list(made.play(range(10, 20), LATE, quiet))
        assert len(made.void) == VOIDS_IN_A_ROW
