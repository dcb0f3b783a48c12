"""Subjects of directed links on the data broker, and which node may use them.

``l.<src>.<dst>.q.<Message>`` a request on the link src -> dst ``l.<dst>.<src>._r.<token>`` its
reply, on the reverse link ``e.<src>.<Event>`` a broadcast The control broker has ``ctl.`` subjects
of its own (``lab.brokers.server``).
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from protocol import names
from protocol.terms import NodeName


class NodePair(msgspec.Struct, frozen=True):
    """An ordered pair of nodes."""

    src: NodeName
    dst: NodeName

    @property
    def reverse(self) -> NodePair:
        """The link on which replies travel."""
        return NodePair(self.dst, self.src)


def request_subject(src: str, dst: str, message: str) -> str:
    """The subject on which ``src`` publishes a request ``message`` (a class name) to ``dst``."""
    return f"l.{src}.{dst}.q.{message}"


def reply_subject(responder: str, requester: str, token: str) -> str:
    """The subject on which ``responder`` publishes its reply: on the reverse link.

    ``token`` is the requester's own mark of the request, without dots.
    """
    return f"l.{responder}.{requester}._r.{token}"


def reply_prefix(responder: str, requester: str) -> str:
    """The prefix of honest reply subjects; a reply with another prefix would go elsewhere."""
    return f"l.{responder}.{requester}._r."


def event_subject(src: str, event: str) -> str:
    """The subject on which ``src`` broadcasts an ``event`` (a class name)."""
    return f"e.{src}.{event}"


def own_subscription(me: str) -> str:
    """The one wildcard subscription of a node: requests to it and replies for it."""
    return f"l.*.{me}.>"


def may_publish(me: str, subject: str) -> bool:
    """Whether the broker lets ``me`` publish on ``subject``: only under its own name."""
    return subject.startswith((f"l.{me}.", f"e.{me}."))


def may_subscribe(me: str, subject: str) -> bool:
    """Whether the broker lets ``me`` subscribe: its own inbox, or narrower."""
    parts = subject.split(".")
    return len(parts) > 3 and parts[0] == "l" and parts[2] == me


class LinkSubject(msgspec.Struct, frozen=True):
    """A parsed link subject. ``reply`` distinguishes a reply from a request."""

    src: NodeName
    dst: NodeName
    reply: bool
    rest: str  # message name of a request, token of a reply


def parse_link(subject: str) -> LinkSubject | None:
    """Parse a link subject; None if it is not one."""
    parts = subject.split(".")
    if len(parts) != 5:
        return None
    word, src, dst, kind, rest = parts
    if word != "l" or kind not in ("q", "_r") or not (_is_node(src) and _is_node(dst)):
        return None
    return LinkSubject(NodeName(src), NodeName(dst), kind == "_r", rest)


@lru_cache(maxsize=4096)
def _is_node(text: str) -> bool:
    """Cached, because the messages of a node name the same few nodes."""
    return not names.NODE.fault(text)
