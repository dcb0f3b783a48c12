"""Two real key servers of a pair and a client, in the simulated world; faults, and ways to look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

from protocol.errors import ProductError
from protocol.messages.agent import (
    NodeRecord,
    NodeSpec,
    TpmBackend,
)
from protocol.messages.base import Reply, Request
from protocol.messages.kms.keys import CreateKey, GetKeys, KeyAttributes, KeyValue, Locate
from protocol.messages.kms.keys import GetAttributes as GetAttributesMessage
from protocol.messages.kms.replication import KeyDigest, QueryDigests, QueryPair
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, NodeName, Role
from services.kms.custody.opening import DATABASE
from services.kms.service import KmsService
from services.kms.settings.config import kms_config
from services.knobs import knobs_of
from services.runtime.node import Recipe
from services.runtime.service import Service
from tests.services.sim_rig import SimRig

T = TypeVar("T")
R = TypeVar("R", bound=Reply)

A, B, CLIENT = NodeName("kms-1"), NodeName("kms-2"), NodeName("vcenter")
PAIR = (A, B)


class Client(Service):
    """Serves nothing; the test asks in its name."""

    role: ClassVar[Role] = Role.VCENTER


class PairRig(SimRig):
    """``material``: what a client was answered of each key, for ever. ``wire``: all
    payloads that the broker has carried."""

    def __init__(self, seed: int = 1, tpm: TpmBackend = TpmBackend.NONE, **knobs: Any) -> None:
        self.wire: list[bytes] = []
        super().__init__(seed, tap=lambda _to, _reply, it: self.wire.append(it))
        self.material: dict[KeyId, KeyMaterial] = {}
        self._knobs, self._tpm = knobs, tpm
        self.add_node(NodeSpec(node=CLIENT, role=Role.VCENTER))
        specs = self._nodes()
        for spec in specs:
            self.add_node(spec)
        for node in (CLIENT, *[spec.node for spec in specs]):
            self.power_on(node)
        self.sleep(1)  # the two meet

    def _nodes(self) -> list[NodeSpec]:
        return [self.spec(A, B), self.spec(B, A)]

    def spec(self, server: NodeName, peer: NodeName | None) -> NodeSpec:
        identities: dict[str, Any] = {CLIENT: {"role": "client"}}
        if peer is not None:
            identities[peer] = {"role": "peer"}
        return NodeSpec(
            node=server,
            role=Role.KMS,
            tpm=self._tpm,
            knobs=self._knobs,
            config={"identities": identities},
        )

    def recipe(self, spec: NodeSpec) -> Recipe:
        def make(node: Any, ports: Any) -> Service:
            if spec.role is Role.VCENTER:
                return Client(node, ports)
            return KmsService(node, ports, kms_config(spec.config))

        return Recipe(knobs_of(spec.role, spec.knobs), make)

    def cut(self, *pairs: tuple[NodeName, NodeName]) -> None:
        """Cut these links, both ways; the only ones that are cut then."""
        self.heal()
        super().cut(*pairs)

    # ---- asking -----------------------------------------------------------------------------

    async def request(self, server: NodeName, message: Request[R], within_s: float = 10) -> R:
        """In the name of the client, over the bus."""
        bus = self.agent.machine(CLIENT).runner.ports.bus
        return await bus.request(server, message, within_s=within_s)

    def ask(self, server: NodeName, message: Request[R]) -> R:
        return self.run(self.request(server, message))

    async def console(self, server: NodeName, message: Request[R]) -> R:
        reply = await self.agent.machine(server).runner.ask(message, 60)
        return reply  # type: ignore[return-value]

    def at(self, server: NodeName, message: Request[R]) -> R:
        """At the server's own console."""
        return self.run(self.console(server, message))

    async def make(self, server: NodeName, operation_id: str) -> KeyId:
        """A key that the server acknowledged, remembered with its material."""
        made = await self.request(
            server, CreateKey(operation_id=operation_id, activate=True, get=True)
        )
        assert made.material is not None
        [secret] = made.material.keys
        assert self.material.setdefault(made.key_id, secret) == secret, "one id, two materials"
        return made.key_id

    def key(self, server: NodeName, operation_id: str) -> KeyId:
        return self.run(self.make(server, operation_id))

    def refused(self, server: NodeName, message: Request[Any]) -> ProductError:
        async def tried() -> ProductError:
            try:
                await self.request(server, message)
            except ProductError as error:
                return error
            raise AssertionError(f"{type(message).__name__} was not refused")

        return self.run(tried())

    # ---- looking ----------------------------------------------------------------------------

    def digests(self, server: NodeName) -> Iterator[KeyDigest]:
        """What the server says of each of its keys, page by page."""
        after, more = KeyId(""), True
        while more:
            page = self.at(server, QueryDigests(after=after))
            yield from page.keys
            after, more = page.keys[-1].key_id if page.keys else after, page.more

    def attributes(self, server: NodeName) -> dict[KeyId, KeyAttributes]:
        """Every key of the server by id, asked at its console."""
        ids = self.at(server, Locate()).key_ids
        found = self.at(server, GetAttributesMessage(key_ids=ids)).keys if ids else ()
        return {key.key_id: key for key in found}

    def values(self, server: NodeName, ids: tuple[KeyId, ...]) -> dict[KeyId, KeyMaterial | None]:
        """Material as the client gets it."""
        got = self.ask(server, GetKeys(key_ids=ids))

        def of(value: KeyValue) -> KeyMaterial | None:
            return None if value.index is None else got.material.keys[value.index]

        return {value.key_id: of(value) for value in got.values}

    def at_rest(self, server: NodeName, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """What lies in the server's database, whether the server is on or off."""
        drive = self.world.stores[server].drives[DATABASE]
        return list(drive.connection.execute(statement, values))

    def in_step(self) -> bool:
        """Whether neither has anything to tell the other, nor has marked it."""
        views = [self.at(server, QueryPair()) for server in PAIR]
        return all(view.waiting == 0 and view.down_since is None for view in views)

    def seen(self, kind: str) -> list[NodeRecord]:
        return [record for record in self.records if record.kind == kind]

    def healthy(self) -> None:
        """Nothing unexpected happened in any node."""
        assert not self.loop.escapes, self.loop.escapes
        assert not self.loop.unhandled, self.loop.unhandled
        kinds = ("node.internal_error", "node.background_failed", "node.start_failed")
        bad = [record for record in self.records if record.kind in kinds]
        assert not bad, bad
