"""Rules of links, and canaries that show whether messages pass."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import NodeName


class _OnLink(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The fields of every rule: ``id`` names the fault that a rule belongs to.

    ``until`` is the end of the lease (lab monotonic seconds); 0 = until withdrawn. ``loses``:
    whether rules of this kind may lose a message.
    """

    loses: ClassVar[bool] = False
    id: str
    src: NodeName
    dst: NodeName
    until: float = 0.0


class CutRule(_OnLink, frozen=True, kw_only=True, tag="cut"):
    """Nothing passes, neither at the sender nor at the receiver.

    ``requests``: only requests of these names, and only at the sender; empty: everything.
    """

    loses: ClassVar[bool] = True
    requests: tuple[str, ...] = ()


class LossRule(_OnLink, frozen=True, kw_only=True, tag="loss"):
    """A ``share`` (0..1) of the messages is lost."""

    loses: ClassVar[bool] = True
    share: float


class DelayRule(_OnLink, frozen=True, kw_only=True, tag="delay"):
    """Each message is held for ``base_s`` lab seconds, and up to ``jitter_s`` more."""

    base_s: float
    jitter_s: float = 0.0


class DuplicateRule(_OnLink, frozen=True, kw_only=True, tag="duplicate"):
    """A ``share`` (0..1) of the messages is sent twice."""

    share: float


class ResetRule(_OnLink, frozen=True, kw_only=True, tag="reset"):
    """A connection that sends over the link is reset; messages pass."""


class StallRule(_OnLink, frozen=True, kw_only=True, tag="stall"):
    """Handshakes of connections do not progress; connections with a finished handshake continue."""


LinkRule = CutRule | LossRule | DelayRule | DuplicateRule | ResetRule | StallRule
"""One rule of one directed link."""


class SetRules(Request[Done], frozen=True, kw_only=True):
    """The whole desired set of rules. An epoch that is not above the one in force is ignored.

    The rules of one link form a chain in the given order: each judges what the one before lets
    pass.

    ``refusing`` are nodes whose process is down on a live machine: a request to one ends in
    ``Refused`` instead of silence.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    epoch: int
    rules: tuple[LinkRule, ...]
    refusing: tuple[NodeName, ...] = ()


class Canary(Request["CanaryResult"], frozen=True, kw_only=True):
    """Send ``Ping`` from one node to another over the data bus, ``count`` times at once.

    Each has ``within_s`` lab seconds to return, and so has the answer, however many are lost.
    ``stream``: TLS handshakes instead, below the service.
    """

    node: NodeName
    to: NodeName
    within_s: float = 1.0
    count: int = 1
    stream: bool = False


class CanaryResult(Reply, frozen=True, kw_only=True):
    """How many returned, their round-trip times (lab s), and the name of the last error."""

    answered: int
    seconds: tuple[float, ...] = ()
    error: str = ""
