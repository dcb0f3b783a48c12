"""What the broker says is taken apart as nats-py's own parser does it, wherever a read ends."""

from __future__ import annotations

from typing import Any

import pytest
from nats import errors
from nats.protocol.parser import Parser

from services.runtime.real.nats_client import BrokerClient

Heard = tuple[Any, ...]
LONG = bytes(range(256)) * 300
STREAM = (
    b"PING\r\nMSG l.a.b.q.X 1 5\r\nhello\r\nMSG l.a.b._r.1-2 1 l.b.a._r.9 0\r\n\r\n"
    b"MSG x 12  7\r\nMSG a\r\n\r\n+OK\r\nHMSG l.a.b.q.Y 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    b"MSG l.a.b.q.Z 1 r.s 3\r\nabc\r\nPONG\r\nMSG last 3 2\r\nok\r\n"
)


class Owner:
    """Whom the client tells; never closed."""

    closed = tls_after_greeting = False

    def __init__(self) -> None:
        self.heard: list[Heard] = []

    def handle_message(self, subject: str, reply: str, payload: bytes, headers: bytes) -> None:
        self.heard.append((subject, reply, payload, headers or b""))

    def handle_link_loss(self, error: Exception) -> None:
        self.heard.append(("lost", str(error)))


def client(*, stock: bool) -> tuple[BrokerClient, Owner]:
    """With our parser, or with nats-py's own in its place."""
    owner = Owner()
    made = BrokerClient(owner)
    if stock:
        made._ps = Parser(made)

    async def said(word: str) -> None:
        owner.heard.append((word,))

    made._process_ping = lambda: said("ping")  # type: ignore[method-assign]
    made._process_pong = lambda: said("pong")  # type: ignore[method-assign]
    return made, owner


async def heard(parts: list[bytes], *, stock: bool) -> list[Heard]:
    made, owner = client(stock=stock)
    for part in parts:
        await made._ps.parse(part)
    return owner.heard


async def test_it_hears_the_same_wherever_a_read_ends() -> None:
    whole = await heard([STREAM], stock=True)
    assert len(whole) == 8 and await heard([STREAM], stock=False) == whole
    for at in range(1, len(STREAM)):
        assert await heard([STREAM[:at], STREAM[at:]], stock=False) == whole
    assert await heard([bytes([byte]) for byte in STREAM], stock=False) == whole


async def test_a_long_message_in_many_reads_is_one() -> None:
    line = b"MSG l.a.b.q.X 1 %d\r\n" % len(LONG) + LONG + b"\r\n"
    data = line + b"MSG y 1 1\r\nz\r\n" + line
    parts = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    found = await heard(parts, stock=False)
    assert [payload for _, _, payload, _ in found] == [LONG, b"z", LONG]


@pytest.mark.parametrize(
    "line",
    [
        b"MSG\r\n",
        b"MSG a\r\n",
        b"MSG a 1 r 1 1\r\nx\r\n",
        b"MSG a 1 -1\r\nx\r\n",
        b"MSG a 1 x\r\n",
        b"WHAT is this\r\n",
    ],
)
async def test_what_is_no_line_of_the_protocol_is_refused_as_before(line: bytes) -> None:
    for stock in (True, False):
        with pytest.raises(errors.ProtocolError):
            await heard([b"MSG y 1 1\r\nz\r\n" + line], stock=stock)


async def test_a_line_without_an_end_is_not_waited_for_here() -> None:
    """It is nats-py's parser that decides what becomes of it."""
    made, _ = client(stock=False)
    await made._ps.parse(b"MSG " + b"a" * 5000)
    await made._ps.parse(b" 1 1\r\nz\r\n")
    other, _ = client(stock=True)
    await other._ps.parse(b"MSG " + b"a" * 5000)
    await other._ps.parse(b" 1 1\r\nz\r\n")
    assert made._ps.buf == other._ps.buf and made._ps.state == other._ps.state
