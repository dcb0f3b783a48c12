"""The page of the APIs lists every method that is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

import lab.vsphere.http.host_server  # the whole package is imported by it
from lab.vsphere.vim.managed import Managed

pytestmark = pytest.mark.sim
PAGE = Path(__file__).parents[3] / "docs" / "vsphere.md"


def _operations(kind: Any) -> set[str]:
    found = set(kind.operations)
    for below in kind.__subclasses__():
        found |= _operations(below)
    return found


def test_every_method_is_listed() -> None:
    assert lab.vsphere.http.host_server.__doc__
    text = PAGE.read_text()
    served = {name for name in _operations(Managed) if not name.startswith(("VimEsxCLI", "VimCLI"))}
    assert len(served) > 100
    assert sorted(name for name in served if name not in text) == []
