"""Any one file of a node that is cut, altered or gone: harmless, or told by name. None is silent.

What is told is a screen, a state of the node, or a record of level warning or error; in words,
not in names of our classes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.damage.nodes import Nodes, copied, look, played, template

pytestmark = pytest.mark.lab

HOST_DISK = "nodes/esxi-001/disk"
FILES = (
    "arrays/datastore-a/locks/vm-01",
    "arrays/datastore-a/vms/vm-01/disk-2.vmdk",
    "arrays/datastore-a/vms/vm-01/power",
    "arrays/datastore-a/vms/vm-01/vm-01.vmx",
    "nodes/esxi-001/boots",
    "nodes/esxi-001/boots.twin",
    f"{HOST_DISK}/contents/bootbank/boot.cfg",
    f"{HOST_DISK}/contents/bootbank/state.tgz",
    f"{HOST_DISK}/synced/+bootbank/boot.cfg",
    f"{HOST_DISK}/synced/+bootbank/state.tgz",
    f"{HOST_DISK}/written/bootbank/boot.cfg",
    f"{HOST_DISK}/written/bootbank/state.tgz",
    "nodes/vcenter/boots",
    "nodes/vcenter/boots.twin",
    "nodes/vcenter/disk/databases/vcenter.commits",
    "nodes/vcenter/disk/databases/vcenter.db",
    "nodes/vcenter/disk/databases/vcenter.db-shm",
    "nodes/vcenter/disk/databases/vcenter.db-wal",
    "tpm/esxi-001.nv",
    "tpm/maker.key",
)
NETWORK = ("bus.unreachable", "uplink.failed", "provider.contact")
INTERNAL = re.compile(
    r"[A-Z][a-z]+Error|Exception|Traceback|msgspec|sqlite3|NoneType|0x[0-9a-f]{6}"
)


def _flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[min(int(len(data) * at), len(data) - 1)] ^= 0x10
    path.write_bytes(data)


def _cut(path: Path, to: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * to)])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: _cut(path, 0),
    "cut": lambda path: _cut(path, 0.6),
    "flipped at its begin": lambda path: _flip(path, 0),
    "flipped in its midst": lambda path: _flip(path, 0.5),
    "flipped near its end": lambda path: _flip(path, 0.93),
    "gone": Path.unlink,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "lab"
    folder.mkdir()
    template(folder)
    return folder


@pytest.fixture(scope="module")
def undamaged(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    copy = copied(whole, tmp_path_factory.mktemp("undamaged") / "lab")
    found: dict[str, object] = asyncio.run(played(copy, look))
    assert found["esxi-001"] == found["vcenter"] == "running"
    assert "Error" not in str(found)
    return found


def test_all_files_of_the_nodes_are_damaged_here(whole: Path) -> None:
    files = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    assert sorted(str(p) for p in files if p.parts[0] != "identity") == sorted(FILES)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("file", FILES)
def test_one_damaged_file_is_harmless_or_told(
    whole: Path,
    undamaged: dict[str, object],
    tmp_path: Path,
    file: str,
    damage: Callable[[Path], object],
) -> None:
    copy = copied(whole, tmp_path / "lab")
    damage(copy / file)
    found, told = asyncio.run(_look(copy))
    assert not [text for text in told if INTERNAL.search(text)]
    if file == f"{HOST_DISK}/written/bootbank/boot.cfg" and not (copy / file).exists():
        # A loader without its file has no options, which B0 records and B1 measures: a policy
        # that needs one of them stops the boot.
        assert found.pop("options") == [[]]
        undamaged = {name: value for name, value in undamaged.items() if name != "options"}
    assert found == undamaged or told


async def _look(folder: Path) -> tuple[dict[str, object], list[str]]:
    nodes = Nodes(folder)
    found = await look(nodes)
    told = [s.screen for s in nodes.statuses().values() if s.screen]
    told += [
        f"{r.kind}: {r.fields}"
        for r in nodes.records
        if r.level in ("warning", "error") and r.kind not in NETWORK
    ]
    await nodes.crash()
    return found, told
