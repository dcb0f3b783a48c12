"""One message on one link: its copies, and their fates, which the seed fixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from protocol.subjects import NodePair
from services.runtime.seeded import unit


class MessageCopy(NamedTuple):
    """One copy of a message: its number (the original is 0), and its delay in lab seconds."""

    number: int
    delay_s: float


ORIGINAL = MessageCopy(0, 0.0)


@dataclass(slots=True)
class LinkPassage:
    """The ``nth`` message of one life of the sender (``boot``) on ``link``, published under
    ``subject``.

    A fate is a hash, not a draw from a shared stream: for one seed, the n-th message of a life on a
    link has the same fate whatever happens on other links.
    """

    seed: int
    link: NodePair
    boot: int
    nth: int
    subject: str = ""
    copies: int = 1

    def fate(self, what: str, copy: MessageCopy) -> float:
        """A number in [0, 1), fixed by the seed, the message, its copy, and the question
        ``what``."""
        link = self.link
        return unit(self.seed, "fate", link.src, link.dst, self.boot, self.nth, what, copy.number)

    def twin(self, copy: MessageCopy) -> MessageCopy:
        """Another copy with the delay of ``copy``, under a new number."""
        number = self.copies
        self.copies += 1
        return MessageCopy(number, copy.delay_s)
