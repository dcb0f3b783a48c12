"""What clients of key servers recorded of their operations, and when servers were apart.

An operation is an ``invoke`` record with the server as its node and ``n`` in its data, and one of
``ok``, ``fail`` (it certainly had no effect) or ``info`` (nobody knows) with the same ``n``. Its
``op`` is one of ``OPERATIONS``. Without an end nobody knows either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.history import Record, fault_id

CREATE: Final = "kms.create"
REGISTER: Final = "kms.register"
GET: Final = "kms.get"
ATTRIBUTES: Final = "kms.attributes"
LOCATE: Final = "kms.locate"
ACTIVATE: Final = "kms.activate"
REVOKE: Final = "kms.revoke"
COMPROMISE: Final = "kms.compromise"
DESTROY: Final = "kms.destroy"
ROTATE: Final = "kms.rotate_kek"
CUSTODY: Final = "kms.custody"
OPERATIONS: Final = frozenset(
    {
        *(CREATE, REGISTER, GET, ATTRIBUTES, LOCATE, ACTIVATE, REVOKE),
        *(COMPROMISE, DESTROY, ROTATE, CUSTODY),
    }
)
SERVERS: Final = "kms.servers"
"""Of the ``state`` record that says which servers replicate how (``Group``), with these fields."""
ASKED: Final = "kms.asked"
SETTLED: Final = "kms.settled"
"""Of the ``state`` record that says that all ``servers`` have what they have changed: their word,
for which they were asked after the record ``ASKED`` at the moment ``since``."""


@dataclass(frozen=True)
class Act:
    """An operation of a client at ``server``, by its number ``n``.

    ``asked`` and ``answer`` are the data of its two records; ``how``: ``ok``, ``fail`` or ``info``;
    times are seconds of the history, ``end`` infinite while nobody knows.
    """

    n: int
    server: str
    op: str
    asked: dict[str, Any]
    begin: float
    end: float = math.inf
    how: str = "info"
    answer: dict[str, Any] = field(default_factory=dict)
    records: tuple[int, ...] = ()

    @property
    def uid(self) -> str:
        """The key that it is about; empty when it is about none, or nobody knows about which."""
        return str(self.asked.get("uid") or self.answer.get("uid") or "")

    @property
    def error(self) -> str:
        """Why it was refused; empty when it was not."""
        return str(self.answer.get("error", "")) if self.how == "fail" else ""


@dataclass(frozen=True)
class Group:
    """Servers that replicate: ``mode`` as a lab file has it, or ``none``.

    ``settle_s``: so long after nothing parts two of them any more, each has what the other has;
    infinite where only their own word counts (``SETTLED``).
    ``active``: the server that takes the changes of a group in mode ``forward``; empty when it is
    not the same all the time.
    """

    servers: tuple[str, ...]
    mode: str
    settle_s: float
    active: str = ""


@dataclass
class Acts:
    """All of a history. ``apart``: from when to when a server was down, or two were cut off.
    ``settled``: servers that were asked from the first moment on, and had said by the second one
    that each of them has all that the others had changed."""

    acts: list[Act] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    apart: list[tuple[frozenset[str], float, float]] = field(default_factory=list)
    settled: list[tuple[frozenset[str], float, float]] = field(default_factory=list)
    _separated: dict[frozenset[str], list[tuple[float, float]]] = field(default_factory=dict)

    def known_by(self, servers: Sequence[str], answered: float) -> float:
        """By when all of these servers have said that they have what was answered at that moment;
        infinite when they never have."""
        said = (
            end for nodes, since, end in self.settled if nodes >= set(servers) and since > answered
        )
        return min(said, default=math.inf)

    def times_apart(self, one: str, other: str) -> Sequence[tuple[float, float]]:
        """When the two could not reach each other; asked for when the history was read whole."""
        pair = frozenset({one, other})
        if pair not in self._separated:
            spans = [(begin, end) for nodes, begin, end in self.apart if _parts(nodes, pair)]
            self._separated[pair] = sorted(spans)
        return self._separated[pair]


def _parts(nodes: frozenset[str], pair: frozenset[str]) -> bool:
    """Of one node: it was down. Of several: the links between these were cut."""
    return pair >= nodes if len(nodes) == 1 else nodes >= pair


def acts_of(records: Sequence[Record]) -> Acts:
    """What the clients of this history recorded."""
    found, open_ = Acts(), dict[int, Act]()
    faults: dict[str, tuple[frozenset[str], float]] = {}
    for record in records:
        if record.op in OPERATIONS:
            _take(found, open_, record)
        elif record.type == "state" and record.op == SERVERS:
            data = record.data
            settings = (str(data["mode"]), float(data["settle_s"]), str(data.get("active", "")))
            found.groups.append(Group(tuple(data["servers"]), *settings))
        elif record.type == "state" and record.op == SETTLED:
            nodes = frozenset(map(str, record.data["servers"]))
            found.settled.append((nodes, float(record.data["since"]), record.t))
        elif record.type == "fault":
            nodes = frozenset(map(str, record.data.get("nodes", ())))
            faults[fault_id(record)] = (nodes, record.t)
        elif record.type == "heal" and fault_id(record) in faults:
            nodes, begin = faults.pop(fault_id(record))
            found.apart.append((nodes, begin, record.t))
    found.acts += open_.values()
    found.acts.sort(key=lambda act: (act.begin, act.n))
    found.apart += [(nodes, begin, math.inf) for nodes, begin in faults.values()]
    return found


def _take(found: Acts, open_: dict[int, Act], record: Record) -> None:
    number = int(record.data["n"])
    if record.type == "invoke":
        open_[number] = Act(
            n=number,
            server=record.node,
            op=record.op,
            asked=record.data,
            begin=record.t,
            records=(record.seq,),
        )
        return
    act = open_.pop(number)
    found.acts.append(
        Act(
            n=number,
            server=act.server,
            op=act.op,
            asked=act.asked,
            begin=act.begin,
            end=math.inf if record.type == "info" else record.t,
            how=record.type,
            answer=record.data,
            records=(*act.records, record.seq),
        )
    )
