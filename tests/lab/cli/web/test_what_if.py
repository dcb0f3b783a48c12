"""*What if from here*: the form of a run, its fork, and the bounds of both."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.faults import FAULTS, make_fault
from chaos.lab import Directory, NodeEntry
from chaos.progress import ProgressStep
from lab.cli.arguments import assignments
from lab.cli.main import run
from lab.cli.watch.web import what_if
from lab.cli.watch.web.what_if import fields_of
from lab.schema.errors import KeysteadError
from protocol.terms import ClusterName, NodeName, ProviderId, Role, VmName
from tests.lab.cli.web.asking import TOKEN, Server, server_for

RUN = "edge-outage-reboot-sim-7"
LINE = f"chaos fork {RUN} host.power_loss on=esxi-002 --at 240s --for 30s"
LAB = Directory(
    nodes=(
        NodeEntry(node=NodeName("vc"), role=Role.VCENTER, site="main"),
        NodeEntry(
            node=NodeName("keys-a"), role=Role.KMS, site="main", providers=(ProviderId("p"),)
        ),
        NodeEntry(
            node=NodeName("keys-b"), role=Role.KMS, site="main", providers=(ProviderId("p"),)
        ),
        NodeEntry(
            node=NodeName("h1"), role=Role.ESXI, site="edge", cluster=ClusterName("c"), tpm=True
        ),
    ),
    vms=(VmName("web"),),
    default_provider=ProviderId("p"),
    bus_servers=3,
)


async def fork(server: Server, line: str, **headers: str) -> list[dict[str, str]]:
    """What the page hears of a fork."""
    headers = {"x_keystead_token": TOKEN, **headers}
    body = json.dumps({"line": line}).encode()
    answer = await server.ask(f"/runs/{RUN}/fork", body, **headers)
    return [json.loads(one) for one in answer.body.splitlines()]


@pytest.mark.slow
@pytest.mark.sim
async def test_a_run_is_forked_and_both_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    assert await asyncio.to_thread(run, ["chaos", "run", RUN[:-6], "--mode", "sim", "-q"]) == 0
    server = server_for(None)
    page = (await server.ask(f"/runs/{RUN}/watch")).text
    assert 'id="fork-form"' in page and 'value="esxi-001"' in page
    fields = await server.ask(f"/runs/{RUN}/fault?kind=link.cut")
    assert 'value="vcenter"' in fields.text and 'value="kms"' in fields.text
    assert (await server.ask(f"/runs/{RUN}/fault?kind=no.fault")).status == 404

    heard = await fork(server, LINE)
    assert any(one.get("step", "").startswith("faults ") for one in heard)
    both = heard[-1]["html"]
    assert "Until 4:00 both runs are the same" in both and "power loss of esxi-002" in both
    assert both.count("<svg") == 2 and f"/runs/{RUN}/beside/{RUN}-2" in both
    pair = await server.ask(f"/runs/{RUN}/beside/{RUN}-2")
    assert pair.status == 200 and "What differs, in words" in pair.text
    assert (await server.ask(f"/runs/{RUN}/beside/nothing")).status == 404

    outside = await fork(server, LINE.replace("240s", "900s"))
    assert "the fault phase of" in outside[-1]["error"]
    monkeypatch.setattr(what_if, "FORK_LIMIT_S", 0.0)
    stopped = await fork(server, LINE)
    assert "was stopped" in stopped[-1]["error"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("heal x", "this page plays `chaos fork` only"),
        (f"chaos replay {RUN}", "this page plays `chaos fork` only"),
        (f"{LINE} --name other", "this page plays `chaos fork` only"),
        (LINE.replace(RUN, "another"), f"this page is of the run {RUN}"),
        ("chaos fork", "KS-USE-001"),
        ("chaos fork 'x", "KS-USE-001"),
    ],
)
async def test_no_other_line_is_played(
    line: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "play_fork", refuse)
    assert error in (await fork(server_for(None), line))[-1]["error"]


async def test_a_fork_needs_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "play_fork", refuse)
    body = json.dumps({"line": LINE}).encode()
    assert (await server_for(None).ask(f"/runs/{RUN}/fork", body)).status == 403


def refuse(*_: object, **__: object) -> Any:
    raise AssertionError("it is played")


class HeldFork:
    """In place of a fork: goes on until it is asked to stop."""

    def __init__(self) -> None:
        self.began, self.stopped = threading.Event(), threading.Event()

    def __call__(
        self, *_: str, show: Callable[[ProgressStep], None], stopping: Any, **__: Any
    ) -> Any:
        with stopping(self.stopped.set):
            show(ProgressStep(phase="faults"))
            self.began.set()
            assert self.stopped.wait(20)
        raise KeysteadError("KS-RUN-001", "it was stopped")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldFork]:
    made = HeldFork()
    monkeypatch.setattr(what_if, "play_fork", made)
    yield made
    made.stopped.set()


async def test_one_fork_is_played_at_a_time(held: HeldFork) -> None:
    server = server_for(None)
    first = asyncio.create_task(fork(server, LINE))
    assert await asyncio.to_thread(held.began.wait, 20)
    assert "one at a time" in (await fork(server, LINE))[-1]["error"]
    held.stopped.set()
    assert (await first)[-1]["error"].startswith("KS-RUN-001: it was stopped")
    assert "it was stopped" in (await fork(server, LINE))[-1]["error"], "the next one can be played"


async def test_a_fork_is_stopped_when_its_page_goes(held: HeldFork) -> None:
    body = json.dumps({"line": LINE}).encode()
    gone = server_for(None).ask(f"/runs/{RUN}/fork", body, b"faults", x_keystead_token=TOKEN)
    assert (await gone).status == 200
    assert await asyncio.to_thread(held.stopped.wait, 20)


async def test_a_fork_is_stopped_after_its_time(
    held: HeldFork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "FORK_LIMIT_S", 0.05)
    assert "it was stopped" in (await fork(server_for(None), LINE))[-1]["error"]


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if not kind.at_point])
def test_the_form_of_each_fault_is_filled_in_for_the_lab(kind: Any) -> None:
    words: list[str] = []
    for field in fields_of(kind, LAB):
        assert all(field.given) or not field.required, field
        assert set(field.given) <= set(field.known or field.given), field
        assert not set(field.given) - set(field.choices or field.given), field
        if field.given:
            joined = ",".join(field.given)
            words.append(f"{field.name}=" + (f"[{joined}]" if len(field.given) > 1 else joined))
    assert make_fault(kind.kind, "f", assignments("value", words), LAB).summary()
