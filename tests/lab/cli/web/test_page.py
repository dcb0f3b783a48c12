"""The page shows a lab, follows it, and changes it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.experiment.lint import read_experiment
from lab.cli.main import run
from lab.cli.watch.web.app import serve
from lab.cli.watch.web.serving import page_of_lab
from lab.play.prepare import prepare
from lab.schema.errors import KeysteadError
from tests.lab.cli.web.asking import TOKEN, server_for, simulated
from tests.lab.cli.web.canned import CannedLab
from tests.tidy.tree import ROOT

pytestmark = pytest.mark.sim


def news(body: bytes) -> list[dict[str, Any]]:
    """The messages of a stream."""
    lines = [line for line in body.split(b"\n\n") if line.startswith(b"data: ")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


@pytest.mark.slow
async def test_a_lab_is_shown_followed_and_changed(tmp_path: Path) -> None:
    async with simulated(hosts=2, vms=2, tpm="model") as server:
        page = await server.ask("/")
        assert page.status == 200 and "esxi-002" in page.text and "2 running" in page.text
        assert 'href="#link:kms,vcenter"' in page.text and "<script src" in page.text
        assert "style=" not in page.text and "onclick" not in page.text

        link = await server.ask("/why?of=link:vcenter,kms")
        assert 'data-line="link cut vcenter kms --for 5m"' in link.text
        assert "- {fault: link.cut, between: [vcenter, kms], for: 300s}" in link.text

        following = asyncio.create_task(server.ask("/live", None, b"host power-loss esxi-001"))
        assert (await server.do("link cut vcenter kms --for 5m")).json["ok"]
        assert (await server.do("host power-loss esxi-001 --stay-off")).json["ok"]
        told = news((await following).body)
        assert set(told[0]["parts"]) >= {"head", "hosts", "vms", "faults", "topology", "events"}
        assert any("cut vcenter" in one["parts"].get("faults", "") for one in told)
        assert any("off" in one["parts"].get("problems", "") for one in told)
        assert told[-1]["time"] > told[0]["time"], "a simulation goes on while somebody looks"

        why = await server.ask("/why?of=vm:vm-01")
        assert 'data-line="host power-on esxi-001"' in why.text, "a cure is a button"
        assert 'data-line="heal link-cut-1"' in (await server.ask("/why?of=link:kms,vcenter")).text
        assert (await server.do("host power-on esxi-001")).json["ok"]
        refused = await server.do("heal no-such-fault")
        assert refused.status == 409 and "KS-" in refused.json["text"]

        saved = await server.ask("/experiment.yaml")
        assert "attachment" in saved.headers["content-disposition"]
        path = tmp_path / "watched.yaml"
        path.write_text(saved.text)
        made = prepare(str(path), None, {}, {}, "sim").plan
        assert [fault.kind for fault in made.faults] == ["link.cut", "host.power_loss"]
        assert read_experiment(path, {}).text == saved.text


async def test_a_lab_that_does_not_answer_has_no_page() -> None:
    """The reason is raised as it is, before an address is told to anybody."""
    said: list[str] = []

    async def do(_command: object) -> Any:
        raise KeysteadError("KS-LAB-001", "the lab does not run")

    lab: Any = SimpleNamespace(do=do)
    with pytest.raises(KeysteadError) as caught:
        async with page_of_lab("page", lab, 0, 1.0, "", said.append):
            pass
    assert caught.value.id == "KS-LAB-001" and said == []


@pytest.mark.slow
def test_the_command_serves_a_simulation_that_other_commands_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    words = ["watch", "--web", "--sim", "default", "--seed", "7", "--name", "page"]
    serving = subprocess.Popen(
        [sys.executable, "-m", "lab.cli.main", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stderr is not None
        said = serving.stderr.readline()
        address, _, token = said.removeprefix("the page of page: ").strip().partition("#token=")
        assert address.startswith("http://127.0.0.1:") and len(token) >= 32, said
        assert run(["link", "cut", "vcenter", "kms", "--for", "5m", "--name", "page"]) == 0
        port = address.rstrip("/").rpartition(":")[2]
        assert 'keystead_faults_active{kind="link.cut"} 1' in get(port, "/metrics")
        assert token not in get(port, "/")
        again = ["watch", "--web", "--port", port]
        assert run(again) == 1
        assert f"KS-API-003: 127.0.0.1:{port}: Address already in use\n" in capsys.readouterr().err
        serving.send_signal(signal.SIGINT)
        assert serving.wait(30) == 0
    finally:
        serving.kill()
        serving.communicate()


def get(port: str, path: str) -> str:
    with closing(HTTPConnection("127.0.0.1", int(port), timeout=30)) as connection:
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.read().decode()


async def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    server = server_for(CannedLab(3))
    nothing = await server.ask("/experiment.yaml")
    assert nothing.status == 409 and "nothing was done" in nothing.text
    for of in ("host:nobody", "vm:nothing", "server:none", "link:a,b", "table:x", ""):
        assert "KS-USE-002" in (await server.ask(f"/why?of={of}")).text, of
    stay = (await server.ask("/live", None, b"data:")).body
    assert news(stay) and server.looker.watchers == 0
    monkeypatch.setattr("lab.cli.watch.web.app.WATCHERS_LIMIT", 0)
    assert (await server.ask("/live", x_keystead_token=TOKEN)).status == 503


async def test_a_lab_that_goes_is_shown_as_it_was_until_it_is_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lab = CannedLab(3)
    server = server_for(lab)
    assert "KS-LAB-001" not in (await server.ask("/")).text
    lab.away = True
    page = (await server.ask("/")).text
    assert "KS-LAB-001: the lab is stopped (keystead up)" in page
    assert "<h1>default" in page and "esxi-003" in page
    lab.away, lab.broken = False, True
    assert "KS-INT-001: ZeroDivisionError: a defect" in (await server.ask("/")).text
    assert "ZeroDivisionError" in capsys.readouterr().err
    lab.broken = False
    assert 'role="alert"' not in (await server.ask("/")).text


async def test_followers_that_come_at_once_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.cli.watch.web.app.WATCHERS_LIMIT", 3)
    server = server_for(CannedLab(3))
    asked = [server.ask("/live", None, b"data:") for _ in range(8)]
    found = sorted(one.status for one in await asyncio.gather(*asked))
    assert found == [200] * 3 + [503] * 5
    assert server.looker.streams == server.looker.watchers == 0
    assert (await server.ask("/live", None, b"data:")).status == 200


async def test_what_cannot_be_drawn_is_said_and_the_page_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = server_for(CannedLab(3))
    draw = server.looker.parts.draw
    monkeypatch.setattr(server.looker.parts, "draw", lambda *_: 1 / 0)
    following = asyncio.create_task(server.ask("/live", None, b"esxi-003"))
    await asyncio.sleep(0.05)
    monkeypatch.setattr(server.looker.parts, "draw", draw)
    told = news((await following).body)
    assert any("KS-INT-001" in one["parts"].get("head", "") for one in told)
    assert "ZeroDivisionError" in capsys.readouterr().err


async def test_a_connection_without_a_whole_head_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.cli.watch.web.app.IDLE_S", 0.3)
    lab, stopped = CannedLab(3), asyncio.Event()
    server = server_for(lab)
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    server.listen_on(port)
    serving = asyncio.create_task(serve(server.app, bound, stopped))
    made = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    (silent, _), (slow, sending), (asked, asking) = made
    try:
        asking.write(f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            for byte in b"GE":
                sending.write(bytes([byte]))
                await asyncio.sleep(0.1)
            for ended in (silent, slow):
                with contextlib.suppress(ConnectionResetError):
                    assert await ended.read() == b""
            await asked.readuntil(b"data: ")
            lab.away = True
            await asked.readuntil(b"KS-LAB-001")
    finally:
        for _, writer in made:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        stopped.set()
        await serving
        bound.close()
