"""One command that changes nothing, asked without an event loop and a client library.

Most of the time of a short command is imports, and those of the control plane are half of them.
This module speaks as much of the broker's protocol as one request needs. Whatever is unusual (no
lab, one elsewhere, a lost link, an answer that takes long while the lab stands still) gives None:
the caller asks again by ``Remote``, which can explain it. Hence only commands that change nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec
import nkeys

from lab.brokers.files import (
    BrokerEndpoint,
    SecretFile,
    broker_folder,
    control_folder,
    endpoint_file,
)
from lab.schema.commands import Command
from lab.schema.errors import KeysteadError
from lab.schema.wire import CommandDone, RunCommand, decode_answer, encode_command
from lab.state.state_folder import LabFolder
from protocol.codec import (
    VERSION,
    Envelope,
    decode_as,
    decode_reply,
    encode_envelope,
    encode_message,
)
from protocol.errors import ProductError
from protocol.terms import NodeName

COMMAND_LIMIT_S: Final = 900.0  # real seconds
LOOK_EVERY_S: Final = 0.5
_SIZE_LIMIT: Final = 4 * 1024 * 1024  # bytes of one message
_CLI, _SUPERVISOR = NodeName("cli"), NodeName("supervisor")
A = TypeVar("A")


class _Greeting(msgspec.Struct):
    """Of a server: what is to be signed."""

    nonce: str


class _Login(msgspec.Struct, kw_only=True):
    nkey: str
    sig: str
    name: str
    lang: str = "python3"
    version: str = "1"
    protocol: int = 1
    verbose: bool = False
    pedantic: bool = False
    headers: bool = True
    no_responders: bool = True
    """The server says at once, in a header, that nobody serves the command yet."""


def ask(lab: str, command: Command[A], vcenter: str = "", user: str = "") -> A | None:
    """The answer of a lab of this machine to a command that changes nothing; None: ask by
    ``Remote``. Raises the ``KeysteadError`` that the lab answers."""
    folder = LabFolder(lab)
    if not folder.locked() or not folder.serving():
        return None
    try:
        endpoint = endpoint_file(broker_folder(folder.path, "control")).read_bytes()
        secret = (control_folder(folder.path) / f"{_CLI}.json").read_bytes()
        port = msgspec.json.decode(endpoint, type=BrokerEndpoint).port
        keys = nkeys.from_seed(msgspec.json.decode(secret, type=SecretFile).seed.encode())
        message = RunCommand(command=encode_command(command), vcenter=vcenter, user=user)
        with socket.create_connection(("127.0.0.1", port), timeout=LOOK_EVERY_S) as link:
            done = _exchange(link, keys, message, folder)
    except (OSError, ValueError, OverflowError, msgspec.MsgspecError, ProductError):
        return None
    except nkeys.NkeysError:
        return None
    if done is None:
        return None
    if done.error_id:
        raise KeysteadError(done.error_id, done.error, done.fix, done.fault, done.keys)
    return decode_answer(command, done.answer)


def _exchange(
    link: socket.socket, keys: nkeys.KeyPair, message: RunCommand, folder: LabFolder
) -> CommandDone | None:
    """Log in, ask, and return the reply; None if it does not come. Raises what is wrong with it."""
    client, until = os.urandom(8).hex(), time.monotonic() + COMMAND_LIMIT_S
    inbox = f"ctl.inbox.{_CLI}.{_SUPERVISOR}.{client}.1"
    lines = _read(link, folder, until)
    greeting = msgspec.json.decode(next(lines, b"").removeprefix(b"INFO "), type=_Greeting)
    login = _Login(
        nkey=keys.public_key.decode(),
        sig=_sign(keys, greeting.nonce),
        name=f"{_CLI}/{client[:6]}",
    )
    envelope = Envelope(
        VERSION, 1, "", _CLI, 0, until, RunCommand.__name__, encode_message(message)
    )
    data = encode_envelope(envelope, _SIZE_LIMIT)
    subject = f"ctl.{_SUPERVISOR}.{_CLI}.{RunCommand.__name__}"
    link.sendall(
        b"CONNECT %s\r\nSUB %s 1\r\nPUB %s %s %d\r\n%s\r\n"
        % (
            msgspec.json.encode(login),
            inbox.encode(),
            subject.encode(),
            inbox.encode(),
            len(data),
            data,
        )
    )
    for line in lines:
        if line == b"PING":
            link.sendall(b"PONG\r\n")
        elif line.startswith(b"MSG "):
            reply = decode_reply(next(lines, b""))
            if (reply.sender, reply.message_id) != (_SUPERVISOR, 1) or reply.error is not None:
                return None
            return decode_as(CommandDone, reply.body)
        elif not line.startswith((b"INFO ", b"PONG")):
            return None  # -ERR, or HMSG: nobody serves it
    return None


def _sign(keys: nkeys.KeyPair, nonce: str) -> str:
    import base64

    return base64.b64encode(keys.sign(nonce.encode())).decode()


def _read(link: socket.socket, folder: LabFolder, until: float) -> Iterator[bytes]:
    """The lines of a server, and after a line ``MSG`` its payload; ends when nothing more comes."""
    buffer = bytearray()
    size = -1  # of the payload that follows, -1 before a line
    while time.monotonic() < until:
        end = buffer.find(b"\r\n") if size < 0 else size
        if end >= 0 and len(buffer) >= end + 2:
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            size = int(line.split()[-1]) if size < 0 and line.startswith(b"MSG ") else -1
            yield line
            continue
        try:
            part = link.recv(65536)
        except TimeoutError:
            if not folder.locked() or folder.suspended():
                return
            continue
        if not part:
            return
        buffer += part
