"""The other end of ``roundtrips``, in a process of its own.

``python -m benchmarks.echo`` reads one JSON line (``Settings``) from its standard input, opens
four listeners under identities of their own, writes ``ready`` and serves until that input ends.
Only one of them is asked at a time; the others cost nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.raw import RawClient
from lab.brokers.identities import Identities
from protocol.crypto.seal import Keyring
from protocol.messages.agent import NodeRecord, NodeSpec
from protocol.messages.base import Request
from protocol.messages.kms.keys import Activate, KeyState
from protocol.subjects import reply_prefix, request_subject
from protocol.terms import KmipState, NodeName, Role
from services.runtime.bus import BusPort, IncomingRequest
from services.runtime.incarnation import Incarnation
from services.runtime.knobs import Knobs
from services.runtime.machine import Machine
from services.runtime.node import Recipe
from services.runtime.real.world import LabTime, LabWorld
from services.runtime.service import Peer, Service, serves

BARE_CLIENT, BARE_ECHO = NodeName("bare-client"), NodeName("bare-echo")
RAW_CLIENT, RAW_ECHO = NodeName("raw-client"), NodeName("raw-echo")
CLIENT, PORT_ECHO, NODE_ECHO = NodeName("asker"), NodeName("port-echo"), NodeName("node-echo")
NODES = (BARE_CLIENT, BARE_ECHO, RAW_CLIENT, RAW_ECHO, CLIENT, PORT_ECHO, NODE_ECHO)
BARE_SUBJECT = request_subject(BARE_CLIENT, BARE_ECHO, "Echo")
RAW_SUBJECT = request_subject(RAW_CLIENT, RAW_ECHO, "Echo")
READY = b"ready\n"


class Settings(msgspec.Struct, frozen=True):
    """Where the broker, the identities and the lab's time are."""

    url: str
    folder: str
    epoch: float
    wall: float

    def world(self) -> LabWorld:
        """Ports of a process on this broker, at pace 1; no sender is limited to a share."""
        identities = Identities.load(Path(self.folder))

        def keys(node: NodeName) -> tuple[str, Keyring]:
            return identities.node(node).seed, identities.keyring(node)

        time = LabTime(self.epoch, self.wall, 1.0)
        return LabWorld(Path(self.folder), self.url, keys, time, 1, shares=lambda: None)


def open_port(world: LabWorld, node: NodeName) -> BusPort:
    """A port of ``node`` without a service; not yet opened."""
    life = Incarnation(node, 1)
    return BusPort(
        life,
        lambda: world.wire(life),
        world.keyring(node),
        world.rules,
        world.clock(life),
        "bench",
    )


async def bare_client(settings: Settings, me: NodeName, peer: NodeName) -> Client:
    """nats-py as it comes, but for the inbox: the broker allows ``me`` no other."""
    seed = Identities.load(Path(settings.folder)).node(me).seed
    return await nats.connect(
        settings.url,
        nkeys_seed_str=seed,
        inbox_prefix=reply_prefix(peer, me).rstrip("."),
        allow_reconnect=False,
    )


async def raw_client(settings: Settings) -> RawClient:
    """Asks on ``RAW_SUBJECT``."""
    seed = Identities.load(Path(settings.folder)).node(RAW_CLIENT).seed
    return await RawClient.connect(settings.url, seed, f"{reply_prefix(RAW_ECHO, RAW_CLIENT)}*")


def _same(message: Request[Any]) -> KeyState:
    if not isinstance(message, Activate):
        raise TypeError(f"{type(message).__name__} has no echo")
    return KeyState(key_id=message.key_id, state=KmipState.ACTIVE)


class Echo(Service):
    """Answers at once, through everything that a service has above its port."""

    role: ClassVar[Role] = Role.KMS

    @serves(Activate)
    async def activate(self, message: Activate, peer: Peer) -> KeyState:
        return _same(message)


async def _serve(settings: Settings) -> None:
    client = await bare_client(settings, BARE_ECHO, BARE_CLIENT)

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    await client.subscribe(BARE_SUBJECT, cb=answer)
    await client.flush()

    def echo(subject: str, reply: str, payload: bytes) -> None:
        raw.send(reply, payload)

    seed = Identities.load(Path(settings.folder)).node(RAW_ECHO).seed
    raw = await RawClient.connect(settings.url, seed, RAW_SUBJECT, echo)

    world = settings.world()
    port = open_port(world, PORT_ECHO)
    await port.open()

    def accept(incoming: IncomingRequest) -> None:
        incoming.respond(_same(incoming.message))

    port.accept = accept

    spec = NodeSpec(node=NODE_ECHO, role=Role.KMS)
    world.add(spec)
    machine = Machine(spec, world, Recipe(Knobs(), Echo), _say)
    await machine.power_on({}, wait=True)
    await _until_input_ends()
    port.abort()
    raw.close()
    await client.close()


def _say(record: NodeRecord) -> None:
    if record.level == "error":
        sys.stderr.write(f"{record.kind}: {record.fields}\n")


async def _until_input_ends() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    await reader.read()


def main() -> None:
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
