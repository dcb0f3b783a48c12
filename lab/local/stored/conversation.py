"""What was said on the bus of a stored run."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.conversation import ConversationEnd, Said, conversation
from chaos.errors import ChaosError
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal
from protocol.messages.base import registry
from protocol.printable import quote_if_needed


@dataclass(frozen=True)
class MessageFilter:
    """Which messages: of a node, of a request and its replies, of a time (seconds of the run)."""

    node: str = ""
    message: str = ""
    after_s: float = 0.0
    until_s: float = float("inf")


def read_conversation(run: str, wanted: MessageFilter) -> Iterator[Said | ConversationEnd]:
    """The messages of ``run`` that are wanted, in the broker's order, then the recording's end.

    KS-RUN-001 for a run that is not there, or has no recording; KS-USE-002 for a message that
    nobody says, and at the end for a node that never spoke or heard; KS-CHAOS-204 where the
    recording was changed or cut off.
    """
    if wanted.message and wanted.message not in registry():
        raise KeysteadError("KS-USE-002", f"no message is called {wanted.message}")
    folder = RunFolder(run)
    folder.record()
    if not folder.bus.is_file():
        raise KeysteadError("KS-RUN-001", f"{run} has no recording of its bus")
    return _filter_messages(folder, wanted)


def _filter_messages(folder: RunFolder, wanted: MessageFilter) -> Iterator[Said | ConversationEnd]:
    asked: set[tuple[str, str, int]] = set()  # of requests whose replies are wanted
    nodes: set[str] = set()
    try:
        with folder.bus.open("rb") as file:
            for one in conversation(file):
                if isinstance(one, Said):
                    nodes |= {one.src, one.dst} - {""}
                if isinstance(one, ConversationEnd) or _fits(one, wanted, asked):
                    yield one
    except ChaosError as error:
        raise refusal(error) from None
    if wanted.node and wanted.node not in nodes:
        near = difflib.get_close_matches(wanted.node[:100], sorted(nodes), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        text = f"no node {quote_if_needed(wanted.node)} spoke or heard in this run{hint}"
        raise KeysteadError("KS-USE-002", text)


def _fits(one: Said, wanted: MessageFilter, asked: set[tuple[str, str, int]]) -> bool:
    if not wanted.after_s <= one.t <= wanted.until_s:
        return False
    if wanted.node and wanted.node not in (one.src, one.dst):
        return False
    if not wanted.message or one.name == wanted.message:
        if one.kind == "request":
            asked.add((one.src, one.dst, one.id))
        return True
    return one.kind in ("reply", "error") and (one.dst, one.src, one.id) in asked
