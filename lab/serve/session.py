"""What a command is given: a lab that can be commanded.

``@executes`` marks the function that executes a command where that function stands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from chaos.draws import Draws
from chaos.keeper import FaultKeeper
from chaos.lab import Directory
from chaos.selectors import select_nodes, select_vms
from lab.building.course import Report
from lab.core import LabCore
from lab.schema import commands
from lab.schema.commands import Command, answer_type, name_of
from lab.schema.errors import KeysteadError
from lab.serve.files import CommandFiles
from lab.serve.message_tap import MessageTap
from protocol import names
from protocol.messages.agent import BootBanks, NodeSpec
from protocol.messages.base import Reply, Request
from protocol.printable import did_you_mean, quote_if_needed
from protocol.terms import CLIENT, ClusterName, NodeName, Role, VmName
from services.runtime.real.watchdog import BlockageCounts

if TYPE_CHECKING:
    from lab.machines.roster import Roster


N = TypeVar("N", bound=str)
R = TypeVar("R", bound=Reply)
WARNINGS_KEPT = 20


def _unheard(text: str, step: int, total: int) -> None:
    """Nobody listens."""


def _not_kept(spec: NodeSpec) -> None:
    """The lab ends with this session."""


def _not_dropped(node: NodeName) -> None:
    """It was not kept either."""


def _not_noted(node: NodeName, banks: BootBanks) -> None:
    """The lab ends with this session."""


@dataclass
class LabSession:
    """A lab and its faults, as one command sees them.

    ``chosen`` is the vCenter that one command names, ``user`` the principal that gives it there
    (empty: its administrator).
    ``host_added`` is called for each host that a command is about to add, ``host_dropped`` when it
    was not, and ``installed`` for the releases that one leaves on a host, so that a lab which
    outlives its processes knows of it the next time.
    ``files`` are those of one command.
    ``folder`` is where a lab of real processes lies, ``roster`` its other machines;
    ``warnings`` are the last things that went wrong with the lab itself, oldest first; ``stands``
    counts how often the event loop of this process stood still; ``tap`` hears the bus.
    """

    lab: LabCore
    keeper: FaultKeeper
    report: Report = _unheard
    host_added: Callable[[NodeSpec], None] = _not_kept
    host_dropped: Callable[[NodeName], None] = _not_dropped
    installed: Callable[[NodeName, BootBanks], None] = _not_noted
    folder: Path | None = None
    roster: Roster | None = None
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=WARNINGS_KEPT))
    stands: BlockageCounts = field(default_factory=BlockageCounts)
    tap: MessageTap = field(default_factory=MessageTap)
    growing: asyncio.Lock = field(default_factory=asyncio.Lock)  # while a machine is added
    playing: dict[str, asyncio.Task[Any]] = field(default_factory=dict)  # runs in progress
    chosen: NodeName | None = None
    user: str = ""
    files: CommandFiles = field(default_factory=CommandFiles)

    def beside(self, files: CommandFiles | None) -> LabSession:
        """This session for one command, with the ``files`` that it names; itself without any."""
        return self if files is None else replace(self, files=files)

    def by(self, user: str) -> LabSession:
        """This session for one command that ``user`` gives; itself without a user."""
        if not user:
            return self
        if fault := names.PRINCIPAL.fault(user):
            raise KeysteadError("KS-USE-003", fault)
        return replace(self, user=user)

    async def ask(self, node: NodeName, message: Request[R], *, within_s: float = 30.0) -> R:
        """As ``LabCore.ask``: a vCenter is asked by the user of this command, a host or a key
        server by its own administrator."""
        user = self.user if node in self.lab.topology.vcenters else ""
        return await self.lab.ask(node, message, within_s=within_s, user=user)

    def at(self, vcenter: str) -> LabSession:
        """This session for one command that is to go to ``vcenter``; itself when it names none."""
        if not vcenter:
            return self
        known = NodeName(_resolve_name("vCenter", vcenter, self.lab.topology.vcenters))
        return replace(self, chosen=known)

    @property
    def vcenter(self) -> NodeName:
        """The vCenter that this command goes to: the chosen one, else the first of the lab."""
        return self.chosen or self.lab.vcenter

    def vcenter_of(self, host: NodeName | None) -> NodeName:
        """The chosen vCenter, else that of the host's cluster; the lab's first for None."""
        if self.chosen is not None or host is None:
            return self.vcenter
        return self.lab.vcenter_of(host)

    def vcenter_to_show(self, vcenter: NodeName) -> NodeName | None:
        """What an item of a list says of its vCenter: nothing where there is no choice."""
        return vcenter if len(self.vcenters()) > 1 else None

    def at_host(self, host: NodeName | None) -> LabSession:
        """This session for a command about ``host``."""
        return replace(self, chosen=self.vcenter_of(host))

    def at_cluster(self, cluster: str) -> LabSession:
        """This session for a command about a cluster: at the vCenter that has it."""
        hosts = self.lab.hosts()
        first = next((host for host in hosts if self.lab.spec(host).cluster == cluster), None)
        return self.at_host(first)

    def vcenters(self) -> tuple[NodeName, ...]:
        """Those whose lists are shown: the chosen one, else all that have clusters."""
        if self.chosen is not None:
            return (self.chosen,)
        with_hosts = {self.lab.vcenter_of(host) for host in self.lab.hosts()}
        there = tuple(v for v in self.lab.topology.vcenters if v in with_hosts)
        return there or (self.lab.vcenter,)

    def host(self, name: str) -> NodeName:
        """``name`` as a host; KS-USE-002 with the nearest name otherwise."""
        return NodeName(_resolve_name("host", name, self.lab.hosts()))

    def node(self, name: str) -> NodeName:
        """``name`` as any node; KS-USE-002 with the nearest name otherwise."""
        return NodeName(_resolve_name("node", name, [e.node for e in self.lab.directory().nodes]))

    def link_end(self, name: str) -> NodeName:
        """``name`` as an end of a link: any node, or ``client``."""
        return CLIENT if name == CLIENT else self.node(name)

    def key_server(self, name: str) -> NodeName:
        """``name`` as a key server; KS-USE-002 when it is none."""
        node = self.node(name)
        if node not in self.key_servers():
            raise KeysteadError("KS-USE-002", f"{node} is no key server")
        return node

    def cluster(self, name: str, host: NodeName | None) -> ClusterName:
        """The cluster meant: ``name``, else that of ``host``, else the first that has a host."""
        hosts = self.lab.hosts() if host is None else (host,)
        first = next((self.lab.spec(h).cluster for h in hosts), "")
        return ClusterName(name or first)

    def vm(self, name: str) -> VmName:
        """``name`` as a VM; KS-USE-002 with the nearest name otherwise."""
        return VmName(_resolve_name("VM", name, self.lab.directory().vms))

    def nodes(self, selectors: Iterable[str]) -> tuple[NodeName, ...]:
        """Nodes by name or selector (``esxi-[001-003]``, ``site:edge``), each once."""
        found: dict[NodeName, None] = {}
        for text in selectors:
            plain = _is_name(text, [str(e.node) for e in self.lab.directory().nodes])
            chosen = (self.node(text),) if plain else self._select(select_nodes, text)
            found.update(dict.fromkeys(chosen))
        return tuple(found)

    def vms(self, selectors: Iterable[str]) -> tuple[VmName, ...]:
        """VMs by name or selector (``vm-[01-04]``, ``all``), each once."""
        found: dict[VmName, None] = {}
        for text in selectors:
            plain = _is_name(text, self.lab.directory().vms)
            chosen = (self.vm(text),) if plain else self._select(select_vms, text)
            found.update(dict.fromkeys(chosen))
        return tuple(found)

    def _select(
        self, select: Callable[[object, Directory, Draws], tuple[N, ...]], text: str
    ) -> tuple[N, ...]:
        return select(text, self.lab.directory(), Draws(0, f"command/{text}"))

    def key_servers(self) -> tuple[NodeName, ...]:
        """The key servers of the lab, in order of the topology."""
        return tuple(e.node for e in self.lab.directory().nodes if e.role is Role.KMS)


def _is_name(text: str, known: Iterable[str]) -> bool:
    """A name that is there, or a word that has nothing of a selector."""
    return text in known or (text != "all" and not set(text) & set("[]:% "))


def _resolve_name(what: str, name: str, names: Iterable[str]) -> str:
    known = list(names)
    if name in known:
        return name
    text = f"there is no {what} {quote_if_needed(name)}{did_you_mean(name, known)}"
    raise KeysteadError("KS-USE-002", text)


Function = Callable[[LabSession, Any], Awaitable[msgspec.Struct]]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True)
class Served:
    """A command as the lab serves it."""

    command: type[Command[Any]]
    run: Function

    @property
    def name(self) -> str:
        """The command's name on the wire."""
        return name_of(self.command)

    @property
    def answer(self) -> type[msgspec.Struct]:
        """The struct that answers it."""
        return answer_type(self.command)

    @property
    def changes(self) -> bool:
        """Whether the lab may be another one afterwards."""
        return self.command.changes


COMMANDS: dict[type[Command[Any]], Served] = {}
"""Every command that a lab serves, once ``lab.serve.table`` is imported."""


def executes(function: F) -> F:
    """Let ``async def function(session, command: commands.VmOn)`` execute that command, or each
    command of a kind, such as ``commands.LinkFault``.

    Raises ``TypeError`` for a command that another function executes.
    """
    named = getattr(commands, function.__annotations__["command"].rpartition(".")[2])
    for kind in commands.all_commands(named):
        if kind in COMMANDS:
            other = COMMANDS[kind].run
            raise TypeError(f"{kind.__name__} is executed by {other.__qualname__} already")
        COMMANDS[kind] = Served(kind, function)
    return function
