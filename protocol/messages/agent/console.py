"""The local console of a node, through its agent."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.errors import ErrorBody
from protocol.messages.base import NIL, Repeat, Reply, Request
from protocol.terms import NodeName


class Ask(Request["Answer"], frozen=True, kw_only=True):
    """The local console: pass ``body`` (message ``name``) to the node's own service.

    The service sees a peer with ``local`` set, and has ``within_s`` lab seconds to answer. Key
    material is refused with ``Malformed``. ``user``: who asks; empty: the node's administrator.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    name: str
    body: msgspec.Raw
    within_s: float
    user: str = ""


class Answer(Reply, frozen=True, kw_only=True):
    """Either a reply message (``name``, and its encoded ``body``) or ``error``."""

    name: str = ""
    body: msgspec.Raw = NIL
    error: ErrorBody | None = None


class AskEach(Request["Answers"], frozen=True, kw_only=True):
    """The local consoles of several nodes of this agent: the same question to each, as ``Ask``.

    ``Malformed`` for a message that does more than read. If the answers are too many for one
    message, the last ones are left out, and the caller asks those nodes again.
    """

    nodes: tuple[NodeName, ...]
    name: str
    body: msgspec.Raw
    within_s: float


class Answers(Reply, frozen=True, kw_only=True):
    """The answers of the first nodes, in their order; at least one."""

    answers: tuple[Answer, ...]
