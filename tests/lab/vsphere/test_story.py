"""The example of six hours without the key server, played as it is shipped."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi")
pytest.importorskip("uvicorn")

from keystead import Lab

pytestmark = [pytest.mark.sim, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[3] / "examples" / "vsphere" / "six_hours.py"
TOLD = [
    "before: key provider green, 6 VMs",
    "locked: vm-01, vm-04",
    "after 6 hours: key provider red",
    "healed: key provider green, 6 VMs run",
]


def test_six_hours_without_the_key_server_are_the_same_each_time() -> None:
    spec = importlib.util.spec_from_file_location("six_hours", EXAMPLE)
    assert spec is not None and spec.loader is not None
    example: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    ends = []
    for _ in range(2):
        told: list[str] = []
        with Lab("default", seed=7, serve=True) as lab:
            example.play(lab, told.append)
            ends.append(lab.trace())
        assert told == TOLD
    assert ends[0] == ends[1]
