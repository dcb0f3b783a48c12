"""A walk of servers that replicate: what clients ask, what befalls disks, clocks, links and lives.

``acked`` is what clients were answered: keys, what states say of them, and attributes of a name
that nobody else has written. A disk that is put back takes with it what no other server has: that
the server must have said of its keys before, and the walk expects no more than what is left.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, Final

from protocol.attributes import Attribute, ObjectName
from protocol.errors import ProductError
from protocol.messages.agent import (
    CutRule,
    DelayRule,
    DiskAct,
    DiskAction,
    DuplicateRule,
    LinkRule,
    LossRule,
    PowerOff,
    PowerOn,
    SkewClock,
)
from protocol.messages.base import Sealed
from protocol.messages.kms.administration import RotateKek
from protocol.messages.kms.keys import (
    Activate,
    AddAttribute,
    CreateKey,
    DeleteAttribute,
    Destroy,
    GetKeys,
    ModifyAttribute,
    RegisterKey,
    Revoke,
)
from protocol.messages.kms.replication import MakeActive, QueryGroup
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName, RevocationReason
from services.kms.objects import attributes
from tests.services.kms.group_rig import GroupRig
from tests.services.kms.pair_rig import PairRig

HOUR: Final = 3600.0
ATOMS: Final = ("activated", "revoked", "compromised", "destroyed")
SAYS: Final[dict[str, frozenset[str]]] = {
    KmipState.PRE_ACTIVE: frozenset(),
    KmipState.ACTIVE: frozenset({"activated"}),
    KmipState.DEACTIVATED: frozenset({"activated", "revoked"}),
    KmipState.COMPROMISED: frozenset({"revoked", "compromised"}),
    KmipState.DESTROYED: frozenset({"destroyed"}),
    KmipState.DESTROYED_COMPROMISED: frozenset({"compromised", "destroyed"}),
}
"""What a state says; ``reached`` reads it upwards."""
ABOVE: Final[dict[str, frozenset[str]]] = {
    KmipState.PRE_ACTIVE: frozenset(),
    KmipState.ACTIVE: frozenset({"activated"}),
    KmipState.DEACTIVATED: frozenset({"activated", "revoked"}),
    KmipState.COMPROMISED: frozenset({"activated", "revoked", "compromised"}),
    KmipState.DESTROYED: frozenset({"activated", "revoked", "destroyed"}),
    KmipState.DESTROYED_COMPROMISED: frozenset(ATOMS),
}


class WideWalk:
    """One walk from a seed, over ``size`` servers in ``mode``; ``pair`` is mode sync-pair."""

    def __init__(self, seed: int, mode: str, size: int) -> None:
        self.choose = Random(f"{mode}-{size}-{seed}")
        self.mode = mode
        self.servers = tuple(NodeName(f"kms-{number}") for number in range(1, size + 1))
        exchange_s = self.choose.choice((5, 20))
        audit = {"audit": self.choose.choice(("durable", "buffered"))}
        self.rig: PairRig = (
            PairRig(seed)
            if mode == "pair"
            else GroupRig(seed, self.servers, mode, audit, group_exchange_s=exchange_s)
        )
        self.said: dict[KeyId, set[str]] = {}
        self.noted: dict[tuple[KeyId, str], str] = {}
        self.off: set[NodeName] = set()
        self.copies: set[NodeName] = set()
        self.number = 0
        self.log: list[str] = []
        self.counts: Counter[str] = Counter()
        self.silent_losses: list[str] = []
        self.put_back_at = -1e9

    def play(self, steps: int) -> None:
        for _ in range(steps):
            self.rig.run(self._step())
        self.calm()

    def calm(self) -> None:
        """An end to all faults, and time to agree."""
        rig = self.rig
        self._rules([])
        for server in self.servers:
            rig.world.stores[server].full = False
            rig.power_on(server)
        rig.sleep(240)

    # ---- what befalls them ------------------------------------------------------------------

    async def _step(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.choose.randrange(0, 4)):
                group.create_task(self._work())
            await self.rig.world.sleep(self.choose.choice((0.0, 0.001, 0.003, 0.01, 1.0, 7.0, 31)))
            fault = self.choose.choice(self._faults())
            self.log.append(f"{self.rig.loop.time():.3f} {fault.__name__}")
            await fault()

    def _faults(self) -> list[Callable[[], Awaitable[None]]]:
        found: list[Callable[[], Awaitable[None]]] = [self._split, self._split, self._links]
        found += [self._heal, self._heal, self._down, self._up, self._up, self._up]
        found += [self._fill, self._empty, self._empty, self._skew]
        found += [self._copy, self._put_back, self._nothing, self._rotate]
        if self.mode == "forward":
            found += [self._appoint]
        return found

    def _rules(self, rules: list[LinkRule]) -> None:
        rig = self.rig
        for name in ("cut", "odd"):
            rig.world.rules.apply(rig.rules.drop(name))
        if rules:
            rig.world.rules.apply(rig.rules.put(rules))

    async def _split(self) -> None:
        """Two or three sides, or single links, at times one way only."""
        sides = {server: self.choose.randrange(3) for server in self.servers}
        one_way = self.choose.random() < 0.3
        few = self.choose.random() < 0.4
        rules: list[LinkRule] = []
        for src in self.servers:
            for dst in self.servers:
                apart = self.choose.random() < 0.3 if few else sides[src] != sides[dst]
                if src != dst and apart and (not one_way or src < dst):
                    rules.append(CutRule(id="cut", src=src, dst=dst))
        self._rules(rules)

    async def _links(self) -> None:
        """Messages that come late, twice, out of order, or not."""
        rules: list[LinkRule] = []
        for src in self.servers:
            for dst in self.servers:
                if src == dst or self.choose.random() < 0.4:
                    continue
                kind = self.choose.randrange(3)
                if kind == 0:
                    rules.append(LossRule(id="odd", src=src, dst=dst, share=0.4))
                elif kind == 1:
                    jitter = self.choose.choice((0.01, 3.0, 8.0))
                    rules.append(DelayRule(id="odd", src=src, dst=dst, base_s=0, jitter_s=jitter))
                else:
                    rules.append(DuplicateRule(id="odd", src=src, dst=dst, share=0.6))
        self._rules(rules)

    async def _heal(self) -> None:
        self._rules([])

    async def _down(self) -> None:
        server = self.choose.choice(self.servers)
        way = self.choose.choice(("crash", "power_loss", "stop"))
        self.off.add(server)
        await self.rig.agent.power_off(PowerOff(node=server, way=way))

    async def _up(self) -> None:
        for server in sorted(self.off):
            self.rig.world.stores[server].full = False
            await self.rig.agent.power_on(PowerOn(node=server))
        self.off.clear()

    async def _fill(self) -> None:
        store = self.rig.world.stores[self.choose.choice(self.servers)]
        store.full = not store.full

    async def _empty(self) -> None:
        for server in self.servers:
            self.rig.world.stores[server].full = False

    async def _skew(self) -> None:
        skew = self.choose.choice((0.0, -5 * HOUR, 3 * HOUR, 40.0))
        await self.rig.agent.skew(SkewClock(node=self.choose.choice(self.servers), skew_s=skew))

    async def _nothing(self) -> None:
        pass

    async def _appoint(self) -> None:
        await self._tried(self.rig.console(self.choose.choice(self.servers), MakeActive()))

    async def _rotate(self) -> None:
        """Each server has KEKs of its own; a copy of a disk that is put back has older ones."""
        message = RotateKek(after=self.choose.randrange(1, 4))
        await self._tried(self.rig.console(self.choose.choice(self.servers), message))

    async def _copy(self) -> None:
        server = self.choose.choice(self.servers)
        await self._disk(server, DiskAct.SAVE)
        self.copies.add(server)
        await self._on_again(server)

    async def _disk(self, server: NodeName, act: DiskAct) -> None:
        await self.rig.agent.power_off(PowerOff(node=server, way="stop"))
        await self.rig.world.sleep(0.1)  # what it has answered is heard
        action = DiskAction(node=server, act=act, label="old")
        await self.rig.agent.disk(action)

    async def _put_back(self) -> None:
        """One disk at a time: two that go together may well take a key along unsaid."""
        if not self.copies or self.rig.loop.time() < self.put_back_at + 300:
            return
        server = self.choose.choice(sorted(self.copies))
        self.put_back_at = self.rig.loop.time()
        risk = await self._at_risk(server)
        had = set(self.said)
        await self._disk(server, DiskAct.RESTORE)
        self._forget(server, risk | (set(self.said) - had))
        await self._on_again(server)
        self.counts["put back"] += 1

    async def _on_again(self, server: NodeName) -> None:
        if server not in self.off:
            self.rig.world.stores[server].full = False
            await self.rig.agent.power_on(PowerOn(node=server))

    async def _at_risk(self, server: NodeName) -> set[KeyId]:
        """What the server says that only it has; all that waits, when it cannot be asked."""
        if self.mode == "pair":
            return {row[0] for row in self.rig.at_rest(server, "SELECT key_id FROM waiting")}
        try:
            view = await self.rig.console(server, QueryGroup())
            assert view.keys_at_risk == len(view.at_risk), "not all of them are told"
            return set(view.at_risk)
        except ProductError:
            return set(self.said)

    def _forget(self, server: NodeName, risk: set[KeyId]) -> None:
        """Expect no more than what some disk has."""
        rows: dict[KeyId, list[tuple[str, bytes]]] = {}
        for one in self.servers:
            for key, state, held in self.rig.at_rest(
                one, "SELECT key_id, state, attributes FROM keys"
            ):
                rows.setdefault(key, []).append((state, held))
        for key in list(self.said):
            if key not in rows:
                if key not in risk:
                    self.silent_losses.append(f"{key} is gone with {server}, which had not said so")
                del self.said[key]
                self.noted = {at: value for at, value in self.noted.items() if at[0] != key}
                self.counts["lost"] += 1
                continue
            self.said[key] &= set().union(*(ABOVE[state] for state, _ in rows[key]))
            names = set().union(*(attributes.unpack(held) for _, held in rows[key]))
            for at in [at for at in self.noted if at[0] == key and at[1] not in names]:
                del self.noted[at]

    # ---- what clients ask --------------------------------------------------------------------

    async def _tried(self, work: Coroutine[Any, Any, Any]) -> bool:
        try:
            await work
        except ProductError as error:
            self.counts[type(error).__name__] += 1
            return False
        self.counts["answered"] += 1
        return True

    async def _work(self) -> None:
        self.number += 1
        number, server = self.number, self.choose.choice(self.servers)
        kinds: list[Callable[[NodeName, int], Coroutine[Any, Any, None]]] = [self._make, self._make]
        kinds += [self._register]
        if self.said:
            kinds += [self._move, self._move, self._note, self._write, self._erase, self._get]
            kinds += [self._date]
        if server in self.off and self.choose.random() < 0.9:
            return
        await self._tried(self.choose.choice(kinds)(server, number))

    def _key(self) -> KeyId:
        """One of the last few, so that servers change the same one while they are apart."""
        return self.choose.choice(list(self.said)[-5:])

    async def _make(self, server: NodeName, number: int) -> None:
        activate = self.choose.random() < 0.6
        repeats = self.choose.choice((1, 1, 2))
        for _ in range(repeats):
            made = await self.rig.request(
                server, CreateKey(operation_id=f"op-{number}", activate=activate, get=True)
            )
            self._saw(made.key_id, KmipState.ACTIVE if activate else KmipState.PRE_ACTIVE)
            if made.material is not None and made.material.keys:
                [secret] = made.material.keys
                assert self.rig.material.setdefault(made.key_id, secret) == secret

    async def _register(self, server: NodeName, number: int) -> None:
        name = Attribute(name="Name", value=ObjectName(value=f"name-{self.choose.randrange(4)}"))
        soon = self._soon()
        begins = Attribute(name="Activation Date", value=soon)
        ends = Attribute(name="Deactivation Date", value=soon + self._later())
        given = self.choose.choice(((), (name,), (ends,), (name, ends), (begins, ends), (begins,)))
        same = KeyMaterial(b"m" * 32)  # several servers register the same one
        message = RegisterKey(
            operation_id=f"op-{number}", material=Sealed.of(same), attributes=given
        )
        made = await self.rig.request(server, message)
        self._saw(made.key_id, KmipState.PRE_ACTIVE)

    def _later(self) -> float:
        return self.choose.choice((0.0, 5.0, 30.0, 9 * HOUR))

    def _soon(self) -> float:
        """A date, by the clock of who is not skewed."""
        return self.rig.loop.epoch + self.rig.loop.time() + self._later()

    async def _date(self, server: NodeName, _: int) -> None:
        """Another date for a state to come; servers with other clocks see it at other times."""
        name, date = self.choose.choice(("Activation Date", "Deactivation Date")), self._soon()
        message: Any = AddAttribute(key_id=self._key(), name=name, value=date)
        if self.choose.random() < 0.5:
            attribute = Attribute(name=name, value=date)
            message = ModifyAttribute(key_id=self._key(), attribute=attribute)
        await self.rig.request(server, message)

    async def _move(self, server: NodeName, _: int) -> None:
        key = self._key()
        compromised = RevocationReason.KEY_COMPROMISE
        if self.choose.random() < 0.3:
            done = await self.rig.request(server, Activate(key_id=key))
        else:
            message = self.choose.choice(
                (Revoke(key_id=key), Revoke(key_id=key, reason=compromised), Destroy(key_id=key))
            )
            done = await self.rig.console(server, message)
        self._saw(key, done.state)

    async def _note(self, server: NodeName, number: int) -> None:
        """An attribute that nobody else writes."""
        key, name = self._key(), f"x-{number}"
        await self.rig.request(server, AddAttribute(key_id=key, name=name, value=server))
        self.noted[key, name] = server

    async def _write(self, server: NodeName, number: int) -> None:
        key, name = self._key(), self.choose.choice(("x-a", "x-b", "Name"))
        value: Any = ObjectName(value=f"name-{self.choose.randrange(4)}")
        value = value if name == "Name" else f"{server}-{number}"
        if self.choose.random() < 0.5:
            message: Any = AddAttribute(key_id=key, name=name, value=value)
        else:
            message = ModifyAttribute(key_id=key, attribute=Attribute(name=name, value=value))
        await self.rig.request(server, message)

    async def _erase(self, server: NodeName, _: int) -> None:
        name = self.choose.choice(("x-a", "x-b", "Name"))
        await self.rig.request(server, DeleteAttribute(key_id=self._key(), name=name))

    async def _get(self, server: NodeName, _: int) -> None:
        """A state that was told is never below what it is later, whatever clocks say."""
        got = await self.rig.request(server, GetKeys(key_ids=(self._key(),)))
        for value in got.values:
            if value.state is not None:
                self._saw(value.key_id, value.state)

    def _saw(self, key: KeyId, state: KmipState) -> None:
        self.said.setdefault(key, set()).update(SAYS[state])
        self.counts["acknowledged"] += 1

    # ---- afterwards --------------------------------------------------------------------------

    def flaws(self) -> list[str]:
        """What is not as it must be; in calm."""
        found = list(self.silent_losses)
        rows = {server: self._rows(server) for server in self.servers}
        first = rows[self.servers[0]]
        for server in self.servers[1:]:
            for key in sorted(first.keys() | rows[server].keys()):
                if first.get(key) != rows[server].get(key):
                    found.append(f"{key} is not on {server} as on {self.servers[0]}")
        for key, said in self.said.items():
            if key not in first:
                found.append(f"{key} is lost")
            elif not said <= ABOVE[first[key][0]]:
                found.append(f"{key} was {sorted(said)} and is {first[key][0]}")
        for (key, name), value in self.noted.items():
            held = attributes.unpack(first[key][-1]) if key in first else {}
            if name not in held or held[name].instances != ((0, value),):
                found.append(f"{name} of {key} is lost")
        return found + self._unsettled() + self._restarted() + self._refusing()

    def _rows(self, server: NodeName) -> dict[KeyId, tuple[Any, ...]]:
        columns = (
            "state, scope, operation_id, origin, algorithm, length, usage_mask, initial_date, "
            "activation_date, deactivation_date, compromise_date, destroy_date, last_change_date, "
            "wrapped IS NULL, digest, attributes"
        )
        found = self.rig.at_rest(server, f"SELECT key_id, {columns} FROM keys")  # noqa: S608
        return {KeyId(key): tuple(rest) for key, *rest in found}

    def _unsettled(self) -> list[str]:
        found = []
        if not isinstance(self.rig, GroupRig):
            return [] if self.rig.in_step() else ["the two are not in step"]
        for server in self.servers:
            view = self.rig.group(server)
            if view.at_risk or view.breaches:
                found.append(f"{server}: {view.at_risk} at risk, {view.breaches}")
            for peer in view.peers:
                if peer.waiting or peer.down_since is not None:
                    found.append(f"{server} of {peer}")
        if len({self.rig.group(server).active for server in self.servers}) > 1:
            found.append("several are active")
        return found

    def _refusing(self) -> list[str]:
        """Each server takes a change, or knows who does."""
        found = []
        for number, server in enumerate(self.servers):
            try:
                self.rig.key(server, f"last {number}")
            except ProductError as error:
                found.append(f"{server} makes no key: {error}")
        return found

    def _restarted(self) -> list[str]:
        """The check at a start looks at trail, rows and index; then material is asked for."""
        found = []
        for server in self.servers:
            self.rig.power_off(server)
            status = self.rig.power_on(server)
            if status.screen:
                found.append(f"{server}: {status.screen}")
        self.rig.sleep(30)
        asked = tuple(key for key in self.rig.material if key in self.said)
        first = self._rows(self.servers[0])
        for server in self.servers:
            for key, value in (self.rig.values(server, asked) if asked else {}).items():
                gone = key in first and bool(first[key][13])
                if value != (None if gone else self.rig.material[key]):
                    found.append(f"{server} gives another {key}")
        return found
