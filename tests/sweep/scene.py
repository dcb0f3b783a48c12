"""The lab as a story of the sweep uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from lab.schema.commands import Command
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.simulation.sim_lab import SimLab
from protocol.messages.agent import CutRule, NodeRunState
from protocol.messages.base import Reply, Request
from protocol.terms import NodeName

R = TypeVar("R", bound=Reply)
T = TypeVar("T")
TASK_S: Final = 60.0  # lab seconds that a task may take
SETTLE_S: Final = 20.0  # lab seconds after which a node that is back knows of the others
_CUT: Final = "sweep"


@dataclass
class Scene:
    """``lab`` and ``session``; ``notes`` is what a story remembers while it is played."""

    lab: SimLab
    session: LabSession
    notes: dict[str, Any] = field(default_factory=dict)

    async def do(self, command: Command[T]) -> T:
        """A command of the lab's API."""
        return await perform(self.session, command)

    async def ask(self, node: NodeName, message: Request[R]) -> R:
        """A question at the node's console."""
        return await self.lab.ask(node, message, within_s=TASK_S)

    async def as_node(self, node: NodeName, to: NodeName, message: Request[R]) -> R:
        """``message`` over the bus under another node's name, as that node's service sends it."""
        life = self.lab.agent.machine(node).runner
        answer: asyncio.Future[R] = self.lab.loop.create_future()

        async def send() -> None:
            try:
                answer.set_result(await life.ports.bus.request(to, message, within_s=TASK_S))
            except Exception as error:
                answer.set_exception(error)

        self.lab.world.spawn(life.life, "sweep", send())
        return await answer

    def service(self, node: NodeName) -> Any:
        """The service in its present life, for looks that no message gives."""
        return self.lab.agent.machine(node).runner.service

    async def cut_off(self, nodes: Iterable[NodeName]) -> None:
        """Cut these from all others, until ``rejoin``."""
        others = [entry.node for entry in self.lab.directory().nodes]
        pairs = [(a, b) for a in nodes for b in others if a != b]
        await self.lab.put_rules(
            [CutRule(id=_CUT, src=x, dst=y) for a, b in pairs for x, y in ((a, b), (b, a))]
        )

    async def rejoin(self) -> None:
        """Heal what ``cut_off`` has cut, and wait until it is known."""
        await self.lab.drop_rules(_CUT)
        await self.settle()

    async def settle(self) -> None:
        """Let the lab come to rest."""
        await self.lab.sleep(SETTLE_S)

    async def boot(self, node: NodeName) -> str:
        """Take the node's power and give it back; why it does not serve then, empty if it does."""
        await self.lab.power_off(node, "power_loss")
        status = await self.lab.power_on(node)
        if status.state is NodeRunState.RUNNING:
            return ""
        return f"{node} does not serve again: {status.state.value} {status.screen}".strip()
