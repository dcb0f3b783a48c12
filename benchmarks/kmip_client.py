"""A client of KMIP that costs little: it shares two cores with the server that it measures.

Every connection proves its certificate and judges the server's; every answer is looked at. But
nothing is decoded: the first answer of a kind is, and those that follow have to be the same to the
byte, but for what has to be another one each time.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from benchmarks.benchmark import CannotRun
from protocol.kmip.enums import ResultStatus
from protocol.kmip.message import decode_response
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import HEAD, Type

MOST: Final = 64 * 1024
PATIENCE_S: Final = 30.0


class Answer:
    """What an answer has to be like: ``sample``, but for the values of its items ``others``."""

    def __init__(self, sample: bytes, others: Sequence[tuple[Tag, Type]]) -> None:
        for item in decode_response(sample).batch_item:
            if item.result_status is not ResultStatus.SUCCESS:
                raise CannotRun(f"the server has refused: {item.result_message}")
        self._size, self._parts, begin = len(sample), list[tuple[int, int, bytes]](), 0
        for tag, kind in others:
            at = sample.index((tag << 8 | kind).to_bytes(4), begin)
            size = int.from_bytes(sample[at + 4 : at + HEAD])
            self._parts.append((begin, at + 4, sample[begin : at + 4]))
            begin = at + HEAD + size + (-size & 7)
        self._parts.append((begin, self._size, sample[begin:]))

    def check(self, data: bytes) -> None:
        """``CannotRun`` for one that is not like it."""
        for begin, end, part in self._parts:
            if data[begin:end] != part:
                raise CannotRun(f"an answer of {len(data)} bytes is not as the first one was")
        if len(data) != self._size:
            raise CannotRun(f"an answer of {len(data)} bytes, after one of {self._size}")


class Took(NamedTuple):
    """``each``: seconds from a request to its answer, sorted; ``seconds`` of all of it."""

    each: list[float]
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.each) / self.seconds

    def within(self, share: float) -> float:
        """Milliseconds that this share of the answers took at most."""
        return self.each[int(len(self.each) * share)] * 1000


class Server(NamedTuple):
    """Where one listens, and how a client is known there."""

    port: int
    context: ssl.SSLContext

    def connect(self) -> ssl.SSLSocket:
        """A connection whose handshake is done, as far as this end is concerned."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(plain)


def ask(end: ssl.SSLSocket, request: bytes) -> bytes:
    """The answer to one request."""
    end.sendall(request)
    data = b""
    while len(data) < HEAD or len(data) < HEAD + int.from_bytes(data[4:HEAD]):
        more = end.recv(MOST)
        if not more:
            raise CannotRun("the server has closed the connection")
        data += more
    return data


def measure_requests(
    server: Server,
    request: bytes,
    others: Sequence[tuple[Tag, Type]],
    clients: int,
    seconds: float,
) -> Took:
    """Have so many connections ask this, each again when it was answered. Blocks."""
    with ExitStack() as stack:
        ends = [stack.enter_context(server.connect()) for _ in range(clients)]
        [answer, *_] = [Answer(ask(end, request), others) for end in ends]
        poll = stack.enter_context(select.epoll())
        by_number = {end.fileno(): end for end in ends}
        for end in ends:
            end.setblocking(False)
            poll.register(end, select.EPOLLIN)
        return _rounds(poll, by_number, request, answer, seconds)


def _rounds(
    poll: select.epoll,
    ends: dict[int, ssl.SSLSocket],
    request: bytes,
    answer: Answer,
    seconds: float,
) -> Took:
    now, begun, each = time.perf_counter, dict[int, float](), list[float]()
    came = dict.fromkeys(ends, b"")
    first = now()
    until = first + seconds
    for number, end in ends.items():
        begun[number] = now()
        end.send(request)
    left = len(ends)
    while left:
        ready = poll.poll(PATIENCE_S)
        if not ready:
            raise CannotRun(f"no answer within {PATIENCE_S:g} s")
        for number, _ in ready:
            end = ends[number]
            try:
                data = came[number] + end.recv(MOST)
            except ssl.SSLWantReadError:
                continue
            if len(data) < HEAD or len(data) < HEAD + int.from_bytes(data[4:HEAD]):
                if data == came[number]:
                    raise CannotRun("the server has closed the connection")
                came[number] = data
                continue
            came[number] = b""
            at = now()
            each.append(at - begun[number])
            answer.check(data)
            if at < until:
                begun[number] = now()
                end.send(request)
            else:
                left -= 1
    return Took(sorted(each), now() - first)
