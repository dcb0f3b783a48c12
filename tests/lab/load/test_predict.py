"""``load predict``: which node is saturated first, and what doubling it buys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.history import Record
from chaos.report.plots import HOST, first_saturated, work_of
from lab.cli.loads.predict import format_running
from lab.cli.main import run


def looks(*told: dict[str, tuple[float, int]]) -> list[Record]:
    """A look at each second; the name ``esxi-…`` is that of the busiest host."""
    made = []
    for t, nodes in enumerate(told, 1):
        hosts = [(*found, name) for name, found in nodes.items() if name.startswith("esxi")]
        others = {name: list(found) for name, found in nodes.items() if name[:4] != "esxi"}
        data = {"nodes": others, "host": list(max(hosts, default=(0.0, 0, "")))}
        made.append(Record(seq=t, t=float(t), type="state", node="", op="work", data=data))
    return made


def test_the_node_that_is_saturated_first_is_named_and_not_the_busiest_one() -> None:
    nodes = work_of(
        looks(
            {"kms": (0.4, 0), "vcenter": (0.96, 3)},
            {"kms": (1.0, 90), "vcenter": (0.99, 2), "esxi-001": (0.2, 0)},
            {"kms": (1.0, 70), "esxi-002": (0.97, 1)},
        )
    )
    first = first_saturated(nodes)
    assert first is not None and (first.name, first.saturated_at) == ("vcenter", 1.0)
    by_name = {node.name: node for node in nodes}
    assert set(by_name) == {"kms", "vcenter", HOST}
    kms = by_name["kms"]
    assert (kms.peak, kms.most_waiting, kms.saturated_looks) == (1.0, 90, 2)
    assert [sample.node for sample in by_name[HOST].samples] == ["esxi-001", "esxi-002"]


def test_of_two_at_one_look_the_one_that_stays_saturated_counts() -> None:
    nodes = work_of(looks({"kms": (1.0, 1), "vcenter": (1.0, 1)}, {"vcenter": (1.0, 1)}))
    first = first_saturated(nodes)
    assert first is not None and first.name == "vcenter"
    assert first_saturated(work_of(looks({"kms": (0.9, 4)}))) is None
    assert first_saturated(work_of([])) is None


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (["load-push-storm", "--clusters", "0"], "KS-USE-003", 64),
        (["load-push-storm", "--profile", "none"], "KS-TOPO-001", 4),
        (["load-push-storm", "--with", "hosts"], "KS-USE-003", 64),
        (["no-such-storm"], "KS-USE-002", 64),
    ],
)
def test_what_cannot_be_predicted_is_refused(
    words: list[str], error: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["load", "predict", *words]) == code
    assert error in capsys.readouterr().err


def test_vms_that_run_before_the_last_fault_ends_are_said_to() -> None:
    assert format_running(6.6) == "all VMs run 6.6 s after the last fault"
    assert format_running(-41.6) == "all VMs run 41.6 s before the last fault ends"


@pytest.mark.slow
@pytest.mark.sim
def test_a_slow_key_server_is_saturated_first_and_a_second_core_brings_vms_back_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "home"))
    page = tmp_path / "storm.html"
    words = ["load-push-storm", "--profile", "hsm", "--with", "hosts=3", "--with", "vms=60"]
    assert (
        run(["load", "predict", *words, "--clusters", "2", "--html", str(page), "-o", "json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["hosts"], told["vms"], told["doubled_node"]) == (6, 120, "kms")
    once, twice = told["predicted"], told["doubled"]
    assert once["first"] == "kms"
    kms = next(node for node in once["items"] if node["node"] == "kms")
    keys = 3 * 120  # each key to the three hosts of its cluster, 20 ms each
    assert kms["busy_s"] == pytest.approx(keys * 0.02, rel=0.5) and kms["peak"] > 0.99
    assert 0 < twice["all_running_s"] < once["all_running_s"]
    assert "Work of nodes" in page.read_text()
