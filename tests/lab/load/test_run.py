"""Loads on labs in virtual time, alone and beside faults, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos.experiment.plan import load_plan
from chaos.history import verify
from lab.cli.main import run
from lab.load.experiment_loads import load_report
from lab.load.stored_loads import load_of
from lab.runs.store import RunFolder

pytestmark = pytest.mark.sim

FILE = """
apiVersion: keystead/v1
kind: Experiment
name: load-and-a-cut
title: Keys are wanted while the key server is away
topology: {use: default, with: {hosts: 2, vms: 2}}
load:
  rate: 1/s
  for: 40s
  mix: {key: 3, challenge: 1}
  thresholds: [key.errors < 1%, challenge.p99 < 1s]
hypothesis: {recover: {within: 60s}, after: [{probe: host.connected, is: "== 100%"}]}
schedule: [{at: 10s, for: 20s, fault: link.cut, between: [vcenter, kms]}]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = run(["load", "run", *words, "--mode", "sim", "-o", "json"])
    said = capsys.readouterr()
    return code, json.loads(said.out)


@pytest.mark.slow
def test_a_load_on_a_lab_of_its_own_is_the_same_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--hosts", "2", "--vms", "4", "--rate", "1/s..3/s", "--duration", "20s"]
    more = [
        "--mix",
        "power:3,unlock:1,encrypt:1",
        "--warmup",
        "5s",
        "--threshold",
        "power.p99 < 2s",
    ]
    code, first = told(capsys, *words, *more)
    assert code == 0 and first["verdict"] == "pass" and first["run"] == "load-sim-1"
    items = {item["operation"]: item for item in first["items"]}
    assert set(items) == {"power", "unlock", "encrypt", "all"}
    every = items["all"]
    assert every["offered"] == every["ok"] == first["generator"]["drawn"] > 25
    assert 0 < items["power"]["p99_ms"] < 2000
    assert first["generator"]["cpu_share"] is None and not first["generator"]["saturated"]
    code, again = told(capsys, *words, *more)
    assert again["run"] == "load-sim-1-2"
    assert {**again, "run": ""} == {**first, "run": ""}
    folder = RunFolder(first["run"])
    plan, records = folder.read_decoded("plan.json", load_plan), verify(folder.history)
    cut = [record for record in records if record.t < records[-1].t / 2]
    ended = folder.verdict()
    assert ended is not None
    ended = msgspec.structs.replace(ended, verdict="interrupted")
    half = load_report(folder.record(), plan, cut, ended, pace=1.0)
    assert half is not None and half.verdict == "interrupted"
    assert 0 < half.seconds < first["seconds"] and 0 < half.items[-1].offered < every["offered"]
    assert half.items[-1].ok_per_s > every["ok_per_s"] / 2, "of the time that it had"
    begun = next(n for n, r in enumerate(records) if r.op == "vm.power_cycle" and r.t > 20)
    assert records[begun].type == "invoke"
    waited = [*records[: begun + 1], msgspec.structs.replace(records[-1], t=records[begun].t + 9)]
    hung = load_report(folder.record(), plan, waited, ended, pace=1.0)
    assert hung is not None and hung.items[0].errors == {"Open": 1}
    assert hung.items[0].max_ms == pytest.approx(9000, rel=0.01), "as long as it was waited for"
    assert run(["chaos", "replay", first["run"]]) == 0
    assert run(["load", "compare", first["run"], again["run"]]) == 0
    assert run(["report", first["run"], "-o", str(home / "page.html")]) == 0
    page = (home / "page.html").read_text()
    for part in ("timeline", "checks", "load-rates", "load-percentiles"):
        assert f'<section id="{part}"' in page, "what the lab did stands beside its load"


@pytest.mark.slow
def test_of_a_load_that_was_killed_there_is_what_its_history_has(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--hosts", "1", "--vms", "2", "--rate", "2/s", "--duration", "20s", "--mix", "power:1"]
    _, whole = told(capsys, *words)
    killed = RunFolder(whole["run"])
    for name in ("load.json", "result.json"):
        (killed.path / name).unlink()
    killed.history.write_bytes(killed.history.read_bytes()[: killed.history.stat().st_size // 2])
    cut_off = load_of(killed.run)
    assert cut_off.verdict == "interrupted" and "not by itself" in cut_off.facts["ended"]
    assert 0 < cut_off.items[-1].offered < whole["items"][-1]["offered"]
    told_again = home / "killed.html"
    assert run(["describe", "run", killed.run]) == 0
    out = capsys.readouterr().out
    assert f"try: keystead report {killed.run}" in out and " 0 records" not in out
    assert run(["report", killed.run, "-o", str(told_again), "--hgrm", str(home / "k.hgrm")]) == 0
    assert "not by itself" in told_again.read_text() and (home / "k-power.hgrm").exists()
    assert run(["report", killed.run, "--junit", str(home / "killed.xml")]) == 0
    assert "interrupted" in (home / "killed.xml").read_text(), "no pipeline takes it for a pass"
    killed.history.unlink()
    assert run(["describe", "run", killed.run]) == 0, "killed before it began"
    capsys.readouterr()


@pytest.mark.slow
def test_faults_and_load_are_one_file_and_a_threshold_is_a_check_of_the_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "cut.yaml"
    file.write_text(FILE)
    assert run(["load", "run", str(file), "--mode", "sim"]) == 1
    out = capsys.readouterr().out
    assert "key.errors < 1%: does not hold" in out and "fail: threshold key.errors < 1%: " in out
    assert "FAIL (exit 1)  run load-and-a-cut-sim-1  seed 1" in out
    code, report = told(capsys, str(file), "--html", str(home / "cut.html"))
    assert code == 1 and report["verdict"] == "fail"
    items = {item["operation"]: item for item in report["items"]}
    assert items["key"]["failed"] > 5 and items["key"]["errors"]
    assert items["challenge"]["failed"] == 0
    assert [held["holds"] for held in report["thresholds"]] == [False, True]
    verdict = json.loads((home / "runs" / report["run"] / "result.json").read_text())
    checks = {check["name"]: check["result"] for check in verdict["checks"]}
    assert checks["threshold key.errors < 1%"] == "fail"
    assert checks["threshold challenge.p99 < 1s"] == "pass"
    assert sum(moment["failed"] for moment in report["moments"][8:35]) == items["key"]["failed"]
    assert "key.errors" in (home / "cut.html").read_text()
    assert '<section id="timeline"' in (home / "cut.html").read_text()
    assert run(["report", report["run"], "-o", str(home / "page.html")]) == 0
    page = (home / "page.html").read_text()
    for part in ("timeline", "load-rates", "load-latency", "load-percentiles", "load-thresholds"):
        assert f'<section id="{part}"' in page, "the run and its load are one page"
    assert '<a href="#load-operations">load</a>' in page and "key.errors &lt; 1%" in page
    assert run(["chaos", "shrink", str(file)]) != 0
    assert "KS-CHAOS-022" in capsys.readouterr().err
    assert run(["chaos", "plan", str(file)]) == 0
    assert "load: 1/s for 40s of key:3, challenge:1, from 0s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("key: 3", "keys: 3"), "no operation is 'keys'"),
        (("key: 3", "key: 0"), "a weight is"),
        (("key: 3", "key: 3, key.create: 1"), "are one operation"),
        (("rate: 1/s", "rate: fast"), "no rate"),
        (("rate: 1/s", "rate: 3000/s"), "more than"),
        (("  for: 40s\n", ""), "give a duration"),
        (("key.errors", "power.errors"), "names no operation of this load"),
        (("key.errors < 1%", "key.errors < 1s"), "no share"),
        (("load:", "duration: 10s\nload:"), "ends at 40 s"),
        (("load:", "workload: [{op: key.create, rate: 1/s}]\nload:"), "nobody could tell"),
    ],
)
def test_a_load_that_cannot_be_is_told_with_its_place(
    change: tuple[str, str], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "bad.yaml"
    assert change[0] in FILE
    file.write_text(FILE.replace(*change))
    assert run(["chaos", "lint", str(file)]) == 4
    err = capsys.readouterr().err
    assert said in err and "bad.yaml:" in err and "KS-CHAOS-" in err


@pytest.mark.parametrize(
    ("words", "id", "said"),
    [
        ("--duration|5s|--threshold|put.p99 < 1s", "KS-LOAD-001", "names no operation"),
        ("--duration|5s|--mix|power:60,reboot:5", "KS-USE-003", "no operation but a fault"),
        ("--duration|5s|--mix|power:1,vm.power_cycle:1", "KS-USE-003", "one operation"),
        ("--rate|2/s", "KS-USE-003", "give a duration"),
        ("sc-02|--rate|2/s", "KS-USE-003", "--rate: the file sc-02 says that itself"),
        ("--on|other|--mode|lab|--hosts|3", "KS-USE-003", "--hosts: a running lab has its own"),
        ("--on|other|--mode|lab|--lab|trusted|--vms|0", "KS-USE-003", "--lab, --vms: a running"),
        ("--on|other|--mode|lab|--rate|1/s|--duration|9s|--tpm|none", "KS-USE-003", "--tpm none"),
        ("--rate|5000/s|--duration|1s|--warmup|23h", "KS-USE-003", "its warm-up with it"),
        ("nowhere", "KS-USE-002", "no experiment nowhere"),
        ("--rate|1/s|--duration|nan", "KS-USE-003", "duration nan: no time"),
        ("--rate|1/s:5s,2/s:nan", "KS-USE-003", "2/s:nan: no time"),
        ("--rate||--duration|5s", "KS-USE-003", "--rate: it is empty"),
        ("--duration|5s|--mix|", "KS-USE-003", "--mix: it is empty"),
        ("--duration|5s|--threshold|power.p99 < 5", "KS-LOAD-001", "write 250ms"),
        ("--duration|5s|--lab|nope", "KS-USE-003", "no lab file nope"),
        ("--duration|5s|--hosts|0", "KS-USE-003", "no host to run them"),
        ("--duration|5s|--vms|1000000", "KS-USE-003", "less than or equal to"),
        ("--duration|5s|--vms|0", "KS-USE-003", "selects no VM"),
        ("--duration|5s|--seed=-1", "KS-USE-003", "--seed -1"),
        ("--duration|5s|--seed|99999999999999999999", "KS-USE-003", "--seed 9999"),
        ("--duration|5s|--with|hosts=2", "KS-USE-003", "--with hosts=2: without a FILE"),
        ("--duration|5s|--html|x|--hgrm|x", "KS-USE-003", "--hgrm x: --html is written there"),
        ("--duration|5s|--html|/nowhere/at/all", "KS-USE-003", "--html"),
    ],
)
def test_bad_input_is_one_message(
    words: str, id: str, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words.split("|")
    mode = [] if "--mode" in given else ["--mode", "sim"]
    assert run(["load", "run", *mode, *given]) == 64
    out, err = capsys.readouterr()
    assert out == "" and f"error {id}: " in err and said in err
    assert "load.yaml" not in err, "a file that nobody has written"
    assert not (home / "runs").exists()


@pytest.mark.slow
def test_keys_are_wanted_of_a_lab_without_vms_too(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--hosts", "1", "--vms", "0", "--duration", "5s", "--mix", "key:1")
    code, report = told(capsys, *words)
    assert code == 0 and report["items"][0]["ok"] > 3


def test_an_experiment_without_a_load_has_no_figures_of_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "none.yaml"
    begin, _, rest = FILE.partition("load:")
    file.write_text(begin + "hypothesis:" + rest.partition("hypothesis:")[2])
    assert run(["load", "run", str(file), "--mode", "sim"]) == 64
    assert not (home / "runs").exists(), "that is known before it is played"
    assert "KS-LOAD-003" in capsys.readouterr().err


def test_a_load_on_a_lab_that_was_not_steady_is_not_told_as_one_that_was_offered(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "early.yaml"
    before = 'before: [{probe: vm.locked, is: "== 100%", within: 5s}], recover'
    file.write_text(FILE.replace("hypothesis: {recover", "hypothesis: {" + before))
    code, report = told(capsys, str(file))
    assert code == 3 and report["items"][-1]["offered"] == 0
    assert report["facts"]["ended"] == "before it began: nothing was offered"


@pytest.mark.slow
def test_the_page_and_the_verdict_measure_a_rate_alike(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys are answered seconds after the last was due: the load lasts longer than its rate."""
    file = home / "late.yaml"
    text = FILE.replace("fault: link.cut", "fault: link.delay, base: 2s")
    text = text.replace("for: 20s", "for: 60s").replace("key.errors < 1%", "key.rate > 0.6/s")
    file.write_text(text.replace("challenge.p99 < 1s", "all.rate > 1/h"))
    _, report = told(capsys, str(file))
    verdict = json.loads((home / "runs" / report["run"] / "result.json").read_text())
    checks = {check["name"]: check for check in verdict["checks"]}
    for held in report["thresholds"]:
        check = checks[f"threshold {held['threshold']}"]
        assert f"measured {held['value']:g} /s" in check["text"]
        assert (check["result"] == "pass") == held["holds"]
    items = {item["operation"]: item for item in report["items"]}
    assert items["key"]["max_ms"] > 2000, "it was to last longer than it was offered"
