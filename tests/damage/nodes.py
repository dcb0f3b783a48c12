"""Nodes over the real drivers without a network: enough to boot from a folder, and to look.

A host boots and runs its VMs without anybody (decision 7), and a vCenter serves its console.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from lab.brokers.identities import Identities
from protocol.errors import NotSent, ProductError
from protocol.messages.agent import (
    AddNode,
    NodeRecord,
    NodeSpec,
    NodeStatus,
    PowerOff,
    PowerOn,
    TpmBackend,
)
from protocol.messages.base import Reply, Request, Sealed
from protocol.messages.host.crypto import (
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
    GetCryptoKeyStatus,
)
from protocol.messages.host.session import Esxcli, QueryHost
from protocol.messages.host.vms import GuestChallenge, HostCreateVm, HostPowerOnVm
from protocol.messages.vcenter.inventory import ListEvents
from protocol.messages.vcenter.providers import KmipServer, ListKmsClusters, RegisterKmsCluster
from protocol.secret import KeyMaterial
from protocol.terms import ClusterName, CryptoKeyId, KeyId, NodeName, ProviderId, Role, VmName
from services.catalog import recipe
from services.runtime.agent import Agent
from services.runtime.incarnation import Incarnation
from services.runtime.real.world import LabTime, LabWorld
from services.runtime.world import Wire, WireSink

HOST, VCENTER = NodeName("esxi-001"), NodeName("vcenter")
VM = VmName("vm-01")
PROVIDER = ProviderId("kms-provider")
HOST_KEY, VM_KEY = (CryptoKeyId(KeyId(name), PROVIDER) for name in ("host-key", "vm-key"))
PACE = 1000.0
SPECS = (
    NodeSpec(
        node=HOST,
        role=Role.ESXI,
        cluster=ClusterName("cluster-a"),
        tpm=TpmBackend.MODEL,
        knobs={"workload_period_s": 0, "autostart_window_s": 0},
        config={"vcenter": "", "datastore": "datastore-a"},
    ),
    NodeSpec(node=VCENTER, role=Role.VCENTER),
)
R = TypeVar("R", bound=Reply)


class _Unplugged(Wire):
    """A machine whose network cable is out."""

    violations = overruns = 0

    def __init__(self, *, first: bool) -> None:
        self._first = first

    async def open(self, sink: WireSink) -> None:
        if not self._first:
            await asyncio.Event().wait()  # nobody ever answers
        raise NotSent("there is no network")

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        raise NotSent("there is no network")

    async def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""


class _World(LabWorld):
    def wire(self, life: Incarnation) -> Any:
        tried = life in self._tried
        self._tried.add(life)
        return _Unplugged(first=not tried)

    _tried: ClassVar[set[Incarnation]] = set()


@dataclass
class Nodes:
    """The nodes of one folder, in this process."""

    folder: Path
    records: list[NodeRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        identities = Identities.load(self.folder)

        def keys(node: NodeName) -> Any:
            return identities.node(node).seed, identities.keyring(node)

        clock = LabTime(time.monotonic(), time.time(), PACE)
        self.world = _World(self.folder, "", keys, clock, 1)
        self.agent = Agent(self.world, recipe, self.records.append)

    async def boot(self) -> dict[NodeName, NodeStatus]:
        for spec in SPECS:
            await self.agent.handle(AddNode(spec=spec))
            await self.agent.handle(PowerOn(node=spec.node, wait=True))
        return self.statuses()

    def statuses(self) -> dict[NodeName, NodeStatus]:
        return {spec.node: self.agent.machine(spec.node).status() for spec in SPECS}

    async def ask(self, node: NodeName, message: Request[R]) -> R:
        return cast(R, await self.agent.machine(node).runner.ask(message, 600.0))

    async def crash(self) -> None:
        for spec in SPECS:
            await self.agent.handle(PowerOff(node=spec.node, way="crash"))


async def played(folder: Path, body: Callable[[Nodes], Awaitable[Any]]) -> Any:
    """Run ``body`` on the nodes of this folder, and crash them at its end."""
    nodes = Nodes(folder)
    try:
        return await body(nodes)
    finally:
        await nodes.crash()


async def make(nodes: Nodes) -> None:
    """A safe host with two persisted keys and a running encrypted VM; a vCenter with a provider."""
    await nodes.boot()
    await nodes.ask(HOST, Esxcli(arguments=tuple("system security keypersistence enable".split())))
    await nodes.ask(HOST, CryptoManagerHostPrepare())
    await nodes.ask(HOST, CryptoManagerHostEnable(key=HOST_KEY, material=_sealed(b"h")))
    option = "system settings kernel set -s execInstalledOnly -v TRUE"
    await nodes.ask(HOST, Esxcli(arguments=tuple(option.split())))
    await nodes.ask(HOST, HostCreateVm(vm=VM, blocks=2, key=HOST_KEY))
    await nodes.ask(HOST, HostPowerOnVm(vm=VM))
    servers = (KmipServer(name="kms", node=NodeName("kms")),)
    await nodes.ask(VCENTER, RegisterKmsCluster(provider=PROVIDER, servers=servers))


def _sealed(letter: bytes) -> Sealed:
    return Sealed.of(KeyMaterial(letter * 32))


async def look(nodes: Nodes) -> dict[str, object]:
    """Everything that the two nodes hold, as far as it may not depend on the boot."""
    status = await nodes.boot()
    found: dict[str, object] = {node: s.state.value for node, s in status.items()}
    found["options"] = [r.fields["options"] for r in nodes.records if r.fields.get("step") == "B0"]
    try:
        host = (await nodes.ask(HOST, QueryHost())).summary
        keys = (await nodes.ask(HOST, GetCryptoKeyStatus(keys=(HOST_KEY,)))).keys
        found["host"] = (host.crypto_state, host.key_persistence, host.protection_mode, keys)
        found["vms"] = [(vm.vm, vm.connection, vm.wanted, vm.missing) for vm in host.vms]
        await nodes.ask(HOST, HostPowerOnVm(vm=VM))
        await nodes.ask(HOST, GuestChallenge(vm=VM, nonce=b"n", blocks=(0, 1)))
    except ProductError as error:
        found["host"] = f"{type(error).__name__}: {error}"
    try:
        found["providers"] = (await nodes.ask(VCENTER, ListKmsClusters())).providers[0].provider
        events = (await nodes.ask(VCENTER, ListEvents(limit=100))).events
        found["events"] = [(event.event, event.at) for event in events][:1]
    except ProductError as error:
        found["providers"] = f"{type(error).__name__}: {error}"
    return found


def prepare(folder: Path) -> None:
    """Make what nodes need before they can be added."""
    Identities.create(folder, [spec.node for spec in SPECS])


def template(folder: Path) -> None:
    """Make the folder that is damaged: a process lives in it, and is killed."""
    prepare(folder)
    words = (sys.executable, "-m", "tests.damage.nodes", str(folder))
    subprocess.run(words, check=True, cwd=Path(__file__).parents[2])


def copied(source: Path, target: Path) -> Path:
    """A copy with the same hard links."""
    subprocess.run(("cp", "-a", str(source), str(target)), check=True)
    return target


async def _made_and_killed(folder: Path) -> None:
    await make(Nodes(folder))
    os._exit(0)  # no file is closed


if __name__ == "__main__":
    asyncio.run(_made_and_killed(Path(sys.argv[1])))
