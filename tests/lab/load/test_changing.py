"""The rate of a load that runs, changed; and what is left of one that was killed."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from chaos.experiment.plan import Plan
from chaos.history import History
from chaos.load.arrivals import Spread, read_rate
from chaos.playing import load as of_runs
from chaos.playing.load import Coming, Unchangeable, arrivals_of_run, changes
from chaos.workload import Arrival
from lab.cli.main import run
from lab.load.generator import Generator
from lab.load.offering import seconds_left
from lab.load.report import build_report
from lab.load.stored_loads import LoadBegin, LoadJournal, begin, recover_report, rest_of
from lab.play.prepare import prepare
from lab.runs.load_control import NAME, runs
from lab.schema.answers.load import LoadChange, LoadReport
from lab.schema.errors import KeysteadError
from services.runtime.sim.loop import SimLoop
from tests.lab.kmip.test_serve import serving
from tests.lab.load.play import Stalling

PLAN = """
apiVersion: keystead/v1
kind: Experiment
name: changing
title: A load that is changed
seed: 5
topology: {use: default, with: {hosts: 2, vms: 4}}
load: {rate: 1/s, for: 60s, from: 5s, mix: {key: 1, challenge: 2}}
workload: [{op: vm.encrypt, rate: 0.5/s, until: 80s}]
hypothesis: {after: [{probe: host.connected, is: "== 100%"}]}
guards: {max_duration: 10m}
schedule: []
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    return tmp_path


def begun(rate: str = "20/s", seconds: float = 60.0, warmup: float = 5.0) -> LoadBegin:
    each = read_rate(rate)
    return LoadBegin(
        target="arithmetic",
        rate=rate,
        mix={"get": 3, "put": 1},
        spread=Spread.POISSON.value,
        seed=7,
        warmup=warmup,
        length=seconds - warmup,
        thresholds=("get.p99 < 100ms",),
        outstanding=100,
        askers=3,
        steps=((each, each, seconds),),
        facts={"vcenters": "3"},
    )


@pytest.mark.parametrize(("now", "left"), [(-5.0, 60.0), (0.0, 60.0), (20.5, 39.5), (59.75, 0.25)])
def test_a_new_rate_is_for_the_time_that_is_left(now: float, left: float) -> None:
    assert seconds_left(60.0, now) == left


@pytest.mark.parametrize("now", [60.0, 60.25])
def test_a_load_that_is_over_has_no_new_rate(now: float) -> None:
    with pytest.raises(KeysteadError) as refused:
        seconds_left(60.0, now)
    assert refused.value.id == "KS-LOAD-004"


class Played:
    """A load of 60 s in virtual time whose rate is changed when ``given`` says; written down each
    second, and ended by a kill at ``until``."""

    def __init__(
        self,
        given: dict[float, str],
        folder_seed: int,
        until: float = 1e9,
        before: Callable[[Played], None] = lambda played: None,
    ) -> None:
        """``before``: what is done to it before it begins."""
        self.of = begun()
        self.folder = begin(folder_seed)
        self.journal = LoadJournal(self.folder, self.of)
        self.arrivals = self.of.arrivals()
        self.changes: list[tuple[float, str, int]] = []
        self.generator = Generator(
            self.arrivals, Stalling(), outstanding=100, drain_s=30.0, until_s=60.0
        )
        before(self)
        with SimLoop(7) as loop:
            loop.run(self._play(given, until))

    async def _play(self, given: dict[float, str], until: float) -> None:
        loop = asyncio.get_running_loop()
        offering = loop.create_task(self.generator.run())
        await asyncio.sleep(0.1)
        for second in range(1, 61):
            at = self.generator.begin_at + second
            await asyncio.sleep(at - loop.time())
            if second in given:
                self._change(given[second], 60.0 - second)
            self.journal.add(self.generator, self.changes, second, 0.25 * second)
            if second >= until:
                offering.cancel()
                break
        try:
            await offering
        except asyncio.CancelledError:
            pass
        self.ended = loop.time() - self.generator.begin_at
        self.journal.close()

    def _change(self, rate: str, left: float) -> None:
        rest = rest_of(self.of, len(self.changes) + 1, read_rate(rate), left)
        at, first = self.generator.anew(rest)
        self.changes.append((at, rate, first))

    def report(self) -> LoadReport:
        told = [LoadChange(at=at, rate=rate) for at, rate, _ in self.changes]
        return build_report(
            self.of.to_request(),
            self.arrivals,
            self.generator,
            ended_s=self.ended,
            cpu_s=0.0,
            changes=told,
        )

    def between(self, begin: float, end: float) -> int:
        return sum(begin <= at < end for at in self.arrivals.at)


@pytest.mark.sim
def test_what_is_not_due_yet_is_drawn_anew_at_the_new_rate(home: Path) -> None:
    played = Played({20.0: "100/s", 30.0: "0/s", 50.0: "10/s"}, 1)
    assert played.between(0, 20) == pytest.approx(400, rel=0.2)
    assert played.between(20, 30) == pytest.approx(1000, rel=0.15)
    assert played.between(30.001, 50) == 0
    assert 60 < played.between(50, 60) < 140
    assert list(played.arrivals.at) == sorted(played.arrivals.at) and played.arrivals.at[-1] < 60
    report = played.report()
    assert [one.rate for one in report.changes] == ["100/s", "0/s", "10/s"]
    assert [round(one.at, 3) for one in report.changes] == [20.0, 30.0, 50.0]
    every = report.items[-1]
    assert every.offered == report.generator.drawn == every.ok == played.between(5, 60)
    assert report.generator.drawn_per_s == pytest.approx(every.offered_per_s, rel=0.01)
    assert sum(moment.offered for moment in report.moments) == len(played.arrivals)
    again = Played({20.0: "100/s", 30.0: "0/s", 50.0: "10/s"}, 1)
    assert again.arrivals == played.arrivals and again.report() == report


@pytest.mark.sim
def test_arrivals_before_a_change_are_those_of_a_load_without_one(home: Path) -> None:
    plain, played = Played({}, 1), Played({20.0: "100/s"}, 1)
    kept = played.between(0, 20)
    assert played.arrivals.at[:kept] == plain.arrivals.at[:kept] and kept > 300
    assert played.arrivals.at[kept:] != plain.arrivals.at[kept:]


@pytest.mark.sim
def test_of_a_load_that_was_killed_there_is_all_that_its_journal_had(home: Path) -> None:
    played = Played({20.0: "100/s"}, 1, until=33.0)
    told = recover_report(played.folder, "broken off")
    assert told is not None
    assert told.run == played.folder.run and told.verdict == "interrupted"
    assert told.facts == {"vcenters": "3", "ended": "broken off"}
    assert [(round(one.at, 3), one.rate) for one in told.changes] == [(20.0, "100/s")]
    assert told.seconds == pytest.approx(28.0, abs=0.01) and told.generator.cpu_share is not None
    for mine, other in zip(told.items, played.report().items, strict=True):
        assert mine.offered == other.offered > 0
        assert abs(mine.ok - other.ok) <= 3, "what ended in the very moment of the kill"
    assert told.items[-1].offered == played.between(5, 33)


@pytest.mark.sim
def test_a_journal_that_is_cut_off_anywhere_has_what_is_before_it(home: Path) -> None:
    played = Played({}, 1)
    whole = (played.folder.path / "load.msgpack").read_bytes()
    offered = []
    for share in (0.3, 0.6, 0.95):
        (played.folder.path / "load.msgpack").write_bytes(whole[: int(len(whole) * share)])
        told = recover_report(played.folder, "broken off")
        assert told is not None
        offered.append(told.items[-1].offered)
    assert 0 < offered[0] < offered[1] < offered[2] < played.report().items[-1].offered


def test_a_load_in_virtual_time_is_not_changed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begin(1)
    record = msgspec.structs.replace(folder.record(), mode="sim")
    folder.write("run.json", msgspec.json.encode(record))
    assert run(["load", "rate", "10/s", folder.run]) != 0
    assert f"error KS-LOAD-006: {folder.run} is in virtual time" in capsys.readouterr().err


def test_a_load_whose_queue_is_full_for_a_moment_runs_all_the_same(home: Path) -> None:
    """Hundreds that change it at once are more than a socket keeps waiting."""
    folder = begin(1)
    with socket.socket(socket.AF_UNIX) as load_control:
        load_control.bind(str(folder.path / NAME))
        load_control.listen(0)
        others = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for other in others:
            other.setblocking(False)
            with suppress(BlockingIOError):
                other.connect(str(folder.path / NAME))
        later = threading.Timer(0.3, lambda: load_control.accept()[0].close())
        later.start()
        assert runs(folder)
        later.join()
        for other in others:
            other.close()


# ---- an experiment's load ------------------------------------------------------------------------


def coming(plan: Plan, history: History, loop: SimLoop) -> Coming:
    async def sleep_to(at: float) -> None:
        await asyncio.sleep(at - loop.time())

    made = Coming(plan, history, loop.time, sleep_to)
    made.open = True
    return made


@pytest.mark.sim
def test_the_load_of_an_experiment_is_changed_and_its_history_has_the_same_arrivals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "changing.yaml"
    file.write_text(PLAN)
    plan = prepare(str(file), None, {}).plan
    came: list[tuple[float, Arrival]] = []
    with SimLoop(1) as loop:
        history = History(None, loop.time)
        arrivals = coming(plan, history, loop)

        async def offer() -> None:
            while (one := await arrivals.next()) is not None:
                came.append((loop.time(), one))

        async def play() -> None:
            task = loop.create_task(offer())
            await asyncio.sleep(20)
            assert arrivals.change("10/s")[1] == "1/s"
            await asyncio.sleep(10)
            assert arrivals.change("0/s")[1] == "10/s"
            await asyncio.sleep(20)
            arrivals.change("2/s")
            with pytest.raises(ValueError, match="no rate"):
                arrivals.change("fast")
            await asyncio.sleep(1)
            with pytest.raises(Unchangeable, match="at most 3 are"):
                monkeypatch.setattr(of_runs, "ARRIVALS_LIMIT", 3)
                arrivals.change("5000/s")
            await task
            with pytest.raises(Unchangeable, match="all of it has been offered"):
                arrivals.change("1/s")

        loop.run(play())
    mine = [one for _, one in came if one.op != "vm.encrypt"]
    assert sum(20 < one.at <= 30 for one in mine) == pytest.approx(100, rel=0.35)
    assert not any(30.001 < one.at < 49.9 for one in mine)
    assert 15 < sum(50 <= one.at for one in mine) < 50
    other = [one for _, one in came if one.op == "vm.encrypt"]
    assert other == [one for one in plan.arrivals if one.op == "vm.encrypt"], "no part of the load"
    assert all(at >= one.at - 1e-6 and at - one.at < 0.01 for at, one in came)
    assert len({one.number for _, one in came}) == len(came)
    assert arrivals_of_run(plan, history.records) == tuple(one for _, one in came)
    assert [rate for _, rate in changes(history.records)] == ["10/s", "0/s", "2/s"]


# ---- real processes ------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path: Path) -> Iterator[list[str]]:
    with serving(tmp_path / "keys", "--audit", "buffered") as (_, told):
        tls = tmp_path / "keys" / "tls"
        pair = ["--cert", f"{tls}/client.pem", "--key", f"{tls}/client.key"]
        where = ["--server", told["address"], "--ca", f"{tls}/ca.pem", *pair]
        yield ["load", "kmip", *where, "--connection", "pooled", "--progress", "json"]


@pytest.fixture
def loaded(words: list[str], home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begins a load, and gives its process when it offers something."""
    begun: list[subprocess.Popen[str]] = []

    def load(*more: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "lab.cli.main", *words, *more, "-o", "json"]
        made = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun.append(made)
        assert made.stderr is not None
        for told in made.stderr:
            if "offered" in told:
                return made
        raise AssertionError("it ended before it offered anything")

    yield load
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.lab
def test_the_rate_of_a_load_that_runs_is_changed_by_a_command(
    loaded: Callable[..., subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    process = loaded("--rate", "10/s", "--duration", "5m", "--threshold", "all.errors < 1%")
    assert run(["load", "rate", "60/s", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["run"], told["was"]) == ("LoadRate", "load-kmip-1", "10/s")
    assert run(["load", "rate", "0/s", "load-kmip-1"]) == 0
    assert ": 0/s from " in capsys.readouterr().out
    for wrong, code, id in (
        (["400"], 64, "KS-USE-003"),
        (["5001/s"], 64, "KS-USE-003"),
        (["10/s..20/s"], 64, "KS-USE-003"),
        (["10/s", "nobody"], 64, "KS-RUN-001"),
        (["4999/s"], 1, "KS-LOAD-007"),
    ):
        assert run(["load", "rate", *wrong]) == code
        assert f"error {id}: " in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    report = json.loads(out)
    assert [one["rate"] for one in report["changes"]] == ["60/s", "0/s"], err
    assert "load: its rate is 60/s from" in err
    errors = {name for item in report["items"] for name in item["errors"]}
    assert errors <= {"Interrupted"}, "nobody lacked a key"
    assert run(["load", "rate", "10/s"]) == 69
    assert run(["load", "rate", "10/s", "load-kmip-1"]) == 69
    err = capsys.readouterr().err
    assert "error KS-LOAD-004: " in err and "no load is offered there now" in err


@pytest.mark.slow
@pytest.mark.lab
def test_of_two_loads_one_is_named_and_one_that_is_killed_can_be_told_and_compared(
    loaded: Callable[..., subprocess.Popen[str]], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = loaded("--rate", "5/s", "--duration", "1h", "--mix", "get:1")
    loaded("--rate", "5/s", "--duration", "1h", "--mix", "get:1")
    assert run(["load", "rate", "30/s"]) == 64
    err = capsys.readouterr().err
    assert "KS-LOAD-005" in err and "2 loads run: load-kmip-1, load-kmip-1-2" in err
    assert run(["load", "rate", "30/s", "load-kmip-1-2"]) == 0
    assert run(["describe", "run", "load-kmip-1"]) == 0
    assert "not yet: it runs" in capsys.readouterr().out
    first.kill()
    first.wait()
    assert run(["load", "rate", "40/s"]) == 0, "the other one is the only one now"
    capsys.readouterr()
    assert run(["describe", "run", "load-kmip-1"]) == 0
    assert "broken off: its process was killed" in capsys.readouterr().out
    assert run(["report", "load-kmip-1", "-o", str(home / "page.html")]) == 0
    assert "broken off" in (home / "page.html").read_text()
    assert run(["load", "compare", "load-kmip-1", "load-kmip-1-2"]) == 0
    assert "not the same: ended: broken off and not yet" in capsys.readouterr().err
    assert run(["load", "rate", "30/s", "load-kmip-1"]) == 69
