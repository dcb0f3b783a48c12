"""The key store of a host: persistence, keys that come and go, and the removal of all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final

from chaos.draws import Draws
from chaos.observe.guests import Guests
from lab.schema.commands import Esx, HostRemoveKeys, VmCreate
from lab.schema.errors import KeysteadError
from protocol.errors import ProductError
from protocol.messages.host.crypto import GetCryptoKeyStatus
from protocol.messages.host.session import QueryHost, VmSummary
from protocol.messages.host.vms import HostPowerOffVm, HostPowerOnVm
from protocol.terms import NodeName, PowerState
from tests.sweep.forensics import lying
from tests.sweep.scene import Scene
from tests.sweep.story import State, Step, Story

HOST: Final = NodeName("esxi-001")
_PERSISTENCE: Final = "system security keypersistence"
_SEAL: Final = "system settings encryption set --mode=TPM"
_RECOVERY: Final = "system settings encryption recovery rotate"


class KeyStore(Story):
    """Looked at from the host alone: what it has after a boot, it has from its disk.

    A host that could not save shows the configuration in its memory, but for which keys are stored,
    and saves that with the next change, at the latest with the hourly backup (DUR-01).
    """

    name = "keystore"
    watched = (HOST,)
    topology: ClassVar[Mapping[str, Any]] = {"hosts": 1, "vms": 1, "key_persistence": False}
    alone = True
    shows_durable = False

    async def prepare(self, scene: Scene) -> None:
        await scene.settle()
        scene.notes["guests"] = Guests(scene.lab, Draws(scene.lab.seed, "guests"))
        await self.after_step(scene)

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
            Step("seal again", _esx(_SEAL), lambda old, new: old == new),
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
        # In force, and on the disk once it is saved: the status of a key tells of the disk.
        stored = frozenset(str(entry.key) for entry in host.archive.now.store)
        usable = frozenset(str(entry.key) for entry in status if entry.present)
        return {
            "persistence": summary.key_persistence,
            "stored": stored,
            "stored keys that cannot be used": stored - usable if summary.key_persistence else None,
            "keys of another value": other,
            "recovery key": summary.recovery_id,
        }

    async def after_step(self, scene: Scene) -> None:
        """The disk of each new guest is filled, encrypted with a key that its VM's key wraps."""
        guests: Guests = scene.notes["guests"]
        for vm in await _vms(scene):
            if vm.vm not in guests.list_planted():
                async with _running(scene, vm):
                    await guests.plant(vm.vm, HOST)

    async def find_unusable(self, scene: Scene, state: State) -> list[str]:
        """A VM whose key is stored runs on it, and its guest reads what it has written."""
        guests: Guests = scene.notes["guests"]
        if not state["persistence"]:
            return []
        found = []
        for vm in await _vms(scene):
            if vm.vm in guests.list_planted() and state["stored"].issuperset(map(str, vm.keys)):
                try:
                    async with _running(scene, vm):
                        asked = await guests.challenge(vm.vm, HOST)
                except ProductError as error:
                    found.append(f"{vm.vm} does not run on a key that is stored: {error}")
                else:
                    if not asked.right:
                        found.append(f"what the guest of {vm.vm} wrote is lost: {asked.detail}")
        return found

    async def find_remains(self, scene: Scene, gone: State, now: State) -> list[str]:
        keys = gone["stored"] - now["stored"]
        values = {key: value for key, value in scene.notes["values"].items() if key in keys}
        files = list(scene.lab.world.store(HOST).images())
        found = lying(files, scene.notes["config keys"], values)
        return [f"{key} was removed, and lies in {path} of {HOST}" for key, path in found.items()]


async def _vms(scene: Scene) -> tuple[VmSummary, ...]:
    """Those that are whole: one whose creation was cut short may be registered without files."""
    vms = (await scene.ask(HOST, QueryHost())).summary.vms
    return tuple(vm for vm in vms if vm.keys)


@asynccontextmanager
async def _running(scene: Scene, vm: VmSummary) -> AsyncIterator[None]:
    """Powered on at the host itself for this long, if it is off."""
    if vm.power is PowerState.OFF:
        await scene.ask(HOST, HostPowerOnVm(vm=vm.vm))
    yield
    if vm.power is PowerState.OFF:
        await scene.ask(HOST, HostPowerOffVm(vm=vm.vm))


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
