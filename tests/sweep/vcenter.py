"""The database of vCenter: VMs, providers and hosts that come and go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from chaos.observe.look import all_hosts, all_known_keys, all_providers, all_vms
from protocol.errors import NotFound
from protocol.messages.base import Request
from protocol.messages.vcenter.inventory import AddHost, RemoveHost
from protocol.messages.vcenter.providers import (
    GenerateKey,
    KmipServer,
    MarkDefault,
    RegisterKmsCluster,
    UnregisterKmsCluster,
)
from protocol.messages.vcenter.vms import CreateVm, DestroyVm, EncryptVm
from protocol.terms import ClusterName, NodeName, ProviderId, VmName
from tests.sweep.scene import Scene
from tests.sweep.story import State, Step, Story

VCENTER: Final = NodeName("vcenter")
_KMS, _FIRST, _NEW_HOST = NodeName("kms"), NodeName("esxi-001"), NodeName("esxi-009")
_PLAIN, _SECRET, _SECOND = VmName("plain"), VmName("secret"), ProviderId("second")
_CLUSTER: Final = ClusterName("cluster-a")

Became = Callable[[State, State], bool]


class VCenterDatabase(Story):
    """A state is what vCenter says of its inventory when it has looked at its hosts.

    A VM is encrypted when vCenter names its key: of an orphaned one it tells no crypto state.
    """

    name = "vcenter"
    watched = (VCENTER,)
    topology: ClassVar[Mapping[str, Any]] = {"hosts": 1, "vms": 1}

    async def prepare(self, scene: Scene) -> None:
        """A machine for the host that is added later."""
        spec = msgspec.structs.replace(scene.lab.spec(_FIRST), node=_NEW_HOST)
        await scene.lab.add_node(spec)
        await scene.lab.power_on(_NEW_HOST)

    def steps(self) -> tuple[Step, ...]:
        plain = CreateVm(operation_id="plain", vm=_PLAIN, cluster=_CLUSTER)
        encrypt = EncryptVm(operation_id="encrypt", vm=_PLAIN)
        secret = CreateVm(operation_id="secret", vm=_SECRET, cluster=_CLUSTER, encrypted=True)
        servers = (KmipServer(name="kms", node=_KMS),)
        provider = RegisterKmsCluster(provider=_SECOND, servers=servers)
        plain_is, secret_is, second_is = f"vm {_PLAIN}", f"vm {_SECRET}", f"provider {_SECOND}"
        return (
            Step("create a VM", _ask(plain), _is(plain_is, "clear")),
            Step("encrypt it", _ask(encrypt), _is(plain_is, "encrypted", keys=1), _key_only),
            Step(
                "create an encrypted VM",
                _ask(secret),
                _is(secret_is, "encrypted", keys=1),
                _key_only,
            ),
            Step("add a provider", _ask(provider), _is(second_is, "there")),
            Step("make it the default", _ask(MarkDefault(provider=_SECOND)), _default),
            Step("generate a key", _ask(GenerateKey(operation_id="key")), _key_only),
            Step("reboot", _reboot, lambda old, new: old == new),
            Step("delete the provider", _ask(UnregisterKmsCluster(provider=_SECOND)), _deleted),
            Step("add a host", _ask(AddHost(host=_NEW_HOST, cluster=_CLUSTER)), _added),
            Step("destroy a VM", _ask(DestroyVm(vm=_PLAIN)), _destroyed),
            Step("remove the host", _ask(RemoveHost(host=_NEW_HOST)), _removed),
        )

    async def look(self, scene: Scene) -> State:
        lab, found = scene.lab, dict[str, str]()
        for vm in await all_vms(lab, VCENTER):
            found[f"vm {vm.vm}"] = "clear" if vm.key is None else "encrypted"
        for provider in await all_providers(lab, VCENTER):
            found[f"provider {provider.provider}"] = "default" if provider.default else "there"
        for host in await all_hosts(lab, VCENTER):
            found[f"host {host.host}"] = host.connection.value
        for key in await all_known_keys(lab, VCENTER):
            found[f"key {key}"] = "known"
        return found


def _ask(message: Request[Any]) -> Callable[[Scene, int], Awaitable[object]]:
    """The same message at each try; what it wants away may be gone at the second."""

    async def do(scene: Scene, attempt: int) -> None:
        try:
            await scene.ask(VCENTER, message)
        except NotFound:
            if attempt == 1:
                raise

    return do


async def _reboot(scene: Scene, attempt: int) -> None:
    await scene.lab.power_off(VCENTER, "crash")
    await scene.lab.power_on(VCENTER)
    await scene.settle()


# ---- what steps make of a state ------------------------------------------------------------------


def _differences(old: State, new: State) -> dict[str, Any]:
    return {name: new.get(name) for name in {**old, **new} if old.get(name) != new.get(name)}


def _keys_more(changed: dict[str, Any]) -> int:
    """How many keys became known; they leave ``changed``."""
    keys = [name for name, value in changed.items() if name.startswith("key ") and value]
    for name in keys:
        del changed[name]
    return len(keys)


def _is(name: str, value: str | None, *, keys: int = 0) -> Became:
    def became(old: State, new: State) -> bool:
        changed = _differences(old, new)
        return _keys_more(changed) == keys and changed == {name: value}

    return became


def _key_only(old: State, new: State) -> bool:
    """A new key is known, and its VM is not encrypted yet."""
    changed = _differences(old, new)
    return _keys_more(changed) == 1 and not changed


def _default(old: State, new: State) -> bool:
    changed = _differences(old, new)
    return changed == {"provider kms-provider": "there", f"provider {_SECOND}": "default"}


def _deleted(old: State, new: State) -> bool:
    return _differences(old, new) == {f"provider {_SECOND}": None}


def _added(old: State, new: State) -> bool:
    return _differences(old, new) == {f"host {_NEW_HOST}": "connected"}


def _destroyed(old: State, new: State) -> bool:
    """Its key is nobody's any more, and vCenter need not know it."""
    changed = _differences(old, new)
    gone = [name for name, value in changed.items() if value is None]
    kinds = sorted(name.split()[0] for name in gone)
    return len(gone) == len(changed) and f"vm {_PLAIN}" in gone and kinds == ["key", "vm"]


def _removed(old: State, new: State) -> bool:
    return _differences(old, new) == {f"host {_NEW_HOST}": None}
