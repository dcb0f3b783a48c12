"""The kinds of link rules: one class for each.

To add a kind, add a class here with a line in ``rule_of``, and its struct in
``protocol.messages.agent.links``. A rule judges copy by copy and does not know the rules before and
after it in the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, assert_never

import msgspec

from protocol.messages.agent import (
    CutRule,
    DelayRule,
    DuplicateRule,
    LinkRule,
    LossRule,
    ResetRule,
    StallRule,
)
from services.runtime.links.passage import LinkPassage, MessageCopy

LOST: tuple[MessageCopy, ...] = ()
"""The result of a rule that lets nothing pass."""


class LinkRuleInForce:
    """One rule in force on one link; it lets everything pass unless its class overrides that.

    ``spec`` is the rule as the controller sent it. ``struck`` counts the copies that it changed.
    """

    breaks: ClassVar[bool] = False
    """Whether a connection that sends over the link is reset."""
    stalls: ClassVar[bool] = False
    """Whether handshakes of connections are held on the link."""

    def __init__(self, spec: LinkRule) -> None:
        self.spec = spec
        self.struck = 0

    def alive(self, now: float) -> bool:
        """Whether its lease lasts at ``now`` (lab monotonic seconds)."""
        return self.spec.until == 0 or self.spec.until > now

    def same(self, spec: LinkRule) -> bool:
        """Whether ``spec`` is this rule, apart from the lease."""
        return msgspec.structs.replace(self.spec, until=spec.until) == spec

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        """The copies that leave the sender for ``copy``: none, the copy (possibly later), or
        several."""
        return (copy,)

    def ingress(self) -> bool:
        """Whether the receiver accepts a message of the link."""
        return True


class CutLink(LinkRuleInForce):
    """Nothing leaves the sender, and the receiver drops what was in transit.

    A rule for requests of certain names applies at the sender only.
    """

    def __init__(self, spec: CutRule) -> None:
        super().__init__(spec)
        self._requests = frozenset(spec.requests)

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        return LOST if not self._requests or _request_name(passage) in self._requests else (copy,)

    def ingress(self) -> bool:
        return bool(self._requests)


def _request_name(passage: LinkPassage) -> str:
    """The name of a request; for a reply a text that is no request's name."""
    return passage.subject.rpartition(".")[2]


class Loss(LinkRuleInForce):
    """A share of the copies is lost."""

    def __init__(self, spec: LossRule) -> None:
        super().__init__(spec)
        self._share, self._what = spec.share, f"loss {spec.id}"

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        return LOST if passage.fate(self._what, copy) < self._share else (copy,)


class Delay(LinkRuleInForce):
    """Each copy leaves later by a fixed time, plus a random part up to the jitter."""

    def __init__(self, spec: DelayRule) -> None:
        super().__init__(spec)
        self._base_s, self._jitter_s = spec.base_s, spec.jitter_s
        self._what = f"jitter {spec.id}"

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        jitter = self._jitter_s * passage.fate(self._what, copy)
        return (copy._replace(delay_s=copy.delay_s + self._base_s + jitter),)


class Duplicate(LinkRuleInForce):
    """A share of the copies leaves twice."""

    def __init__(self, spec: DuplicateRule) -> None:
        super().__init__(spec)
        self._share, self._what = spec.share, f"duplicate {spec.id}"

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        if passage.fate(self._what, copy) < self._share:
            return copy, passage.twin(copy)
        return (copy,)


class Reset(LinkRuleInForce):
    """A connection that sends over the link is reset; messages pass."""

    breaks = True


class Stall(LinkRuleInForce):
    """Handshakes are held; everything else passes."""

    stalls = True


def build_rule(spec: LinkRule) -> LinkRuleInForce:
    """The rule that implements ``spec``."""
    match spec:
        case CutRule():
            return CutLink(spec)
        case LossRule():
            return Loss(spec)
        case DelayRule():
            return Delay(spec)
        case DuplicateRule():
            return Duplicate(spec)
        case ResetRule():
            return Reset(spec)
        case StallRule():
            return Stall(spec)
        case _:
            assert_never(spec)
