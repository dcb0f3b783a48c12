"""A lab whose file says ``serve`` has its API server for as long as it is up."""

from __future__ import annotations

import json
import os
import signal
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi")
pytest.importorskip("uvicorn")

from lab.supervise.supervisor import API_RESTART_S
from tests.lab.cli.conftest import Cli

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path / "state")
    yield cli
    cli.end()


def _reads(variables: dict[str, str]) -> str:
    context = ssl.create_default_context(cafile=variables["KEYSTEAD_CA_FILE"])
    url = f"{variables['KEYSTEAD_API_URL']}/sdk/vimServiceVersions.xml"
    with urllib.request.urlopen(url, context=context, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())


def test_the_server_comes_with_the_lab_and_goes_with_it(lab: Cli, tmp_path: Path) -> None:
    file = tmp_path / "served.yaml"
    shape = {"hosts": {"count": 1, "tpm": "none", "version": "7.0U3"}, "vms": {"count": 0}}
    file.write_text(
        json.dumps(
            {
                "apiVersion": "keystead/v1", "kind": "Lab",
                "serve": {"listen": "127.0.0.1:0", "hosts": False},
                "vcenters": [{"name": "vcenter", "version": "7.0U3"}],
                "clusters": [{"name": "a", "vcenter": "vcenter", **shape}],
            }
        )
    )  # fmt: skip
    assert "vSphere APIs of default at https://127.0.0.1:" in lab.ok("up", str(file)).out
    variables = lab.ok("env", "-o", "json").json
    assert "<version>7.0.3.0</version>" in _reads(variables)
    [record] = tmp_path.rglob("serving.json")
    first = json.loads(record.read_text())["pid"]
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 60 + API_RESTART_S
    while json.loads(record.read_text() or "{}").get("pid") in (None, first):
        assert time.monotonic() < end
        time.sleep(0.05)
    again = lab.ok("env", "-o", "json").json
    assert "<version>7.0.3.0</version>" in _reads(again)
    assert "API server of the lab has ended: SIGKILL" in lab.ok("status").out
    lab.ok("down")
    assert lab("env").code != 0
    with pytest.raises(OSError):
        _reads(again)
