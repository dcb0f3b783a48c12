"""One question to many nodes: one message for each agent that has some of them, or as many as
their answers fill.

An agent leaves out what does not fit into its answer, and who was left out has worked for nothing.
A hundred nodes with long answers, asked together until all were heard, would each answer a hundred
times.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, cast

from protocol.codec import decode_message, encode_message
from protocol.errors import Internal, ProductError, from_body
from protocol.messages.agent import Answer, Answers, AskEach
from protocol.messages.base import Reply, Request
from protocol.pages import PAGE_BUDGET
from protocol.terms import NodeName
from services.runtime.each import for_each

_AROUND: Final = 64
"""Bytes of an answer beside its body."""
_FILLED: Final = 0.9
"""Of a message that answers shall fill: some are heavier than others."""

Found = dict[NodeName, Reply | ProductError]
Group = tuple[NodeName, ...]


class Looking:
    """Asks by ``tell``, which takes the node whose agent is meant, the message, and lab seconds for
    the answer. It knows what answers to each kind of question have weighed the last time."""

    def __init__(self, tell: Callable[[NodeName, AskEach, float], Awaitable[Answers]]) -> None:
        self._tell = tell
        self._weights: dict[str, float] = {}

    async def ask(self, agents: Iterable[Group], message: Request[Any], within_s: float) -> Found:
        """What each node has answered, or why it has not; ``agents``: the nodes of each."""
        name, body = type(message).__name__, encode_message(message)
        heard: list[Answer] = []

        async def one(group: Group) -> Found:
            question = AskEach(nodes=group, name=name, body=body, within_s=within_s)
            try:
                reply = await self._tell(group[0], question, within_s + 1.0)
            except Internal as error:  # an answer heavier than a message had it for itself
                return {group[0]: error, **await several(_parts(group[1:], len(group)))}
            except ProductError as error:
                return dict.fromkeys(group, error)
            if not reply.answers:
                return dict.fromkeys(group, Internal("its agent answered for none"))
            heard.extend(reply.answers)
            found: Found = dict(zip(group, map(decode_answer, reply.answers), strict=False))
            return found | await several(_parts(group[len(found) :], len(found)))

        async def several(groups: Iterable[Group]) -> Found:
            found: Found = {}
            for some in await for_each(groups, one):
                found |= some
            return found

        answers = await several(part for group in agents for part in self._portions(name, group))
        if heard:
            weights = [len(bytes(answer.body)) + _AROUND for answer in heard]
            self._weights[name] = sum(weights) / len(weights)
        return answers

    def _portions(self, question: str, nodes: Group) -> list[Group]:
        """Nodes whose answers fit one message together if they weigh what they did."""
        weight = self._weights.get(question)
        return _parts(nodes, len(nodes) if weight is None else int(PAGE_BUDGET * _FILLED / weight))


def decode_answer(answer: Answer) -> Reply | ProductError:
    """What a node answered: its reply, or its error."""
    if answer.error is not None:
        return from_body(answer.error)
    return cast(Reply, decode_message(answer.name, answer.body))


def _parts(nodes: Sequence[NodeName], most: int) -> list[Group]:
    """All of them in their order, so many in a part at most, and one at least."""
    most = max(1, most)
    return [tuple(nodes[at : at + most]) for at in range(0, len(nodes), most)]
