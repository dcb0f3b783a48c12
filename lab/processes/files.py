"""What lies on the disks and datastores of a lab of real processes, behind its nodes' backs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from lab.logs.read import NodeLogs
from lab.machines.roster import Roster
from lab.topology.secret_files import read_soon
from protocol.errors import NotAvailable
from protocol.messages.agent import NodeRecord
from protocol.terms import NodeName, VmName
from services.runtime.real.trees import IMAGES, TREES
from services.runtime.real.world import WRITTEN

_ANY: Final = NodeName("")


class LabFiles:
    """The part of ``LabCore`` that is about files; ``folder`` is the lab's.

    ``NotAvailable`` for what lies on another machine.
    """

    folder: Path
    roster: Roster | None

    def _lies_here(self, node: NodeName = _ANY, array: str = "") -> None:
        if self.roster is None:
            return
        machine = self.roster.of_node(node)
        where = machine.name if machine else self.roster.arrays.get(array, "")
        if node == _ANY and not array:
            where = ", ".join(self.roster.machines)
        if where:
            what = f"the files of {node or array or 'all nodes'}"
            raise NotAvailable(f"{what} lie on machine {where}, where nobody looks from here")

    async def tpm_nv(self, node: NodeName) -> bytes:
        self._lies_here(node)

        def read() -> bytes:
            path = self.folder / "tpm" / f"{node}.nv"
            return path.read_bytes() if path.is_file() else b""

        return await asyncio.to_thread(read)

    async def log_lines(self, kind: str, since: float) -> list[NodeRecord]:
        logs = NodeLogs(self.folder / "logs")
        return [line for line in await asyncio.to_thread(logs.read, since) if line.kind == kind]

    async def at_rest(self) -> list[tuple[str, bytes]]:
        self._lies_here()
        return await asyncio.to_thread(lambda: list(_files(self.folder)))

    async def named_file(self, path: str) -> bytes:
        return await read_soon(path)

    async def disk_file(self, node: NodeName, path: str) -> bytes:
        self._lies_here(node)
        return await asyncio.to_thread((self.folder / "nodes" / node / WRITTEN / path).read_bytes)

    async def disk_images(self, node: NodeName) -> list[tuple[str, bytes]]:
        self._lies_here(node)

        def read() -> list[tuple[str, bytes]]:
            disk = self.folder / "nodes" / node / "disk"
            files = [file for tree in TREES for file in sorted((disk / tree).rglob("*"))]
            return [
                (str(file.relative_to(disk)), file.read_bytes()) for file in files if file.is_file()
            ]

        return await asyncio.to_thread(read)

    async def put_disk_file(self, node: NodeName, path: str, data: bytes) -> None:
        self._lies_here(node)

        def put() -> None:
            for tree in IMAGES:  # in place: a name of the synced image is a link to one of these
                (self.folder / "nodes" / node / "disk" / tree / path).write_bytes(data)

        await asyncio.to_thread(put)

    async def datastore_file(self, datastore: str, vm: VmName, file: str) -> bytes:
        return await asyncio.to_thread(self._vm_file(datastore, vm, file).read_bytes)

    async def spoil(self, datastore: str, vm: VmName, file: str, data: bytes) -> None:
        def over() -> None:
            with self._vm_file(datastore, vm, file).open("r+b") as there:
                there.write(data)

        await asyncio.to_thread(over)

    def _vm_file(self, datastore: str, vm: VmName, file: str) -> Path:
        self._lies_here(array=datastore)
        return self.folder / "arrays" / datastore / "vms" / vm / file


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below the folder that is still there when it is read."""
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(folder)), path.read_bytes()
