"""Files of a lab's own that are cut short, altered, gone or a folder: each is harmless, or told by
its name with what helps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli.conftest import Cli, until

pytestmark = pytest.mark.lab

SMALL = ("--hosts", "1", "--vms", "1", "--tpm", "none", "--pace", "100")
WAYS = ("cut", "altered", "gone", "a folder")
SEALED_BY = {"identity/control/supervisor.json": "faults"}  # without the one the other is shut
CHOSEN = (
    ("lab.json", "gone"),
    ("identity/node/kms.json", "cut"),
    ("identity/public/esxi-001.json", "altered"),
    ("identity/control/supervisor.json", "gone"),
    ("faults", "altered"),
    ("broker-data/endpoint.json", "a folder"),
)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    made = Cli(tmp_path_factory.mktemp("damages") / "state")
    yield made
    made.end()


@pytest.fixture(scope="module")
def stopped(cli: Cli) -> Path:
    """The folder of a lab that was stopped in order; who damages it puts it right again."""
    cli.ok("up", *SMALL)
    cli.ok("down")
    return cli.home / "labs" / "default"


def damage(file: Path, way: str) -> None:
    data = file.read_bytes()
    match way:
        case "cut":
            file.write_bytes(data[: len(data) // 2])
        case "altered":
            middle = len(data) // 2
            file.write_bytes(data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])
        case "gone":
            file.unlink()
        case _:
            file.unlink()
            file.mkdir()


def own_files(folder: Path) -> list[str]:
    """All but those of nodes, and logs."""
    every = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(str(p) for p in every if p.parts[0] not in ("nodes", "arrays", "tpm", "logs"))


def works(cli: Cli) -> bool:
    """The VM is the one that was encrypted, and its keys are there."""
    (vm,) = cli.ok("get", "vms", "-o", "json").items()
    return vm["crypto"] == "unlocked" and cli("vm", "on", "vm-01").code == 0


def harmless_or_told(cli: Cli, folder: Path, name: str, way: str) -> None:
    whole = folder.with_name("copy")
    shutil.copytree(folder, whole)
    damage(folder / name, way)
    try:
        _harmless_or_told(cli, folder, name)
    finally:
        cli("down")
        shutil.rmtree(folder)
        whole.rename(folder)
    cli.ok("list")


def _harmless_or_told(cli: Cli, folder: Path, name: str) -> None:
    ran = cli("up")
    assert "Traceback" not in ran.err and "KS-INT" not in ran.err, ran
    if ran.code != 0:
        told = SEALED_BY.get(name, name)
        assert f"{folder / told}" in ran.err and "  fix: " in ran.err, ran
        if "KS-ID-001" in ran.err or f"move {folder / told} away" in ran.err:
            cli("down")
            (folder / name).rename(folder / "moved away")
            ran = cli.ok("up")  # the cure that it names
    if "running after" in ran.out:
        assert until(lambda: works(cli), 30), "the VM does not work"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), CHOSEN)
def test_a_damaged_file(cli: Cli, stopped: Path, name: str, way: str) -> None:
    harmless_or_told(cli, stopped, name, way)


@pytest.mark.sweep
@pytest.mark.timeout(3000)
def test_every_file_in_every_way(cli: Cli, stopped: Path) -> None:
    failed = []
    for name in own_files(stopped):
        for way in WAYS:
            try:
                harmless_or_told(cli, stopped, name, way)
            except AssertionError as error:
                failed.append(f"{name} {way}: {error}")
    assert failed == []
