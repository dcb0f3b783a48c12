"""Partitions, crashes and power losses of both servers at random, under load; then a heal.

Whatever came: an acknowledged key is on both with the same bytes, no id has two materials, no
state that was acknowledged has moved down, and a seed replays.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any

import pytest

from protocol.errors import ProductError
from protocol.messages.agent import PowerOff, PowerOn
from protocol.messages.kms.keys import Destroy, Revoke
from protocol.terms import KeyId, KmipState, NodeName, RevocationReason
from tests.services.kms.pair_rig import CLIENT, PAIR, A, B, PairRig

STEPS = 60
HEAL_S = 60.0  # longer than a call, a wait to try again and all messages take together

# What a state says of a key, in words of the test's own: more never becomes less.
SAYS: dict[KmipState, set[str]] = {
    KmipState.PRE_ACTIVE: set(),
    KmipState.ACTIVE: {"activated"},
    KmipState.DEACTIVATED: {"activated", "revoked"},
    KmipState.COMPROMISED: {"activated", "revoked", "compromised"},
    KmipState.DESTROYED: {"activated", "revoked", "destroyed"},
    KmipState.DESTROYED_COMPROMISED: {"activated", "revoked", "compromised", "destroyed"},
}
LINKS = [(A, B), (CLIENT, A), (CLIENT, B)]


class Run:
    """One schedule from a seed; ``said``: what acknowledged states have said of each key."""

    def __init__(self, seed: int) -> None:
        self.rig = PairRig(seed)
        self.choose = Random(seed)
        self.said: dict[KeyId, set[str]] = {}
        self.off: set[NodeName] = set()
        self.counts: Counter[str] = Counter()

    def play(self) -> None:
        for number in range(STEPS):
            self.rig.run(self._step(number))
        self.rig.heal()
        for server in PAIR:
            self.rig.power_on(server)
        self.rig.sleep(HEAL_S)

    async def _step(self, number: int) -> None:
        """A fault falls at some moment into requests that are under way."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(number))
            await self.rig.world.sleep(self.choose.choice((0.0, 0.002, 0.005, 0.01, 1.0, 7.0)))
            await self.choose.choice(self._faults())()

    # ---- faults -----------------------------------------------------------------------------

    def _faults(self) -> list[Callable[[], Awaitable[None]]]:
        return [self._cut, self._heal, self._down, self._up, self._up, self._nothing]

    async def _cut(self) -> None:
        self.rig.cut(*self.choose.sample(LINKS, self.choose.randrange(1, 3)))

    async def _heal(self) -> None:
        self.rig.heal()

    async def _down(self) -> None:
        server, way = self.choose.choice(PAIR), self.choose.choice(("crash", "power_loss", "stop"))
        self.off.add(server)
        await self.rig.agent.power_off(PowerOff(node=server, way=way))

    async def _up(self) -> None:
        for server in sorted(self.off):
            await self.rig.agent.power_on(PowerOn(node=server))
        self.off.clear()

    async def _nothing(self) -> None:
        pass

    # ---- work -------------------------------------------------------------------------------

    async def _work(self, number: int) -> None:
        """Some requests at once, as a vCenter would send them; a fault may fall between."""
        for server in self.choose.sample(PAIR, 2):
            # The same operation at both, when the first did not answer: as vCenter fails over.
            if await self._tried(self._create(server, f"op-{number}")):
                break
        if self.said and self.choose.random() < 0.5:
            # Of a few keys, so that both servers change the same one while they are apart.
            key = self.choose.choice(list(self.said)[-4:])
            for server in self.choose.sample(PAIR, self.choose.randrange(1, 3)):
                await self._tried(self._change(server, key))

    async def _tried(self, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except ProductError:
            return False
        return True

    async def _create(self, server: NodeName, operation_id: str) -> None:
        key = await self.rig.make(server, operation_id)
        other = B if server == A else A
        there = self.rig.at_rest(other, "SELECT 1 FROM keys WHERE key_id = ?", key)
        marked = self.rig.at_rest(server, "SELECT 1 FROM peer WHERE down_since IS NOT NULL")
        assert there or marked, f"{key} of {server} is not at {other}, which is not marked"
        self.counts["both" if there else "marked"] += 1
        self._saw(key, KmipState.ACTIVE)

    async def _change(self, server: NodeName, key: KeyId) -> None:
        """What an operator does at the console of one server."""
        match self.choose.randrange(3):
            case 0:
                changed = await self.rig.console(server, Revoke(key_id=key))
            case 1:
                compromise = Revoke(key_id=key, reason=RevocationReason.KEY_COMPROMISE)
                changed = await self.rig.console(server, compromise)
            case _:
                changed = await self.rig.console(server, Destroy(key_id=key))
        self._saw(key, changed.state)

    def _saw(self, key: KeyId, state: KmipState) -> None:
        self.said.setdefault(key, set()).update(SAYS[state])

    # ---- afterwards -------------------------------------------------------------------------

    def check(self) -> None:
        rig = self.rig
        rig.healthy()
        assert rig.in_step()
        at_a, at_b = (rig.attributes(server) for server in PAIR)
        assert at_a == at_b
        for key, said in self.said.items():
            assert key in at_a, f"{key} was acknowledged and is lost"
            now = at_a[key].state
            assert said <= SAYS[now], f"{key} was {sorted(said)} and is {now}"
        gone = (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED)
        wanted = {
            key: None if at_a[key].state in gone else secret for key, secret in rig.material.items()
        }
        for server in PAIR:
            assert rig.values(server, tuple(rig.material)) == wanted
        assert not rig.seen("kms.replica_refused")


def _played(seed: int) -> tuple[str, list[KmipState], Counter[str]]:
    run = Run(seed)
    try:
        run.play()
        run.check()
        states = [found.state for found in run.rig.attributes(A).values()]
        return run.rig.loop.trace.hash(), states, run.counts
    finally:
        run.rig.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_both_agree_whatever_came(seed: int) -> None:
    _, _, counts = _played(seed)
    assert counts["both"] > 2 and counts["marked"] > 2, "a schedule that shows both ways"


@pytest.mark.slow
def test_a_schedule_replays_from_its_seed() -> None:
    assert _played(3) == _played(3)
