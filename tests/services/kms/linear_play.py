"""Clients of key servers in the simulated world, under kills and partitions: what they recorded.

A play is short: some clients at once, a few keys and Names, and faults that fall while requests are
under way.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from random import Random
from typing import Any, Final

from chaos.history import History, Record
from protocol.messages.agent import PowerOff, PowerOn
from protocol.messages.base import Request
from protocol.messages.kms.administration import QueryCustody, RotateKek
from protocol.messages.kms.keys import Destroy, Locate, RegisterKey, Revoke
from protocol.terms import NodeName
from tests.linear import acts
from tests.linear.acts import SERVERS
from tests.linear.clients import Clients
from tests.services.kms.group_rig import GroupRig
from tests.services.kms.pair_rig import CLIENT, PAIR, PairRig

MODES: Final = ("sync-pair", "async", "forward")
ROUNDS: Final = 10
SETTLE_S: Final = {"sync-pair": 16.0, "async": 12.0, "forward": 12.0}
"""A call, and a wait to try again; of a group two exchanges, each with a call that may be lost."""
ENDS: Final = ("crash", "power_loss", "stop")
_CHANGES: Final = (acts.REVOKE, acts.COMPROMISE, acts.DESTROY, acts.DESTROY)
_AT_THE_CONSOLE: Final = (Revoke, Destroy, RotateKek, QueryCustody, RegisterKey, Locate)


def rig_of(mode: str, seed: int) -> PairRig:
    """Servers in that mode."""
    if mode == "sync-pair":
        return PairRig(seed)
    return GroupRig(seed, mode=mode, group_exchange_s=2.0)


class Play:
    """One play. ``records`` are what its clients saw, and when which servers were apart."""

    def __init__(self, mode: str, seed: int) -> None:
        self.rig = rig_of(mode, seed)
        self.servers = self.rig.servers if isinstance(self.rig, GroupRig) else PAIR
        self.choose = Random(seed)
        self.history = History(None, lambda: self.rig.loop.time())
        self.clients = Clients(self._ask, self.history)
        self.uids: list[str] = []
        self.number = 0
        self.keks = dict.fromkeys(self.servers, 1)
        self.down: set[NodeName] = set()
        self.cuts: set[str] = set()
        active = self.servers[0] if mode == "forward" else ""
        group: dict[str, Any] = {
            "servers": list(self.servers),
            "mode": mode,
            "settle_s": SETTLE_S[mode],
        }
        self.history.add("state", op=SERVERS, **group, active=active)

    @property
    def records(self) -> list[Record]:
        return self.history.records

    async def _ask(self, client: str, server: NodeName, message: Request[Any]) -> Any:
        if isinstance(message, _AT_THE_CONSOLE):
            return await self.rig.console(server, message)
        return await self.rig.request(server, message)

    def run(self) -> list[Record]:
        with closing(self.rig):
            self.rig.run(self._play())
            self.rig.healthy()
        return self.records

    async def _play(self) -> None:
        for _ in range(ROUNDS):
            async with asyncio.TaskGroup() as group:
                for client in ("a", "b", "c"):
                    group.create_task(self._work(client))
                group.create_task(self._fault())
        await self._peace()

    async def _peace(self) -> None:
        """Nothing is apart any more; a last look at everything, everywhere."""
        await self._heal()
        await self._up()
        await self.rig.world.sleep(SETTLE_S["sync-pair"])
        for server in self.servers:
            for uid in self.uids:
                await self.clients.get("z", server, uid)
            await self.clients.locate("z", server, "n-0")
            await self.clients.custody("z", server)

    # ---- clients ----------------------------------------------------------------------------

    async def _work(self, client: str) -> None:
        for _ in range(3):
            await self.rig.world.sleep(self.choose.choice((0.0, 0.001, 0.004, 0.5)))
            server, what = self.choose.choice(self.servers), self.choose.random()
            if not self.uids or what < 0.2:
                await self._make(client, server)
            elif what < 0.65:
                await self._look(client, server)
            elif what < 0.9:
                uid = self.choose.choice(self.uids[-3:])
                await self.clients.change(self.choose.choice(_CHANGES), client, server, uid)
            else:
                await self._kek(client, server)

    async def _make(self, client: str, server: NodeName) -> None:
        self.number += 1
        operation = f"op-{self.number}"
        if self.choose.random() < 0.5:
            uid = await self.clients.create(client, server, operation)
        else:
            value = self.number.to_bytes(32)
            uid = await self.clients.register(client, server, operation, "n-0", value)
        if uid is not None:
            self.uids.append(uid)

    async def _look(self, client: str, server: NodeName) -> None:
        uid = self.choose.choice(self.uids[-3:])
        match self.choose.randrange(4):
            case 0:
                await self.clients.attributes(client, server, uid)
            case 1:
                await self.clients.locate(client, server, "n-0")
            case _:
                await self.clients.get(client, server, uid)

    async def _kek(self, client: str, server: NodeName) -> None:
        if self.choose.random() < 0.4:
            told = await self.clients.rotate(client, server, self.keks[server])
        else:
            told = await self.clients.custody(client, server)
        if told is not None:
            self.keks[server] = max(self.keks[server], told["kek"])

    # ---- faults -----------------------------------------------------------------------------

    async def _fault(self) -> None:
        await self.rig.world.sleep(self.choose.choice((0.0, 0.001, 0.003, 0.006, 0.5, 6.0)))
        what = self.choose.choice((self._cut, self._heal, self._kill, self._up, self._nothing))
        await what()

    async def _nothing(self) -> None:
        """A round without a fault."""

    async def _cut(self) -> None:
        """Between two servers, or between the client and one; what was cut before is whole."""
        await self._heal()
        nodes = self.choose.sample((*self.servers, CLIENT), 2)
        self.cuts.add(self._begins("link.cut", *nodes))
        self.rig.cut((nodes[0], nodes[1]))

    async def _heal(self) -> None:
        self.rig.heal()
        while self.cuts:
            self.history.add("heal", op="heal", id=self.cuts.pop(), verified=True)

    async def _kill(self) -> None:
        server, way = self.choose.choice(self.servers), self.choose.choice(ENDS)
        if server in self.down:
            return
        self.down.add(server)
        self._begins("proc.kill", server)
        await self.rig.agent.power_off(PowerOff(node=server, way=way))
        if self.choose.random() < 0.5:
            await self._up()

    async def _up(self) -> None:
        for server in sorted(self.down):
            await self.rig.agent.power_on(PowerOn(node=server))
            if server in self.down:
                self.down.discard(server)
                self.history.add("heal", op="heal", id=f"proc.kill {server}", verified=True)

    def _begins(self, kind: str, *nodes: NodeName) -> str:
        id = f"{kind} {' '.join(nodes)}"
        self.history.add("fault", op=kind, id=id, nodes=list(nodes))
        return id


def played(mode: str, seed: int) -> list[Record]:
    """The history of a play."""
    return Play(mode, seed).run()
