"""Base of the faults that happen within a storage call of a node (``chaos.points``)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import msgspec

from chaos.errors import ChaosError
from chaos.faults.base import Fault, Params, Targets
from chaos.points import Blow, Happening, When
from protocol.terms import NodeName


class PointParams(Params):
    """``moment``: where in the call (``within``: a commit only). ``on`` is the point's node."""

    on: str | list[str] | dict[str, str | int]
    moment: When = When.BEFORE

    @property
    @abstractmethod
    def happening(self) -> Happening:
        """What falls at the point."""

    @property
    def blow(self) -> Blow:
        """It, and where in the call."""
        return Blow(self.happening, self.moment)


class PointFault(Fault, frozen=True, kw_only=True):
    """What has happened at the point that its entry waited for; ``passage`` names the call, and is
    there when it did."""

    at_point: ClassVar[bool] = True
    node: NodeName
    happening: Happening
    moment: When = When.BEFORE
    passage: str = ""

    @staticmethod
    def place(params: PointParams, targets: Targets) -> dict[str, Any]:
        """The fields ``node``, ``happening``, ``moment``; KS-CHAOS-011 for more than one node."""
        nodes = targets.nodes(params.on)
        if len(nodes) != 1:
            raise ChaosError("KS-CHAOS-011", f"{params.on} are {len(nodes)} nodes: a point has one")
        return {"node": nodes[0], "happening": params.happening, "moment": params.moment}

    def with_passage(self, passage: str) -> Fault:
        """This fault, which has happened in that call."""
        return msgspec.structs.replace(self, passage=passage)

    def touches(self) -> tuple[NodeName, ...]:
        return (self.node,)

    def summary(self) -> str:
        where = self.passage or f"a call of {self.node}"
        return f"{self.happening} {self.moment} {where}"
