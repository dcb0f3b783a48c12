"""The data broker of a whole lab is killed, stopped by signal, or half-open: every node notices,
callers hear it in time, and the lab heals by itself. The control plane is not touched by it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from lab.brokers.bus_servers import BusServers
from lab.brokers.configuration import BrokerKind
from lab.brokers.server import Broker
from lab.client import Lab, Owned
from lab.schema.commands import GetHostView, GetNodes, VmCreate
from lab.schema.errors import KeysteadError
from protocol.terms import HostConnectionState, NodeName, PowerState, VmConnectionState
from tests.services.runtime.real_bus.listeners import StallingProxy

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]
NOTICED = 5.0  # real seconds: what the product promises
SLACK = 5.0  # for a loaded machine: no test of ours fails on a time
ANSWERED = 30.0  # real seconds in which a caller has its error, by the limits of its flow


class Trouble:
    """A lab whose nodes reach their broker through a proxy that can swallow everything."""

    def __init__(self, lab: Lab, proxy: StallingProxy) -> None:
        self.lab, self.proxy = lab, proxy
        owned = lab.way
        assert isinstance(owned, Owned)
        assert isinstance(owned.lab.data, BusServers)
        self.broker = owned.lab.data

    async def begin(self, how: str) -> None:
        match how:
            case "killed":
                await self.broker.kill()
            case "stopped":
                self.broker.pause()
            case _:
                self.proxy.stall()

    async def end(self, how: str) -> None:
        match how:
            case "killed":
                await self.broker.start()
            case "stopped":
                self.broker.resume()
            case _:
                self.proxy.heal()

    async def all_in(self) -> bool:
        """Whether each node has its link back after every loss: who is still dialling when the
        trouble begins has no link that it could lose."""
        counters = [n.counters for n in (await self.lab.do(GetNodes())).items]
        return all(c.get("reconnects", 0) == c.get("disconnects", 0) for c in counters)

    async def losses(self) -> dict[NodeName, int]:
        """Lost links by node, told over the control plane."""
        nodes = (await self.lab.do(GetNodes())).items
        return {n.node: n.counters.get("disconnects", 0) for n in nodes}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trouble() -> AsyncIterator[Trouble]:
    """The proxy is put between when the broker has its port and no agent knows it yet."""
    proxies: list[StallingProxy] = []
    start = Broker.start
    own_url: Callable[[Broker], str] = vars(Broker)["url"].fget

    async def started(self: Broker) -> None:
        await start(self)
        if self.kind is BrokerKind.DATA and not proxies:
            proxies.append(StallingProxy(int(own_url(self).rsplit(":", 1)[1])))
            await proxies[0].start()

    def proxied(self: Broker) -> str:
        return proxies[0].url if self.kind is BrokerKind.DATA and proxies else own_url(self)

    patch = pytest.MonkeyPatch()
    patch.setattr(Broker, "start", started)
    patch.setattr(Broker, "url", property(proxied))
    try:
        async with Lab("lab", hosts=2, vms=2, tpm="none", pace=30, seed=5) as lab:
            yield Trouble(lab, proxies[0])
    finally:
        patch.undo()
        if proxies:
            await proxies[0].stop()


async def within_s(seconds: float, look: Callable[[], Awaitable[bool]]) -> float | None:
    """Real seconds until ``look`` is true, None when that takes longer than ``seconds``."""
    began = time.monotonic()
    while True:
        if await look():
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            return None


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "stopped", "half-open"])
async def test_it_is_noticed_told_and_healed(trouble: Trouble, how: str) -> None:
    lab = trouble.lab
    assert await within_s(30.0, trouble.all_in) is not None, "a node never came back"
    before = await trouble.losses()
    await trouble.begin(how)
    try:
        began = time.monotonic()
        with pytest.raises(KeysteadError) as caught:
            await lab.do(VmCreate(f"vm-{how}", encrypted=True, host="esxi-001"))
        assert caught.value.id == "KS-PRODUCT-001"
        assert time.monotonic() - began < ANSWERED

        async def all_noticed() -> bool:
            now = await trouble.losses()
            return now.keys() == before.keys() and all(now[n] > before[n] for n in now)

        took = await within_s(NOTICED + SLACK, all_noticed)
        assert took is not None, (before, await trouble.losses())
        # VMs need no broker: their hosts say so themselves.
        for host in ("esxi-001", "esxi-002"):
            view = await lab.do(GetHostView(host))
            powers = {v.power for v in view.vms if v.vm in ("vm-01", "vm-02")}
            assert powers == {PowerState.ON}
    finally:
        await trouble.end(how)

    async def all_well() -> bool:
        hosts = {h.connection for h in await lab.hosts()}
        vms = {v.connection for v in await lab.vms() if v.vm in ("vm-01", "vm-02")}
        up = HostConnectionState.CONNECTED, VmConnectionState.CONNECTED
        return (hosts, vms) == ({up[0]}, {up[1]})

    assert await within_s(30.0, all_well) is not None, await lab.hosts()
    created: list[str] = []

    async def works_again() -> bool:
        name = f"after-{how}-{len(created)}"
        created.append(name)
        try:
            await lab.do(VmCreate(name, encrypted=True, host="esxi-002"))
        except KeysteadError:
            return False
        return (await lab.vm_on(name))[0].power is PowerState.ON

    assert await within_s(30.0, works_again) is not None
    counters = {n.node: n.counters for n in (await lab.do(GetNodes())).items}
    for node, found in counters.items():
        assert not found.get("internal_errors") and not found.get("violations"), (node, found)
