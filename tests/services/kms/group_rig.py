"""Three real key servers that replicate after the answer, and a client, in the simulated world."""

from __future__ import annotations

from typing import Any

from protocol.messages.agent import DiskAct, DiskAction, NodeSpec, TpmBackend
from protocol.messages.kms.replication import GroupStatus, QueryGroup
from protocol.terms import NodeName, Role
from tests.services.kms.pair_rig import CLIENT, PairRig

A, B, C = NodeName("kms-1"), NodeName("kms-2"), NodeName("kms-3")


class GroupRig(PairRig):
    """As ``PairRig``, of servers in ``mode``; ``settings`` are more fields of their config."""

    def __init__(
        self,
        seed: int = 1,
        servers: tuple[NodeName, ...] = (A, B, C),
        mode: str = "async",
        settings: dict[str, Any] | None = None,
        **knobs: Any,
    ) -> None:
        self.servers, self._mode, self._settings = servers, mode, settings or {}
        super().__init__(seed, TpmBackend.NONE, **knobs)

    def _nodes(self) -> list[NodeSpec]:
        return [self.spec(server, None) for server in self.servers]

    def spec(self, server: NodeName, peer: NodeName | None) -> NodeSpec:
        identities: dict[str, Any] = {CLIENT: {"role": "client"}}
        identities |= {other: {"role": "peer"} for other in self.servers if other != server}
        active = {"active": self.servers[0]} if self._mode == "forward" else {}
        config = {"identities": identities, "replication": self._mode, **active, **self._settings}
        return NodeSpec(node=server, role=Role.KMS, knobs=self._knobs, config=config)

    def group(self, server: NodeName) -> GroupStatus:
        """How the server stands with the others, asked at its console."""
        return self.at(server, QueryGroup())

    def disk(self, server: NodeName, act: DiskAct) -> None:
        """Take a copy of the disk of a server that is off, or put it back."""
        self.run(self.agent.disk(DiskAction(node=server, act=act, label="old")))

    def agree(self, *servers: NodeName) -> bool:
        """Whether these have the same keys in the same states."""
        return len({tuple(self.digests(server)) for server in servers or self.servers}) == 1
