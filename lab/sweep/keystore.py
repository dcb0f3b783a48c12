"""The key store of a host: persistence, keys that come and go, and the removal of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from lab.api.commands import Esx, HostRemoveKeys, VmCreate
from lab.errors import KeysteadError
from lab.sweep.forensics import lying
from lab.sweep.scene import Scene
from lab.sweep.story import State, Step, Story
from protocol.messages.host import GetCryptoKeyStatus, QueryHost
from protocol.terms import NodeName

HOST: Final = NodeName("esxi-001")
_PERSISTENCE: Final = "system security keypersistence"
_RECOVERY: Final = "system settings encryption recovery rotate"


class KeyStore(Story):
    """Looked at from the host alone: what it has after a boot, it has from its disk."""

    name = "keystore"
    watched = (HOST,)
    topology: ClassVar[Mapping[str, Any]] = {"hosts": 1, "vms": 1, "key_persistence": False}
    alone = True

    def steps(self) -> tuple[Step, ...]:
        on, off = _esx(f"{_PERSISTENCE} enable"), f"{_PERSISTENCE} disable"
        return (
            Step("enable persistence", on, _enabled, restores=True),
            Step("add a key", _add("first"), _grown, again=False),
            Step("add another key", _add("second"), _grown, again=False),
            Step("remove a key", _remove, _shrunk, removes=True),
            Step("reboot", _reboot, _brought_back, restores=True),
            Step("add a key after the reboot", _add("third"), _grown, again=False),
            Step("rotate the recovery key", _esx(_RECOVERY), _rotated),
            Step("add a fourth key", _add("fourth"), _grown, again=False),
            Step("disable persistence", _esx(off), _disabled),
            Step("enable it again", on, _enabled, restores=True),
            Step(
                "remove all stored keys",
                _esx(f"{off} --remove-all-stored-keys"),
                _emptied,
                removes=True,
            ),
        )

    async def look(self, scene: Scene) -> State:
        summary = (await scene.ask(HOST, QueryHost())).summary
        status = (await scene.ask(HOST, GetCryptoKeyStatus())).keys
        host = scene.service(HOST).host
        values = scene.notes.setdefault("values", {})
        found = {str(entry.key): entry.material.reveal() for entry in host.keys.entries()}
        scene.notes.setdefault("config keys", set()).add(host.archive.config_key.reveal())
        other = sorted(key for key in found if values.setdefault(key, found[key]) != found[key])
        stored = frozenset(str(entry.key) for entry in status if entry.stored)
        usable = frozenset(str(entry.key) for entry in status if entry.present)
        return {
            "persistence": summary.key_persistence,
            "stored": stored,
            "stored keys that cannot be used": stored - usable if summary.key_persistence else None,
            "keys of another value": other,
            "recovery key": summary.recovery_id,
        }

    async def left(self, scene: Scene, gone: State, now: State) -> list[str]:
        keys = gone["stored"] - now["stored"]
        values = {key: value for key, value in scene.notes["values"].items() if key in keys}
        files = list(scene.lab.world.store(HOST).images())
        found = lying(files, scene.notes["config keys"], values)
        return [f"{key} was removed, and lies in {path} of {HOST}" for key, path in found.items()]


def _esx(line: str) -> Any:
    async def do(scene: Scene, attempt: int) -> None:
        answer = await scene.do(Esx(host=HOST, arguments=tuple(line.split())))
        if answer.exit_code:
            raise KeysteadError("KS-PRODUCT-001", f"esxcli {line}: {answer.output}")

    return do


def _add(name: str) -> Any:
    """A new VM brings a new key; of a try that failed the name may be taken."""

    async def do(scene: Scene, attempt: int) -> None:
        await scene.do(VmCreate(f"{name}-{attempt}", encrypted=True))
        scene.notes["added"] = str(scene.service(HOST).host.keys.ids()[-1])

    return do


async def _remove(scene: Scene, attempt: int) -> None:
    """Behind vCenter's back, which would bring it again when it looks next."""
    await scene.cut_off((HOST,))
    await scene.do(HostRemoveKeys(host=HOST, keys=(scene.notes["added"],)))


async def _reboot(scene: Scene, attempt: int) -> None:
    await scene.lab.power_off(HOST, "crash")
    await scene.lab.power_on(HOST)
    await scene.rejoin()


def _but(old: State, new: State, *names: str) -> bool:
    """Whether nothing differs but these."""
    return all(old[name] == new[name] for name in old if name not in names)


def _enabled(old: State, new: State) -> bool:
    """What was in the store is in it, and what the host had in its memory too."""
    return bool(new["persistence"]) and old["stored"] <= new["stored"] and _sound(new)


def _sound(state: State) -> bool:
    return not state["stored keys that cannot be used"] and not state["keys of another value"]


def _grown(old: State, new: State) -> bool:
    more = new["stored"] - old["stored"]
    return len(more) == 1 and old["stored"] < new["stored"] and _but(old, new, "stored")


def _brought_back(old: State, new: State) -> bool:
    """vCenter brings again what was removed, for a VM needs it."""
    return old == new or _grown(old, new)


def _shrunk(old: State, new: State) -> bool:
    less = old["stored"] - new["stored"]
    return len(less) == 1 and new["stored"] < old["stored"] and _but(old, new, "stored")


def _rotated(old: State, new: State) -> bool:
    return old["recovery key"] != new["recovery key"] and _but(old, new, "recovery key")


def _disabled(old: State, new: State) -> bool:
    """The store is kept, and not used."""
    changed = ("persistence", "stored keys that cannot be used")
    return not new["persistence"] and _but(old, new, *changed)


def _emptied(old: State, new: State) -> bool:
    changed = ("persistence", "stored", "stored keys that cannot be used")
    return not new["persistence"] and not new["stored"] and _but(old, new, *changed)
