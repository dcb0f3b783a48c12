"""Subjects of directed links on the data broker, and who may use them.

``l.<src>.<dst>.q.<Message>``   a request on the link src -> dst
``l.<dst>.<src>._r.<token>``    its reply, on the reverse link
``e.<src>.<Event>``             a broadcast
The control broker has ``ctl.`` subjects of its own (``lab.brokers.server``).
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol import names
from protocol.terms import NodeName


@dataclass(frozen=True, slots=True)
class Link:
    """An ordered pair of nodes."""

    src: NodeName
    dst: NodeName

    @property
    def reverse(self) -> Link:
        """The link on which replies travel."""
        return Link(self.dst, self.src)


def request_subject(src: str, dst: str, message: str) -> str:
    """Where ``src`` publishes a request ``message`` (a class name) to ``dst``."""
    return f"l.{src}.{dst}.q.{message}"


def reply_subject(responder: str, requester: str, token: str) -> str:
    """Where ``responder`` publishes its reply: on the reverse link.

    ``token`` is the requester's own mark of the request, without dots.
    """
    return f"l.{responder}.{requester}._r.{token}"


def reply_prefix(responder: str, requester: str) -> str:
    """What an honest reply subject starts with: a forged one would go elsewhere."""
    return f"l.{responder}.{requester}._r."


def event_subject(src: str, event: str) -> str:
    """Where ``src`` broadcasts an ``event`` (a class name)."""
    return f"e.{src}.{event}"


def own_subscription(me: str) -> str:
    """The one wildcard subscription of a node: requests to it and replies for it."""
    return f"l.*.{me}.>"


def may_publish(me: str, subject: str) -> bool:
    """Whether the broker lets ``me`` publish there: only under its own name."""
    return subject.startswith((f"l.{me}.", f"e.{me}."))


def may_subscribe(me: str, subject: str) -> bool:
    """Whether the broker lets ``me`` subscribe: its own inbox, or narrower."""
    parts = subject.split(".")
    return len(parts) > 3 and parts[0] == "l" and parts[2] == me


@dataclass(frozen=True, slots=True)
class LinkSubject:
    """A link subject taken apart. ``reply`` tells a reply from a request."""

    src: NodeName
    dst: NodeName
    reply: bool
    rest: str  # message name of a request, token of a reply


def parse_link(subject: str) -> LinkSubject | None:
    """Take a link subject apart; None if it is not one."""
    parts = subject.split(".")
    if len(parts) != 5 or parts[0] != "l" or parts[3] not in ("q", "_r"):
        return None
    if names.NODE.fault(parts[1]) or names.NODE.fault(parts[2]):
        return None
    return LinkSubject(NodeName(parts[1]), NodeName(parts[2]), parts[3] == "_r", parts[4])
