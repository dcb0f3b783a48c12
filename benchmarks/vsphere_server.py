"""An API server in front of a lab of many VMs that answers at once: what the server itself costs.

``python -m benchmarks.vsphere_server FOLDER VMS`` prints its port. Each line of its input is the
number of a VM whose power changes then.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from lab.local.vsphere import ALLOCATIONS
from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.vsphere.http.listening import listening
from lab.vsphere.service import ApiServer
from protocol.terms import (
    ClusterName,
    CryptoMode,
    HostConnectionState,
    HostCryptoState,
    NodeName,
    PowerState,
    Role,
    VmConnectionState,
    VmCryptoState,
    VmName,
)

HOSTS = 32
PASSWORD = "benchmark"


class _Nothing:
    items = ()


class LargeLab:
    """A lab that answers at once. ``virtual``: it stands still, and is not asked again."""

    changes = sleeps = 0

    def __init__(self, vms: int, *, virtual: bool) -> None:
        self.virtual = virtual
        a = ClusterName("a")
        self.hosts = tuple(
            answers.Host(
                host=NodeName(f"esxi-{n:03}"), cluster=a, crypto_state=HostCryptoState.SAFE,
                connection=HostConnectionState.CONNECTED, machine=MachineState.RUNNING,
            )
            for n in range(HOSTS)
        )  # fmt: skip
        self.vms = tuple(
            answers.Vm(
                vm=VmName(f"vm-{n:04}"), cluster=a, host=self.hosts[n % HOSTS].host,
                power=PowerState.ON, connection=VmConnectionState.CONNECTED,
                crypto=VmCryptoState.UNLOCKED, key=answers.KeyRef(f"kms/{n:032x}"),
            )
            for n in range(vms)
        )  # fmt: skip
        self.clusters = (answers.Cluster(cluster=a, crypto_mode=CryptoMode.ON_DEMAND),)
        self.nodes = (
            answers.Node(
                node=NodeName("vcenter"), role=Role.VCENTER, site="main", cluster=ClusterName(""),
                state=MachineState.RUNNING, boot=1, version="8.0U3",
            ),
        )  # fmt: skip

    def toggle(self, number: int) -> None:
        """Another power state of one VM."""
        vm = self.vms[number]
        power = PowerState.OFF if vm.power is PowerState.ON else PowerState.ON
        changed = msgspec.structs.replace(vm, power=power)
        self.vms = (*self.vms[:number], changed, *self.vms[number + 1 :])

    async def do(self, command: Any, vcenter: str = "", user: str = "") -> Any:
        """As ``Executor.do``."""
        match command:
            case c.GetHosts():
                return answers.HostList(items=self.hosts)
            case c.GetVms():
                return answers.VmList(items=self.vms)
            case c.GetClusters():
                return answers.ClusterList(items=self.clusters)
            case c.GetClock():
                return answers.LabClock(time=time.time(), pace=1.0)
            case c.GetNodes():
                return answers.NodeList(items=self.nodes)
        return _Nothing

    async def look(self, command: Any) -> Any:
        """As ``Executor.look``."""
        return await self.do(command)

    async def sleep(self, seconds: float) -> None:
        """As ``Executor.sleep``."""
        raise AssertionError("nobody waits here")


async def _main(folder: str, vms: str) -> None:
    gc.set_threshold(ALLOCATIONS)
    lab = LargeLab(int(vms), virtual=False)
    server = ApiServer(lab, "large", PASSWORD)
    await server.refresh()
    async with listening(server, Path(folder)) as listener:
        print(listener.port, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            lab.toggle(int(line))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
