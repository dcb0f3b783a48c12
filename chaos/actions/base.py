"""What every action is: a command of the API that a schedule gives, and whose outcome it records.

Adding an action: its function and its row in the file of its subject.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chaos.faults.base import Params
from chaos.lab import LabUnderTest
from chaos.observe.guests import Guests
from chaos.observe.look import nodes_of, vcenter_of
from chaos.workload import WITHIN_S, OperationOutcome
from protocol.errors import NotFound
from protocol.messages.base import Request
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, ProviderId, Role

Selected = str | list[str] | dict[str, str | int]


class ActionTarget(StrEnum):
    """What ``on`` of an action selects."""

    VMS = "VMs"
    HOSTS = "hosts"
    NOTHING = ""


class NoParams(Params):
    """An action without fields of its own."""


class On(Params):
    """Whom it is done to; each of several gets a command of its own, all at the same time."""

    on: Selected


@dataclass(frozen=True)
class Acting:
    """What an action acts with. ``name`` is what it makes is called when the file names nothing:
    unique in the lab, and the id under which a repeat is the same operation. ``exports`` has what
    was exported in this run, by the name of the backup: in memory only, for there are keys in it.
    ``guests``: what the run knows of them, None where nobody asks any.
    """

    lab: LabUnderTest
    name: str
    exports: dict[str, KeyMaterial] = field(default_factory=dict)
    guests: Guests | None = None

    async def vcenter(self, target: str, params: Any = None) -> NodeName:
        """The vCenter that the file names, else that of the target or of the cluster that is
        named, else the lab's first. ``NotFound`` when there is none."""
        said = getattr(params, "vcenter", None)
        if said is None:
            return await vcenter_of(self.lab, target or getattr(params, "cluster", None) or "")
        if said not in nodes_of(self.lab, Role.VCENTER):
            raise NotFound(f"there is no vCenter {said}")
        return NodeName(said)

    async def ask(self, node: NodeName, message: Request[Any]) -> Any:
        """The node's answer; raises what it refuses with."""
        return await self.lab.ask(node, message, within_s=WITHIN_S)

    def provider(self, named: str | None) -> ProviderId:
        """The provider that the file names, else the lab's default."""
        found = ProviderId(named) if named else self.lab.directory().default_provider
        if found is None:
            raise NotFound("the lab has no default key provider")
        return found


Run = Callable[[Acting, str, Any], Awaitable[OperationOutcome]]
"""Does it to one target (empty: to nothing); ``ProductError`` as the API refuses it."""


@dataclass(frozen=True)
class Action:
    """A command by the name that files give it; ``example`` is its own fields as a file has them,
    ``params`` reads them."""

    kind: str
    about: ActionTarget
    doc: str
    run: Run
    params: type[Params] = On
    example: str = ""


def on_hosts(
    kind: str, doc: str, run: Run, params: type[Params] = On, example: str = "on: esxi-001"
) -> Action:
    """An action on hosts."""
    return Action(kind, ActionTarget.HOSTS, doc, run, params, example)


def on_vms(
    kind: str, doc: str, run: Run, params: type[Params] = On, example: str = "on: vm-01"
) -> Action:
    """An action on VMs."""
    return Action(kind, ActionTarget.VMS, doc, run, params, example)


def asks_vcenter(message: Callable[[str, Any], Request[Any]]) -> Run:
    """An action that is one request to vCenter, made of its target and its fields."""

    async def run(acting: Acting, target: str, params: Any) -> OperationOutcome:
        await acting.ask(await acting.vcenter(target, params), message(target, params))
        return OperationOutcome("ok", {})

    return run
