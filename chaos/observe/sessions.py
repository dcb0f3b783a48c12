"""The vCenter session that each host obeys, read from the data bus.

The answer to ``OpenSession`` ends every earlier session. Sessions are ordered as the broker let
their ``OpenSession`` in, which is the order in which the host takes them; answers may arrive in
another order. A host must refuse a command under an ended session. A command that it executes all
the same is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from chaos.history import History
from protocol.codec import decode_envelope, decode_reply
from protocol.errors import Malformed
from protocol.messages.base import messages_of
from protocol.messages.host import crypto, session, vms
from protocol.messages.host.session import Command, OpenSession
from protocol.subjects import parse_link

OPENED: Final = "session"
"""Of the ``state`` records: a host answered that it obeys another session from now on."""
OBEYED: Final = "stale_command"
"""Of the ``state`` records: a host did a ``command`` of a session that was over."""
_COMMANDS: Final = frozenset(
    name
    for module in (crypto, session, vms)
    for name, found in messages_of(module.__name__).items()
    if issubclass(found, Command)
)


class _Session(msgspec.Struct):
    """The field that a command and ``OpenSession`` have in common."""

    session: str = ""


@dataclass
class UnansweredRequests:
    """Requests to hosts without an answer yet, by the subject of the answer: the host, the message,
    its session, and whether that had ended when the broker let it in.

    ``_places``: each requested session's place in their order. ``_opened``: those that the host has
    answered; ``_latest``: the latest of each host in that order.
    """

    history: History
    _asked: dict[str, tuple[str, str, str, bool]] = field(default_factory=dict)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)
    _opened: set[tuple[str, str]] = field(default_factory=set)
    _latest: dict[str, str] = field(default_factory=dict)

    def hear(self, subject: str, reply: str, payload: bytes) -> None:
        """Take every message that the broker lets in, in its order."""
        if subject in self._asked:
            self._handle_answer(self._asked.pop(subject), payload)
            return
        name = subject.rpartition(".")[2]
        if name != OpenSession.__name__ and name not in _COMMANDS:
            return
        link = parse_link(subject)
        if link is None or link.reply or reply in self._asked:
            return
        try:
            body = decode_envelope(payload).body
            session = msgspec.msgpack.decode(body, type=_Session).session
        except (Malformed, msgspec.DecodeError):  # no message of ours: the host refuses it
            return
        if name == OpenSession.__name__:
            self._places.setdefault((link.dst, session), len(self._places))
        over = self._latest.get(link.dst, session) != session
        self._asked[reply] = link.dst, name, session, over

    def _handle_answer(self, asked: tuple[str, str, str, bool], payload: bytes) -> None:
        host, name, session, over = asked
        try:
            refused = decode_reply(payload).error is not None
        except Malformed:
            return
        if refused:
            return
        if name == OpenSession.__name__:
            self._was_opened(host, session)
        elif over:
            self.history.add("state", host, op=OBEYED, command=name, session=session)

    def _was_opened(self, host: str, session: str) -> None:
        if (host, session) in self._opened:
            return  # a copy of the answer
        self._opened.add((host, session))
        latest = self._latest.get(host)
        if latest is None or self._places[host, session] > self._places[host, latest]:
            self._latest[host] = session
        self.history.add("state", host, op=OPENED, session=session)
