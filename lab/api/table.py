"""The table of verbs and what a verb is given."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.keeper import FaultKeeper
from chaos.lab import Directory
from chaos.selectors import select_nodes, select_vms
from lab.core import LabCore
from lab.errors import KeysteadError
from protocol.errors import NotFound, ProductError
from protocol.terms import NodeName, Role, VmName


@dataclass
class Session:
    """A lab that can be commanded: the lab, its faults, and where progress is told."""

    lab: LabCore
    keeper: FaultKeeper
    report: Callable[[str, int, int], None] = lambda text, step, total: None
    playing: dict[str, asyncio.Task[Any]] = field(default_factory=dict)  # runs in progress

    def host(self, name: str) -> NodeName:
        """``name`` as a host; KS-USE-002 with the nearest name otherwise."""
        return NodeName(_known("host", name, self.lab.hosts()))

    def node(self, name: str) -> NodeName:
        """``name`` as any node."""
        return NodeName(_known("node", name, [e.node for e in self.lab.directory().nodes]))

    def vm(self, name: str) -> VmName:
        return VmName(_known("VM", name, self.lab.directory().vms))

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
        return tuple(e.node for e in self.lab.directory().nodes if e.role is Role.KMS)


def _is_name(text: str, known: Iterable[str]) -> bool:
    """A name that is there, or a word that has nothing of a selector."""
    return text in known or (text != "all" and not set(text) & set("[]:% "))


def _known(what: str, name: str, names: Iterable[str]) -> str:
    known = list(names)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise KeysteadError("KS-USE-002", f"there is no {what} {name}{hint}")


N = TypeVar("N", bound=str)
A = TypeVar("A", bound=msgspec.Struct)
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True)
class Verb:
    """One command: its argument struct, its function, whether it changes the lab."""

    name: str
    arguments: type[msgspec.Struct]
    run: Callable[[Session, Any], Awaitable[Any]]
    changes: bool


VERBS: dict[str, Verb] = {}


def verb(name: str, arguments: type[A], *, changes: bool = False) -> Callable[[F], F]:
    """Enter an ``async def f(session, arguments)`` into the table under ``name``."""

    def enter(run: F) -> F:
        if name in VERBS:
            raise TypeError(f"verb {name} is defined twice")
        VERBS[name] = Verb(name, arguments, run, changes)
        return run

    return enter


_COMMAND = {
    "KS-CHAOS-004": "KS-USE-003",
    "KS-CHAOS-005": "KS-USE-003",
    "KS-CHAOS-010": "KS-USE-002",
    "KS-CHAOS-011": "KS-USE-003",
    "KS-CHAOS-014": "KS-USE-002",
    "KS-CHAOS-104": "KS-USE-002",
    "KS-CHAOS-105": "KS-USE-003",
}


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


async def run_verb(session: Session, name: str, arguments: bytes) -> bytes:
    """Run the verb; its result as msgpack. Every failure becomes a ``KeysteadError``."""
    found = VERBS.get(name)
    if found is None:
        raise KeysteadError("KS-USE-001", f"there is no verb {name}")
    try:
        decoded = msgspec.msgpack.decode(arguments, type=found.arguments)
    except msgspec.DecodeError as error:
        raise KeysteadError("KS-USE-003", f"{name}: {error}") from None
    try:
        return msgspec.msgpack.encode(await found.run(session, decoded))
    except ProductError as error:
        raise refusal(error) from None
    except ChaosError as error:
        # A command with a wrong word in it is a wrong command, as all others are.
        raise KeysteadError(_COMMAND.get(error.id, error.id), error.text, error.fix) from None


def refusal(error: ProductError) -> KeysteadError:
    """The product's (or the lab's) no, in its own words."""
    if isinstance(error, NotFound):
        return KeysteadError("KS-USE-002", str(error))
    keys = f" (keys: {', '.join(map(str, error.keys))})" if error.keys else ""
    fault = error.fault or type(error).__name__
    return KeysteadError("KS-PRODUCT-001", f"{fault}: {error}{keys}")
