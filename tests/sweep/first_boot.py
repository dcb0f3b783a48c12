"""The first boot of a host, a key server and a vCenter: what each makes then, it makes whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from lab.schema.commands import Esx
from lab.schema.errors import KeysteadError
from protocol.messages.agent import NodeRunState
from protocol.messages.host.session import QueryHost
from protocol.messages.kms.keys import CreateKey, GetKeys, Locate
from protocol.terms import NodeName, ProtectionMode
from tests.sweep.scene import Scene
from tests.sweep.story import State, Step, Story

VCENTER: Final = NodeName("vcenter")
_HOST, _KMS, _OTHER = NodeName("esxi-009"), NodeName("kms-9"), NodeName("vcenter-9")
_LIKE: Final = {_HOST: NodeName("esxi-001"), _KMS: NodeName("kms"), _OTHER: VCENTER}
_OFF: Final = "was never on"
_SECRET: Final = b"sweep"  # of the fingerprints that values are compared by

Became = Callable[[State, State], bool]


class FirstBoot(Story):
    """Machines whose disks and TPM are new. A state has what each of them says of itself."""

    name = "first-boot"
    watched = (_HOST, _KMS, _OTHER)
    topology: ClassVar[Mapping[str, Any]] = {
        "hosts": 1,
        "vms": 1,
        "knobs": {"archive_counter": True},  # so that the TPM is written to as well
    }
    shows_durable = False  # as ``KeyStore``

    async def prepare(self, scene: Scene) -> None:
        """Three machines that were never on."""
        for node, like in _LIKE.items():
            await scene.lab.add_node(msgspec.structs.replace(scene.lab.spec(like), node=node))

    def steps(self) -> tuple[Step, ...]:
        boots = (
            Step(f"first boot of {node}", _power_on(node), _serves(node)) for node in self.watched
        )
        return (
            *boots,
            Step("create the first key", _create, _first_key),
            Step("enable persistence", _enable, _enabled),
        )

    async def look(self, scene: Scene) -> State:
        found: dict[str, str] = {}
        for node in self.watched:
            running = scene.lab.agent.machine(node).state is NodeRunState.RUNNING
            found[node] = "serves" if running else _OFF
        if found[_HOST] == "serves":
            now = (await scene.ask(_HOST, QueryHost())).summary
            found["mode"] = now.protection_mode.value
            found["recovery key"] = now.recovery_id
            found["persistence"] = str(now.key_persistence)
        if found[_KMS] == "serves":
            ids = (await scene.ask(_KMS, Locate())).key_ids
            answer = await scene.as_node(VCENTER, _KMS, GetKeys(key_ids=ids))
            for key, value in zip(ids, answer.values, strict=True):
                material = None if value.index is None else answer.material.keys[value.index]
                found[f"key {key}"] = "lost" if material is None else material.fingerprint(_SECRET)
        return found


def _power_on(node: NodeName) -> Callable[[Scene, int], Awaitable[object]]:
    async def do(scene: Scene, attempt: int) -> None:
        status = await scene.lab.power_on(node)
        if status.state is not NodeRunState.RUNNING:
            raise KeysteadError("KS-PRODUCT-001", f"{node}: {status.state.value} {status.screen}")

    return do


async def _create(scene: Scene, attempt: int) -> None:
    """The same operation at each try."""
    message = CreateKey(operation_id="sweep-first", activate=True, get=True)
    await scene.as_node(VCENTER, _KMS, message)


async def _enable(scene: Scene, attempt: int) -> None:
    """A host whose TPM failed at its first boot has it seal the configuration first (CFG-02)."""
    lines = ["system security keypersistence enable"]
    if (await scene.ask(_HOST, QueryHost())).summary.protection_mode is ProtectionMode.NONE:
        lines.insert(0, "system settings encryption set --mode=TPM")
    for line in lines:
        answer = await scene.do(Esx(host=_HOST, arguments=tuple(line.split())))
        if answer.exit_code:
            raise KeysteadError("KS-PRODUCT-001", f"esxcli {line}: {answer.output}")


# ---- what steps make of a state ------------------------------------------------------------------


def _changes(old: State, new: State) -> dict[str, Any]:
    return {name: new.get(name) for name in {**old, **new} if old.get(name) != new.get(name)}


def _serves(node: NodeName) -> Became:
    def became(old: State, new: State) -> bool:
        changed = _changes(old, new)
        described = {"mode", "recovery key", "persistence"} if node == _HOST else set()
        return changed.pop(node, "") == "serves" and changed.keys() <= described

    return became


def _first_key(old: State, new: State) -> bool:
    values = [value for name, value in _changes(old, new).items() if name.startswith("key ")]
    return len(values) == 1 == len(_changes(old, new)) and values != ["lost"]


def _enabled(old: State, new: State) -> bool:
    changed = _changes(old, new)
    return changed.pop("persistence", "") == "True" and changed.keys() <= {"mode", "recovery key"}
