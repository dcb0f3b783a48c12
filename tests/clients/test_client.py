"""The package that users import: a lab from somebody's own script and test suite."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystead import AsyncLab, KeysteadError, Lab
from tests.clients import methods
from tests.tidy.tree import ROOT

CLIENT = ROOT / "clients" / "python"
LOCKED = "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError"
_OUTSIDE = {
    "pytest_plugin.py": {"pytest"},
    "chaostoolkit.py": {"chaoslib"},
    "_launcher.py": {"lab"},
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """One process for these tests."""
    with Lab(seed=7) as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    shared.reset()
    return shared


def test_the_methods_are_those_of_the_schema() -> None:
    """``python -m tests.clients.methods`` writes the file anew."""
    assert methods.FILE.read_text("utf-8") == methods.formatted(methods.module_text())


def test_it_needs_nothing_but_the_standard_library() -> None:
    for path in (CLIENT / "keystead").glob("*.py"):
        allowed = sys.stdlib_module_names | {"keystead"} | _OUTSIDE.get(path.name, set())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= allowed, path.name


@pytest.mark.slow
def test_an_outage_in_virtual_time(lab: Lab) -> None:
    lab.cut("vcenter", "kms")
    lab.reboot("esxi-001")
    lab.wait("vm.locked=vm-01,vm-04", within="10m")
    assert LOCKED in lab.events()
    assert lab.describe_vm("vm-01")["reasons"]
    lab.heal(all=True)
    lab.wait("vm.locked=none")


@pytest.mark.slow
def test_a_reset_begins_the_same_lab_again(lab: Lab) -> None:
    def outage() -> str:
        lab.cut("vcenter", "kms")
        lab.reboot("esxi-001")
        lab.sleep("1m")
        return lab.trace()

    first = outage()
    lab.reset()
    assert outage() == first


@pytest.mark.slow
def test_an_error_has_its_id_and_its_fix(lab: Lab) -> None:
    with pytest.raises(KeysteadError) as refused:
        lab.cut("nobody", "kms")
    assert refused.value.id == "KS-USE-002" and refused.value.fix
    with pytest.raises(KeysteadError, match="KS-WAIT-001"):
        lab.wait("vm.locked=vm-01", within="2s")
    with pytest.raises(KeysteadError, match="10 minutes"):
        lab.wait("vm.locked=vm-01", within="10 minutes")


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(KeysteadError, match="KS-USE-003"):
        Lab(serve=True)
    with pytest.raises(RuntimeError, match="no lab is open"):
        Lab().get_vms()


@pytest.mark.slow
async def test_with_asyncio() -> None:
    async with AsyncLab(seed=7) as lab, asyncio.timeout(100):
        await lab.power_loss("esxi-001")
        await lab.wait("host.connected=all")
        assert len((await lab.get_vms())["items"]) == 6


SUITE = """
import pytest

@pytest.mark.keystead("default", seed=7)
@pytest.mark.parametrize("turn", [1, 2])
def test_each_finds_a_lab_that_is_well(keystead, turn):
    assert not keystead.get_faults()["items"]
    keystead.cut("vcenter", "kms")

@pytest.mark.keystead("default", seed=7)
def test_that_fails(keystead):
    keystead.cut("vcenter", "kms")
    assert "nothing" in keystead.events()
"""


@pytest.mark.slow
def test_the_plugin_shares_a_lab_and_tells_how_to_replay_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(textwrap.dedent(SUITE))
    words = ["-p", "no:randomly", "--junit-xml=out.xml"]
    code = (
        f"import sys, pytest; sys.path.insert(0, {str(CLIENT)!r}); sys.exit(pytest.main({words}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=110
    )
    assert "2 passed, 1 failed" in ran.stdout or "1 failed, 2 passed" in ran.stdout, ran.stdout
    assert "mode sim, seed 7" in ran.stdout
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    assert json.loads(lines[0])["open"]["seed"] == 7
    assert json.loads(lines[1]) == {
        "do": {"command": "link.cut", "a": "vcenter", "b": "kms", "one_way": False}
    }
    assert 'name="keystead_seed" value="7"' in (tmp_path / "out.xml").read_text()
