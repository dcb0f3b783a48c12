"""Several guests write and read one object at once, while hosts fall, links fail and keys change.

What they saw is judged as a register (``tests.e2e.register``): there must be one order of it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence

import pytest

from lab.simulation.sim_lab import SimLab
from protocol.errors import InvalidState, ProductError
from protocol.messages.agent import CutRule, DelayRule, DuplicateRule, LinkRule, LossRule
from protocol.messages.vcenter.vsan import RekeyEncryptedCluster
from protocol.terms import NodeName
from services.runtime.incarnation import WayDown
from services.runtime.link_rules import DesiredRules
from services.runtime.sim.gate import StorageCall
from tests.e2e import test_vsan_kills as kills
from tests.e2e import test_vsan_objects as objects
from tests.e2e.register import Act, fault_of
from tests.e2e.test_vsan import lab_file
from tests.e2e.test_vsan_kills import VCENTER

pytestmark = pytest.mark.sim
lab = kills.lab
GUESTS, TURNS, ROUNDS = 3, 9, 60
WHAT = ("power", "power", "power", "links", "links", "disk", "all", "rekey", *("trap",) * 4)


def test_a_register_that_forgets_is_no_register() -> None:
    """The judge itself: each of these has no order, and what differs in one time has."""
    one, two = Act(b"1", 0, 1, True), Act(b"2", 2, 3, True)
    assert fault_of([one, two, Act(b"2", 4, 5, False)]) == ""
    assert "was there while" in fault_of([one, two, Act(b"1", 4, 5, False)])
    assert fault_of([one, two, Act(b"1", 2.5, 5, False)]) == ""
    lost = Act(b"2", 2, math.inf, True)
    assert fault_of([one, lost, Act(b"1", 4, 5, False)]) == ""
    back = [one, lost, Act(b"2", 4, 5, False), Act(b"1", 6, 7, False)]
    assert "was there while" in fault_of(back)
    turns = [one, Act(b"2", 0, 9, True)]
    turns += [Act(b"121"[at : at + 1], 2 * at + 2, 2 * at + 3, False) for at in range(3)]
    assert fault_of(turns)
    turns += [Act(b"2", 10, 11, False)]
    assert "took turns" in fault_of(turns)
    assert "before it was written" in fault_of([one, two, Act(b"2", 1, 1.5, False)])
    assert "never written" in fault_of([Act(b"3", 1, 1.5, False)])


class Guests:
    """They write and read until they are told to stop; all that they saw."""

    def __init__(self, lab: SimLab, seed: int, hosts: list[NodeName]) -> None:
        self.lab, self.hosts, self.draw = lab, hosts, random.Random(seed)
        self.acts: list[Act] = []
        self.refused: dict[bytes, str] = {}
        self.marker_of: dict[bytes, bytes] = {}
        self.stopped = False
        self.turns = asyncio.Semaphore(0)
        self.written = self.reads = 0

    async def write(self, host: NodeName, marker: bytes) -> None:
        self.marker_of[objects.digest(marker)] = marker
        begin, end = self.lab.monotonic(), math.inf
        try:
            await objects.write(self.lab, host, marker)
        except InvalidState as error:
            self.refused[marker] = str(error)
        except ProductError:
            pass
        else:
            end, self.written = self.lab.monotonic(), self.written + 1
        self.acts.append(Act(marker, begin, end, True))

    async def read(self, host: NodeName) -> None:
        begin = self.lab.monotonic()
        found = await objects.reads(self.lab, host)
        self.acts.append(Act(self.marker_of[found], begin, self.lab.monotonic(), False))
        self.reads += 1

    async def guest(self, number: int) -> None:
        at = 0
        while not self.stopped:
            await self.turns.acquire()
            at += 1
            host = self.draw.choice(self.hosts)
            if self.draw.random() < 0.4:
                await self.write(host, b"%d/%d" % (number, at))
            else:
                try:
                    await self.read(host)
                except ProductError:
                    pass

    def check(self) -> None:
        assert fault_of(self.acts) == ""
        kept = {act.value for act in self.acts if not act.is_write}
        assert not kept & set(self.refused), [self.refused[m] for m in kept & set(self.refused)]


class Trap:
    """Springs within the ``nth`` call of a host that changes its disks of vSAN."""

    def __init__(self, nth: int, spring: Callable[[], asyncio.Future[None] | None]) -> None:
        self.left, self.spring = nth, spring

    async def before(self, call: StorageCall) -> None:
        if call.path.startswith("vsan") and call.name not in ("disk.read", "disk.list"):
            self.left -= 1
            if self.left == 0:
                waits = self.spring()
                if waits is not None:
                    await waits

    def within(self, call: StorageCall) -> None:
        """A disk has none."""

    async def after(self, call: StorageCall) -> None:
        """What it has done, it has done."""


class Disturber:
    """Round after round somebody else is away: without power, behind a link, with a sick disk."""

    def __init__(self, lab: SimLab, hosts: list[NodeName], seed: int) -> None:
        self.lab, self.hosts, self.draw = lab, hosts, random.Random(seed)
        self.down: list[NodeName] = []
        self.rekeys = 0

    def _links(self, rules: Sequence[LinkRule]) -> None:
        desired = DesiredRules()
        desired.epoch = self.lab.world.rules.epoch
        self.lab.world.rules.apply(desired.put(rules))

    def _rule(self, name: str, src: NodeName, dst: NodeName) -> LinkRule:
        match self.draw.choice(("cut", "cut", "slow", "twice", "loses")):
            case "cut":
                return CutRule(id=name, src=src, dst=dst)
            case "slow":
                return DelayRule(id=name, src=src, dst=dst, base_s=0.02, jitter_s=3.0)
            case "twice":
                return DuplicateRule(id=name, src=src, dst=dst, share=0.7)
            case _:
                return LossRule(id=name, src=src, dst=dst, share=0.4)

    def _away(self) -> list[LinkRule]:
        """Of one host, in one way or both; or any of the six ways."""
        ways = [(a, b) for a in self.hosts for b in self.hosts if a != b]
        if self.draw.random() < 0.7:
            one, side = self.draw.choice(self.hosts), self.draw.choice((0, 1, 2))
            ways = [way for way in ways if one in way and (side == 2 or way[side] == one)]
            return [CutRule(id=f"walk-{n}", src=a, dst=b) for n, (a, b) in enumerate(ways)]
        chosen = self.draw.sample(ways, self.draw.choice((1, 2, 3)))
        return [self._rule(f"walk-{n}", *way) for n, way in enumerate(chosen)]

    async def _power(self, wished: Sequence[NodeName]) -> None:
        for host in [h for h in wished if h not in self.down]:
            await self.lab.power_off(host, self.draw.choice(("crash", "power_loss", "power_loss")))
        for host in [h for h in self.down if h not in wished]:
            await self.lab.power_on(host)
        self.down = list(wished)

    def _set_trap(self) -> None:
        """Where a write is at its nth step the links of a host go, or the power."""
        host = self.draw.choice(self.hosts)
        nth = self.draw.randint(1, 10)
        if self.draw.random() < 0.5:
            rules = self._away()
            trap = Trap(nth, lambda: self._links(rules))
        else:
            trap = Trap(nth, lambda: self._falls(host))
        self.lab.world.stores[host].gate = trap

    def _falls(self, host: NodeName) -> asyncio.Future[None]:
        """Its life is over in this step."""
        self.down.append(host)
        way = self.draw.choice((WayDown.CRASH, WayDown.POWER_LOSS))
        self.lab.agent.machine(host).end_life_now(way)
        return self.lab.loop.create_future()

    async def round(self, turns: asyncio.Semaphore) -> None:
        draw, stores = self.draw, self.lab.world.stores
        for host in self.hosts:
            stores[host].full = stores[host].fail = False
            stores[host].gate = None
        what = draw.choice(WHAT)
        self._links(self._away() if what == "links" or draw.random() < 0.2 else ())
        await self._power([draw.choice(self.hosts)] if what == "power" else ())
        if what == "disk":
            setattr(stores[draw.choice(self.hosts)], draw.choice(("full", "fail")), True)
        elif what == "trap":
            self._set_trap()
        elif what == "all":
            await self._power(draw.sample(self.hosts, draw.choice((2, 3))))
            await self._power(())
        elif what == "rekey":
            self.rekeys += 1
            deep = draw.random() < 0.5
            message = RekeyEncryptedCluster(
                operation_id=f"walk/{self.rekeys}",
                cluster=kills.CLUSTER,
                deep_rekey=deep,
                allow_reduced_redundancy=deep,
            )
            change = asyncio.ensure_future(self.lab.ask(VCENTER, message, within_s=3600.0))
            change.add_done_callback(lambda done: done.exception())
        await self.lab.sleep(draw.choice((0.003, 0.01, 0.03, 0.1, 1.0, 15.0)))
        if turns.locked():
            for _ in range(TURNS):
                turns.release()
        await self.lab.sleep(draw.choice((0.001, 0.003, 0.006, 0.012, 0.03, 15.0)))

    async def run(self, guests: Guests) -> None:
        for _ in range(ROUNDS):
            await self.round(guests.turns)
        guests.stopped = True
        for _ in range(GUESTS):
            guests.turns.release()
        for host in self.hosts:
            store = self.lab.world.stores[host]
            store.full, store.fail, store.gate = False, False, None
        self._links(())
        await self._power(self.hosts)  # also those that could not boot from a device that refused
        await self._power(())


async def _walk(lab: SimLab, seed: int) -> Guests:
    hosts = await objects.places(lab)
    guests = Guests(lab, seed, hosts[:2])
    await guests.write(hosts[0], b"first")
    assert guests.written == 1
    async with asyncio.TaskGroup() as group:
        for number in range(GUESTS):
            group.create_task(guests.guest(number))
        group.create_task(Disturber(lab, hosts, seed).run(guests))
    await kills.comes_to_its_end(lab, [])
    await lab.sleep(90.0)
    for host in hosts[:2]:
        await guests.read(host)
    guests.check()
    return guests


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lab", "seed"),
    [({"topology": kills.FILE}, seed) for seed in range(3)]
    + [({"topology": lab_file(objects=1), "tpm": "model"}, seed) for seed in range(3)],
    indirect=["lab"],
    ids=[f"{groups}-{seed}" for groups in ("two groups", "one group") for seed in range(3)],
)
def test_what_guests_see_at_once_has_an_order(lab: SimLab, seed: int) -> None:
    guests = lab.run(_walk(lab, seed))
    assert guests.written > 1 and guests.reads > 2
