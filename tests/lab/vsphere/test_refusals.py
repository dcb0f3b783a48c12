"""What ``keystead serve`` and ``keystead env`` refuse, each with its error id."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import run
from lab.local.vsphere import serve_apis as api_of
from lab.schema.errors import KeysteadError
from tests.lab.vsphere.conftest import Served


async def refused(executor: Any, folder: Path, port: int = 0) -> KeysteadError:
    """How serving ends."""
    with pytest.raises(KeysteadError) as error:
        async with api_of(executor, "default", folder, port=port):
            raise AssertionError("it is served")
    return error.value


def test_a_lab_that_is_not_served_has_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    assert run(["env"]) == 69
    said = capsys.readouterr().err
    assert "error KS-API-001: " in said and "fix: run `keystead serve" in said


async def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "lab.vsphere.http.listening", raising=False)
    error = await refused(None, tmp_path)
    assert error.id == "KS-API-002" and "vsphere" in error.fix


def test_an_address_that_is_taken_is_named(served: Served, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        executor = served.server.executor
        error = served.run(lambda: refused(executor, tmp_path, port))
    assert error.id == "KS-API-003" and f"127.0.0.1:{port}: " in str(error)
