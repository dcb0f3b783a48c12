"""The import contracts hold, and each of them is broken by an import that breaks it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.tidy.tree import PACKAGES, ROOT, package_sources

BIN = Path(sys.executable).parent

PLANTED = {
    "Dependencies point downwards": ("protocol/secret.py", "import services.runtime.ports"),
    "The folders of lab are layers": ("lab/topology/plan.py", "import lab.brokers.server"),
    "The APIs of vSphere know typed": ("lab/vsphere/faults.py", "import services.knobs"),
    "The folders of chaos are layers": ("chaos/observe/look.py", "import chaos.faults.base"),
    "Services never import each other": (
        "services/kms/operations/core.py",
        "import services.esxi.keys",
    ),
    "Services know nothing of chaos": ("services/runtime/bus.py", "import chaos.selectors"),
    "The runtime knows no service": ("services/runtime/node.py", "import services.catalog"),
    "Of services, chaos imports": ("chaos/playing/engine.py", "import services.vcenter.locks"),
    "The oracle has its own mind": ("chaos/oracle/table.py", "import protocol.messages.host"),
    "The model does not look": ("chaos/oracle/judgement.py", "import chaos.oracle.table"),
    "protocol imports nothing above": ("protocol/terms.py", "import lab.schema.errors"),
    "The product imports neither": ("lab/core.py", "import benchmarks.order"),
    "KMIP's wire knows no message": ("protocol/kmip/ttlv.py", "import protocol.codec"),
    "The broker's client is seen": ("services/runtime/sim/clock_and_rng.py", "import nats"),
    "The TPM's library is seen": ("services/esxi/measured_boot.py", "import tpm2_pytss"),
    "The library of TLS is seen": ("services/runtime/real/streams.py", "import OpenSSL.SSL"),
    "A service sees ports": ("services/esxi/boot.py", "import services.runtime.tpm.model"),
    "The folders of the key server are layers": (
        "services/kms/objects/key_row.py",
        "import services.kms.commit.store",
    ),
    "The key server's core imports no message": (
        "services/kms/operations/core.py",
        "from protocol.messages import kms",
    ),
    "The two drivers know nothing": (
        "services/runtime/sim/clock_and_rng.py",
        "import services.runtime.real.clock_and_rng",
    ),
}


def _copy(to: Path) -> Path:
    """The four packages and their contracts, in a folder of their own."""
    for source in package_sources():
        path = to / source.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.text, "utf-8")
    shutil.copy(ROOT / "pyproject.toml", to)
    return to


def _lint(folder: Path) -> tuple[int, str]:
    # From the copy: with -P nothing of the checkout is on the path before it.
    run = subprocess.run(
        [BIN / "lint-imports", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return run.returncode, run.stdout + run.stderr


def _contracts() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return [contract["name"] for contract in found]


@pytest.mark.slow
def test_the_contracts_hold() -> None:
    code, text = _lint(ROOT)
    assert code == 0, text
    assert f"Contracts: {len(_contracts())} kept, 0 broken." in text


def test_every_contract_has_an_import_that_breaks_it() -> None:
    assert len(PLANTED) == len(_contracts())
    for name in _contracts():
        assert [start for start in PLANTED if name.startswith(start)], name


@pytest.mark.slow
def test_a_planted_import_breaks_its_contract(tmp_path: Path) -> None:
    """All planted at once; one run of the linter tells them all."""
    copy = _copy(tmp_path)
    for path, line in PLANTED.values():
        target = copy / path
        target.write_text(target.read_text("utf-8") + f"\n{line}\n", "utf-8")
    code, text = _lint(copy)
    assert code == 1, text
    broken = [line.removesuffix(" BROKEN") for line in text.splitlines() if "BROKEN" in line]
    assert sorted(broken) == sorted(_contracts()), text


@pytest.mark.slow
def test_the_copy_is_what_is_linted(tmp_path: Path) -> None:
    """A copy without a violation is green, so that the red above is of what was planted."""
    code, text = _lint(_copy(tmp_path))
    assert code == 0, text


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_under_contract(package: str) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert package in tomllib.load(file)["tool"]["importlinter"]["root_packages"]
