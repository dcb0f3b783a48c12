"""What an API server costs in front of 2,000 VMs, in seconds of processor time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.vsphere.service import ApiCall, ApiServer
from lab.vsphere.soap import newest, read_call, write_answer
from protocol.authorization import ADMINISTRATOR
from protocol.terms import (
    ClusterName,
    CryptoMode,
    HostConnectionState,
    HostCryptoState,
    NodeName,
    PowerState,
    VmConnectionState,
    VmCryptoState,
    VmName,
)

pytestmark = [pytest.mark.sim, pytest.mark.slow]
VMS, HOSTS = 2_000, 32
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
PATHS = (
    "name", "runtime.powerState", "runtime.cryptoState", "runtime.host", "config.keyId",
    "overallStatus",
)  # fmt: skip


class _Nothing:
    items = ()


class _Large:
    """A lab that answers at once."""

    virtual = True
    changes = sleeps = 0

    def __init__(self) -> None:
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
            for n in range(VMS)
        )  # fmt: skip
        self.clusters = (answers.Cluster(cluster=a, crypto_mode=CryptoMode.ON_DEMAND),)

    async def look(self, command: Any) -> Any:
        return await self.do(command)

    async def do(self, command: Any, vcenter: str = "", user: str = "") -> Any:
        match command:
            case c.GetHosts():
                return answers.HostList(items=self.hosts)
            case c.GetVms():
                return answers.VmList(items=self.vms)
            case c.GetClusters():
                return answers.ClusterList(items=self.clusters)
        return _Nothing

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


def _envelope() -> bytes:
    paths = "".join(f"<pathSet>{path}</pathSet>" for path in PATHS)
    walk = (
        '<selectSet xsi:type="TraversalSpec"><type>Folder</type><path>childEntity</path>'
        "<skip>false</skip></selectSet>"
    )
    spec = (
        f"<specSet><propSet><type>VirtualMachine</type>{paths}</propSet><objectSet>"
        f'<obj type="Folder">group-v3</obj><skip>true</skip>{walk}</objectSet></specSet>'
    )
    this = '<_this type="PropertyCollector">propertyCollector</_this>'
    call = f'<RetrievePropertiesEx xmlns="urn:vim25">{this}{spec}<options/></RetrievePropertiesEx>'
    return f"<Envelope {XSI}><Body>{call}</Body></Envelope>".encode()


def test_six_properties_of_all_vms_cost_less_than_a_second() -> None:
    async def play() -> float:
        server = ApiServer(_Large(), "large", "secret")
        await server.refresh()
        session = server.sessions.open(ADMINISTRATOR)
        begun = time.process_time()
        call = read_call(_envelope(), newest("8.0.3.0"))
        request = ApiCall(server, session)
        collector = server.references["propertyCollector"]
        found = await request.call(collector[0](collector[1]), call.name, call.arguments)
        text = write_answer(call, found).decode()
        cost = time.process_time() - begun
        assert text.count("<objects>") == VMS and text.count("<name>") == VMS * len(PATHS)
        return cost

    cost = asyncio.run(play())
    assert cost <= 1.0, f"{cost:.2f} s"
