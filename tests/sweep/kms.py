"""The store of a key server: keys made, activated, revoked and destroyed; alone, and as a pair."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

from protocol.messages.kms.keys import (
    Activate,
    CreateKey,
    Destroy,
    GetAttributes,
    GetKeys,
    Locate,
    Revoke,
)
from protocol.terms import KeyId, KmipState, NodeName, RevocationReason
from tests.sweep.forensics import read_wrapped_keys
from tests.sweep.scene import Scene
from tests.sweep.story import State, Step, Story

VCENTER: Final = NodeName("vcenter")
_MANY: Final = 3
_SECRET: Final = b"sweep"  # of the fingerprints that values are compared by
_GONE: Final = "no material"

Do = Callable[[Scene, int], Awaitable[object]]


class KeyServer(Story):
    """A key server alone. A state has, by server and key, the KMIP state and the key's value."""

    name = "kms"
    watched: ClassVar[tuple[NodeName, ...]] = (NodeName("kms"),)
    topology: ClassVar[Mapping[str, Any]] = {"hosts": 1, "vms": 1}

    def steps(self) -> tuple[Step, ...]:
        return (
            Step("create a key", self._create("first"), _becomes_made(KmipState.PRE_ACTIVE)),
            Step("activate it", self._move("first", Activate), _becomes_moved(KmipState.ACTIVE)),
            Step(
                "create an active key",
                self._create("second", True),
                _becomes_made(KmipState.ACTIVE),
            ),
            Step(
                "deactivate the first",
                self._move("first", Revoke),
                _becomes_moved(KmipState.DEACTIVATED),
            ),
            Step("reboot", self._reboot, lambda old, new: old == new),
            Step(
                "destroy the first",
                self._move("first", Destroy),
                _becomes_moved(KmipState.DESTROYED),
                removes=True,
            ),
            Step("compromise the second", self._compromise, _becomes_moved(KmipState.COMPROMISED)),
            Step("create three keys at once", self._create_many, _made_many, between=_made_some),
        )

    async def look(self, scene: Scene) -> State:
        return await _read_keys(scene, self.watched)

    async def find_remains(self, scene: Scene, gone: State, now: State) -> list[str]:
        """Of a destroyed key neither its value nor the box that it lay in is anywhere."""
        found = []
        for name in gone:
            server, key = name.split()
            if not now.get(name, "").startswith(f"{KmipState.DESTROYED.value},"):
                continue
            box: bytes = scene.notes["wrapped"][key]
            for path, data in _files(scene, NodeName(server)):
                if box in data:
                    found.append(f"{key} was destroyed, and lies in {path} of {server}")
        return found

    # ---- steps ------------------------------------------------------------------------------

    async def _make_key(self, scene: Scene, name: str, activate: bool) -> None:
        """The same operation at each try: it makes one key."""
        message = CreateKey(operation_id=f"sweep-{name}", activate=activate, get=True)
        made = await scene.as_node(VCENTER, self.watched[0], message)
        scene.notes[name] = made.key_id
        if made.material is not None:
            (value,) = made.material.keys
            scene.notes.setdefault("values", {}).setdefault(made.key_id, value.fingerprint(_SECRET))

    def _create(self, name: str, activate: bool = False) -> Do:
        async def do(scene: Scene, attempt: int) -> None:
            await self._make_key(scene, name, activate)

        return do

    async def _create_many(self, scene: Scene, attempt: int) -> None:
        async with asyncio.TaskGroup() as group:
            made = [
                group.create_task(_quietly(self._make_key(scene, f"many-{n}", True)))
                for n in range(_MANY)
            ]
        for task in made:
            if (error := task.result()) is not None:
                raise error

    def _move(self, name: str, message: type[Activate] | type[Revoke] | type[Destroy]) -> Do:
        async def do(scene: Scene, attempt: int) -> None:
            await scene.ask(self.watched[0], message(key_id=scene.notes[name]))

        return do

    async def _compromise(self, scene: Scene, attempt: int) -> None:
        key: KeyId = scene.notes["second"]
        reason = RevocationReason.KEY_COMPROMISE
        await scene.ask(self.watched[0], Revoke(key_id=key, reason=reason))

    async def _reboot(self, scene: Scene, attempt: int) -> None:
        for server in self.watched:
            await scene.lab.power_off(server, "crash")
            await scene.lab.power_on(server)
        await scene.settle()


class KeyServerPair(KeyServer):
    """Two that replicate: what one has answered, both have, unless one is marked as down."""

    name = "kms-pair"
    watched: ClassVar[tuple[NodeName, ...]] = (NodeName("kms-1"), NodeName("kms-2"))
    topology: ClassVar[Mapping[str, Any]] = {"hosts": 1, "vms": 1, "kms": 2}
    shows_durable = False  # the other one shows what is not told to it yet, and is told it

    def parts(self, state: State) -> tuple[State, ...]:
        return tuple(_of(server, state) for server in self.watched)


async def _quietly(work: Awaitable[None]) -> Exception | None:
    """What it raised; the others go on."""
    try:
        await work
    except Exception as error:
        return error
    return None


async def _read_keys(scene: Scene, servers: Iterable[NodeName]) -> State:
    found: dict[str, str] = {}
    known = scene.notes.setdefault("values", {})
    for server in servers:
        ids = (await scene.ask(server, Locate())).key_ids
        listed = (await scene.ask(server, GetAttributes(key_ids=ids))).keys
        answer = await scene.as_node(VCENTER, server, GetKeys(key_ids=ids))
        for key, value in zip(listed, answer.values, strict=True):
            text = _GONE
            if value.index is not None:
                text = answer.material.keys[value.index].fingerprint(_SECRET)
                if known.setdefault(key.key_id, text) != text:
                    text = "another value than before"
            found[f"{server} {key.key_id}"] = f"{key.state.value}, {text}"
        scene.notes.setdefault("wrapped", {}).update(read_wrapped_keys(_files(scene, server)))
    return found


def _files(scene: Scene, server: NodeName) -> list[tuple[str, bytes]]:
    return list(scene.lab.world.store(server).images())


def _of(server: NodeName, state: State) -> State:
    return {name: value for name, value in state.items() if name.startswith(f"{server} ")}


def _new(old: State, new: State) -> set[str] | None:
    """The keys that came, the same on every server; None when something else differs."""
    if any(new.get(name) != old[name] for name in old):
        return None
    more = [(name.split()[1], new[name]) for name in new if name not in old]
    servers = {name.split()[0] for name in new}
    alike = all(more.count(each) == len(servers) for each in more)
    return {key for key, _ in more} if alike else None


def _becomes_made(state: KmipState) -> Callable[[State, State], bool]:
    def became(old: State, new: State) -> bool:
        values = [new[name] for name in new if name not in old]
        whole = all(v.startswith(state.value) and _sound(v) for v in values)
        return whole and len(_new(old, new) or ()) == 1

    return became


def _made_many(old: State, new: State) -> bool:
    return len(_new(old, new) or ()) == _MANY and _came_sound(old, new)


def _made_some(old: State, new: State) -> bool:
    return 0 < len(_new(old, new) or ()) < _MANY and _came_sound(old, new)


def _came_sound(old: State, new: State) -> bool:
    return all(_sound(value) for name, value in new.items() if name not in old)


def _becomes_moved(state: KmipState) -> Callable[[State, State], bool]:
    """One key is in this state on every server, and nothing else differs."""

    def became(old: State, new: State) -> bool:
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        one = len({name.split()[1] for name in changed}) == 1
        every = len(changed) == len({name.split()[0] for name in new})
        return one and every and all(_as(new.get(name, ""), state) for name in changed)

    return became


def _as(told: str, state: KmipState) -> bool:
    wanted = state is not KmipState.DESTROYED
    return told.startswith(f"{state.value},") and _sound(told) is wanted


def _sound(told: str) -> bool:
    return not told.endswith((_GONE, "another value than before"))
