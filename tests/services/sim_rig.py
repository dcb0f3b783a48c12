"""Nodes in the simulated world, driven by hand: what the rigs of all services share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TypeVar

from protocol.messages import agent as m
from protocol.terms import NodeName
from services.runtime.agent import Agent
from services.runtime.link_rules import DesiredRules
from services.runtime.node import Recipe
from services.runtime.sim.bus import SimBroker
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.world import SimWorld

T = TypeVar("T")


class SimRig(ABC):
    """One simulated lab; every method runs virtual time until its effect is there. Close it.

    ``tap`` hears every payload that the broker carries. ``records`` are all log lines of all nodes.
    """

    longest_s = 20_000.0
    """Virtual seconds that one piece of work may last."""

    def __init__(self, seed: int, tap: Callable[[str, str, bytes], None] | None = None) -> None:
        self.loop = SimLoop(seed)
        self.broker = SimBroker(self.loop, seed, tap=tap)
        self.world = SimWorld(self.loop, self.broker, seed)
        self.records: list[m.NodeRecord] = []
        self.rules = DesiredRules()
        self.agent = Agent(self.world, self.recipe, self.records.append)

    @abstractmethod
    def recipe(self, spec: m.NodeSpec) -> Recipe:
        """How the service of that node is made, for each of its lives."""

    def close(self) -> None:
        for store in self.world.stores.values():
            store.close()
        self.loop.close()

    def run(self, work: Coroutine[object, object, T], seconds: float | None = None) -> T:
        return self.loop.run(work, seconds=self.longest_s if seconds is None else seconds)

    def sleep(self, seconds: float) -> None:
        self.run(self.world.sleep(seconds), seconds + 10)

    def add_node(self, spec: m.NodeSpec) -> None:
        """It is off."""
        self.run(self.agent.add_node(m.AddNode(spec=spec)))

    def power_on(self, node: NodeName, /, **options: str) -> m.NodeStatus:
        return self.run(self.agent.power_on(m.PowerOn(node=node, options=options))).status

    def power_off(self, node: NodeName, way: str = "crash") -> m.NodeStatus:
        return self.run(self.agent.power_off(m.PowerOff(node=node, way=way))).status

    def cut(self, *pairs: tuple[NodeName, NodeName]) -> None:
        """Cut these links too, both ways."""
        rules = [
            m.CutRule(id="cut", src=src, dst=dst) for a, b in pairs for src, dst in ((a, b), (b, a))
        ]
        self.world.rules.apply(self.rules.put(rules))

    def heal(self) -> None:
        self.world.rules.apply(self.rules.drop("cut"))
