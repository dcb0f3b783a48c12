"""Rounds of a lab of real processes that this process holds: its supervisor lives on."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, Final, cast

import psutil

from chaos.history import History
from chaos.observe.look import nodes_of
from lab.client import Lab, Owned
from lab.schema.errors import KeysteadError
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState
from protocol.messages.base import Request
from protocol.messages.kms.replication import QueryGroup, QueryPair
from protocol.messages.vcenter.providers import GenerateKey, KeyGenerated
from protocol.terms import NodeName, Role
from tests.kills.acknowledged import WITHIN_S, Acknowledged
from tests.kills.labs import BROKERS, DATA_BROKER, FORK_SERVER, SETTLE_S, Ended, Kind, Told
from tests.linear import acts
from tests.linear.acts import ASKED, SERVERS, SETTLED
from tests.linear.clients import Clients
from tests.linear.judge import judge

BACK_WITHIN_S: Final = 60.0
"""Real seconds in which a part has to be there again."""
AGREED_WITHIN_S: Final = 120.0
"""Real seconds in which key servers that reach each other have told each other all."""
GRACE_S: Final = 1.0
"""Real seconds that requests get after the part is back; then nobody knows how they end."""
FIRST_WITHIN_S: Final = 2.0
LEAST_DONE: Final = 3
PAUSE_S: Final = 0.005
"""Real seconds from one operation of a client to the next."""
KEYS_AT_ONCE: Final = 6
_CHANGES: Final = (acts.ACTIVATE, acts.ACTIVATE, acts.REVOKE, acts.COMPROMISE, acts.DESTROY)


class LabRounds:
    """Plays rounds of ``kind``; see ``playing``."""

    def __init__(self, kind: Kind, lab: Lab, seed: int) -> None:
        self._kind, self._lab, self._choose = kind, lab, Random(seed)
        self._core = cast(Owned, lab.way).lab
        self._history = History(None, self._core.monotonic)
        self._clients = Clients(self._ask, self._history)
        self._acknowledged = Acknowledged(lab, self._core, Random(seed + 1))
        self._servers = nodes_of(self._core, Role.KMS)
        self._nodes = tuple(entry.node for entry in self._core.directory().nodes)
        self._parts = (*self._nodes, *BROKERS, *self._nodes, FORK_SERVER)
        self._makes_keys = not nodes_of(self._core, Role.ATTESTATION)
        self._made: list[str] = []
        self._keks = dict.fromkeys(self._servers, 1)
        self._operations = self._rounds = 0
        group = {"servers": list(map(str, self._servers)), "mode": kind.mode}
        # A busy machine takes its time: servers of a group say themselves how far they are.
        settle_s = math.inf if kind.mode == "async" else SETTLE_S
        self._history.add("state", op=SERVERS, settle_s=settle_s, **cast(Any, group))

    async def _ask(self, client: str, server: NodeName, message: Request[Any]) -> Any:
        if isinstance(message, GenerateKey):
            made = await self._acknowledged.key(message.operation_id)
            return KeyGenerated(success=True, key=made)
        return await self._core.ask(server, message, within_s=WITHIN_S)

    # ---- a round --------------------------------------------------------------------------------

    async def play(self) -> Told:
        """Kill the next part while requests are under way, have it again, and read back."""
        part = self._parts[self._rounds % len(self._parts)]
        self._rounds += 1
        before, over = self._done(), asyncio.Event()
        works = [self._keys(f"client-{n}", over) for n in range(2)]
        works += [self._again(work, over) for work in self._acknowledged.works()]
        tasks = [asyncio.ensure_future(work) for work in works]
        await self._some_done(before)
        await asyncio.sleep(self._choose.choice((0.0, 0.002, 0.005, 0.02, 0.05)))
        fallen = self._falls_with(part)
        apart = [[node] for node in fallen]
        if part == DATA_BROKER:  # what key servers tell each other takes it
            apart = [list(self._servers)]
        for nodes in apart:
            self._history.add("fault", op="kill", id=f"kill {nodes}", nodes=nodes)
        await self._kill(part)
        lost = await self._back(part, fallen)
        parted = any(set(nodes) & set(self._servers) for nodes in apart)
        if self._kind.mode == "sync-pair" and parted:
            lost += await self._meet_again(part)
        for nodes in apart:
            self._history.add("heal", op="heal", id=f"kill {nodes}", verified=True)
        over.set()
        await asyncio.wait(tasks, timeout=GRACE_S)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended  # no refusal: an error of this harness, or of the lab
        acknowledged = self._done() - before
        lost += await self._agree(f"after {part} was killed")
        read, gone = await self._read_back()
        return Told(part=part, acknowledged=acknowledged, read=read, lost=(*lost, *gone))

    def _done(self) -> int:
        return self._operations + self._acknowledged.count

    async def _some_done(self, before: int) -> None:
        """Until something was acknowledged in this round; not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WITHIN_S):
                while self._done() - before < LEAST_DONE:
                    await asyncio.sleep(0.002)

    async def _again(self, work: Callable[[], Awaitable[None]], over: asyncio.Event) -> None:
        """Until the round is over; what is refused is tried again."""
        while not over.is_set():
            with suppress(ProductError, KeysteadError):
                await work()
            await asyncio.sleep(PAUSE_S)

    async def _keys(self, client: str, over: asyncio.Event) -> None:
        """What a client does with a few keys until the round is over."""
        for number in itertools.count():
            if over.is_set():
                return
            await self._one(client, f"{client}-{self._rounds}-{number}")
            await asyncio.sleep(PAUSE_S)

    async def _one(self, client: str, operation: str) -> None:
        server, what = self._choose.choice(self._servers), self._choose.random()
        if self._makes_keys and (not self._made or what < 0.2):
            uid = await self._clients.generate(client, server, operation)
            if uid is not None:
                self._made.append(uid)
            self._operations += uid is not None
        elif self._made and what < 0.6:
            uid = self._choose.choice(self._made[-KEYS_AT_ONCE:])
            await self._clients.attributes(client, server, uid)
        elif self._made and what < 0.95:
            uid = self._choose.choice(self._made[-KEYS_AT_ONCE:])
            op = self._choose.choice(_CHANGES)
            self._operations += await self._clients.change(op, client, server, uid) is not None
        else:
            told = await self._clients.rotate(client, server, self._keks[server])
            if told is not None:
                self._keks[server] = max(self._keks[server], told["kek"])
                self._operations += 1

    # ---- killing, and having it again -----------------------------------------------------------

    def _falls_with(self, part: str) -> tuple[NodeName, ...]:
        """The nodes whose process is killed."""
        if part == FORK_SERVER:
            return self._nodes
        if part in BROKERS:
            return ()
        return next((nodes for nodes in self._core.topology.groups if part in nodes), ())

    async def _kill(self, part: str) -> None:
        if part in self._nodes:
            await self._core.kill(NodeName(part))
        elif part == FORK_SERVER:
            kill_child("keystead-forkserver")
        else:
            kill_child(f"broker-{part.split()[0]}")

    async def _back(self, part: str, fallen: tuple[NodeName, ...]) -> list[str]:
        """Have the part again; what does not come."""
        step = "all nodes answer" if part in BROKERS else "all nodes are off"
        try:
            async with asyncio.timeout(BACK_WITHIN_S):
                if part in BROKERS:
                    await self._answering()
                if part == FORK_SERVER:
                    await self._all_off()
                for node in fallen:
                    step = f"{node} has a process"
                    while not await self._core.respawned(node):
                        await asyncio.sleep(0.01)
                for node in fallen:
                    step = f"{node} is powered on"
                    await self._core.power_on(node)
        except (TimeoutError, ProductError, KeysteadError) as error:
            states = await self._states()
            return [f"{part} does not come back: waits until {step}: {error!r}; {states}"]
        return []

    async def _states(self) -> str:
        """The state of each node that answers, for the message of a loss."""
        with suppress(ProductError, KeysteadError):
            statuses = await self._core.statuses(counters=False)
            return ", ".join(f"{node} {status.state.value}" for node, status in statuses.items())
        return "no node answers"

    async def _meet_again(self, part: str) -> list[str]:
        """Until neither server of a pair tells its operator that the other is marked as down: so
        long a change is answered without it. They notice that they are apart by a change only."""
        try:
            async with asyncio.timeout(BACK_WITHIN_S):
                for number in itertools.count():
                    operation = f"meet-{self._rounds}-{number}"
                    uid = await self._clients.generate("reader", self._servers[0], operation)
                    if uid is not None:
                        self._made.append(uid)
                        break
                while True:
                    with suppress(ProductError):
                        told = [
                            await self._core.ask(server, QueryPair(), within_s=WITHIN_S)
                            for server in self._servers
                        ]
                        if all(pair.down_since is None and not pair.waiting for pair in told):
                            return []
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return [f"the key servers do not meet again after {part} was killed"]

    async def _agree(self, when: str) -> list[str]:
        """Until each server of a group says that the others have all that it has changed."""
        if self._kind.mode != "async":
            return []
        try:
            async with asyncio.timeout(AGREED_WITHIN_S):
                while not await self._agree_now():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return [f"the key servers do not come to agree {when}"]
        return []

    async def _agree_now(self) -> bool:
        asked = self._history.add("state", op=ASKED)
        with suppress(ProductError):
            for server in self._servers:
                told = await self._core.ask(server, QueryGroup(), within_s=WITHIN_S)
                if any(peer.waiting for peer in told.peers):
                    return False
            if asked is not None:
                since = asked.t
                self._history.add("state", op=SETTLED, servers=list(self._servers), since=since)
            return True
        return False

    async def _answering(self) -> None:
        """Every node answers at its console, and vCenter its hosts."""
        while True:
            with suppress(ProductError, KeysteadError):
                statuses = await self._core.statuses(counters=False)
                running = {n for n, s in statuses.items() if s.state is NodeRunState.RUNNING}
                if running >= set(self._nodes) and await self._core.broker_up():
                    return
            await asyncio.sleep(0.02)

    async def _all_off(self) -> None:
        while True:
            with suppress(ProductError, KeysteadError):
                statuses = await self._core.statuses(counters=False)
                if {status.state for status in statuses.values()} == {NodeRunState.OFF} and (
                    len(statuses) == len(self._nodes)
                ):
                    return
            await asyncio.sleep(0.02)

    # ---- reading back ---------------------------------------------------------------------------

    async def _read_back(self) -> tuple[int, list[str]]:
        """The newest keys at all servers, and all that others acknowledged."""
        read, lost = await self._acknowledged.read_back()
        for uid in self._made[-KEYS_AT_ONCE:]:
            says = [await self._clients.attributes("reader", s, uid) for s in self._servers]
            read += 1
            if not any(told and told["state"] for told in says):
                lost.append(f"no key server has the acknowledged key {uid}: {says}")
        return read, lost

    async def end(self) -> Ended:
        """Read everything back everywhere, and judge what clients of key servers saw."""
        if self._kind.mode == "sync-pair":
            await self._core.sleep(SETTLE_S)
        unsettled = await self._agree("at the end")
        read, lost = await self._acknowledged.read_back()
        lost += unsettled
        for server in self._servers:
            await self._clients.custody("reader", server)
            for uid in self._made:
                told = await self._clients.attributes("reader", server, uid)
                read += 1
                if told is None or not told["state"]:
                    lost.append(f"{server} does not have the acknowledged key {uid}: {told}")
        found = judge(self._history.records)
        return Ended(
            read=read,
            lost=tuple(lost),
            operations=found.acts,
            parts=found.parts,
            undecided=len(found.undecided),
            violations=tuple(violation.text for violation in found.violations),
        )


@asynccontextmanager
async def playing(kind: Kind, seed: int, patch: str) -> AsyncIterator[LabRounds]:
    """A lab for the length of the block; ``patch``: a module that its processes import first."""
    async with Lab("lab", topology=kind.topology, seed=seed, patch=patch, **kind.options) as lab:
        yield LabRounds(kind, lab, seed)


def kill_child(word: str) -> None:
    """SIGKILL for the one child of this process that has ``word`` in its command line."""
    (child,) = (c for c in psutil.Process().children() if word in " ".join(c.cmdline()))
    os.kill(child.pid, signal.SIGKILL)
