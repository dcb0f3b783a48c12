"""What seals a key server's keys: its KEK rotated, its root another one, and back again."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from typing import Any, ClassVar, Final

import msgspec

from lab.schema.errors import KeysteadError
from protocol.messages.kms.administration import ChangeRoot, QueryCustody, RotateKek
from protocol.terms import NodeName, RootKind
from tests.sweep.kms import KeyServer
from tests.sweep.scene import Scene
from tests.sweep.story import State, Step

SERVER: Final = NodeName("kms-9")
_KEYS: Final = 3
_LOOK_S: Final = 1.0
_LOOKS: Final = 60  # until a rotation has come to its end
_RING: Final = "SELECT box FROM ring"
_DATABASE: Final = "databases/keys.db"


class KeyServerCustody(KeyServer):
    """A key server with a TPM, which looks at one key in a transaction of a rotation. A state has
    its keys as in ``KeyServer``, the kind of its root and the number of its KEK."""

    name = "kms-custody"
    watched: ClassVar[tuple[NodeName, ...]] = (SERVER,)
    topology: ClassVar[Mapping[str, Any]] = {"hosts": 1, "vms": 1, "knobs": {"rewrap_keys": 1}}

    async def prepare(self, scene: Scene) -> None:
        await super().prepare(scene)
        spec = scene.lab.spec(NodeName("kms"))
        tpm = scene.lab.spec(scene.lab.hosts()[0]).tpm
        await scene.lab.add_node(msgspec.structs.replace(spec, node=SERVER, tpm=tpm))
        await scene.lab.power_on(SERVER)
        for number in range(_KEYS):
            await self._make_key(scene, f"key-{number}", True)

    def steps(self) -> tuple[Step, ...]:
        file, sealed = RootKind.KEYFILE, RootKind.TPM
        return (
            Step("rotate the KEK", _rotate(1), _as("kek", "2")),
            Step("seal the ring by the TPM", _seal(sealed), _as("root", sealed), removes=True),
            Step("reboot", self._reboot, lambda old, new: old == new),
            Step("rotate it again", _rotate(2), _as("kek", "3")),
            Step("seal the ring by a key file", _seal(file), _as("root", file), removes=True),
            Step("reboot with the key file", self._reboot, lambda old, new: old == new),
        )

    async def look(self, scene: Scene) -> State:
        keys = await super().look(scene)
        now = await scene.ask(SERVER, QueryCustody())
        scene.notes.setdefault("rings", {}).setdefault(now.root, set()).update(_rings(scene))
        return {**keys, "root": now.root.value, "kek": str(now.kek)}

    async def find_remains(self, scene: Scene, gone: State, now: State) -> list[str]:
        """Neither the file of a root that is no more, nor a ring that it opens, is anywhere."""
        if gone["root"] == now["root"]:
            return []
        old: set[bytes] = scene.notes["rings"][RootKind(gone["root"])]
        found = [
            f"a ring under the root {gone['root']} lies in {path}"
            for path, data in scene.lab.world.store(SERVER).images()
            if any(box in data for box in old)
        ]
        if now["root"] != RootKind.KEYFILE:
            paths = [path for path, _ in scene.lab.world.store(SERVER).images()]
            found += [f"the old root lies in {path}" for path in paths if "master.key" in path]
        return found


def _rings(scene: Scene) -> set[bytes]:
    found: set[bytes] = set()
    for path, data in scene.lab.world.store(SERVER).images():
        if path == _DATABASE:
            with closing(sqlite3.connect(":memory:")) as connection:
                connection.deserialize(data)
                found |= {box for (box,) in connection.execute(_RING)}
    return found


def _rotate(after: int) -> Callable[[Scene, int], Awaitable[object]]:
    """To its end: every key is under the new KEK, and the old one has left the ring."""

    async def do(scene: Scene, attempt: int) -> None:
        await scene.ask(SERVER, RotateKek(after=after))
        for _ in range(_LOOKS):
            if (await scene.ask(SERVER, QueryCustody())).keks == 1:
                return
            await scene.lab.sleep(_LOOK_S)
        raise KeysteadError("KS-PRODUCT-001", f"a rotation of {SERVER} does not come to its end")

    return do


def _seal(root: RootKind) -> Callable[[Scene, int], Awaitable[object]]:
    async def do(scene: Scene, attempt: int) -> None:
        if (await scene.ask(SERVER, QueryCustody())).root is not root:
            await scene.ask(SERVER, ChangeRoot(root=root))

    return do


def _as(name: str, value: str) -> Callable[[State, State], bool]:
    """One entry of the state is another, and nothing else."""

    def became(old: State, new: State) -> bool:
        return new == {**old, name: value} != old

    return became
