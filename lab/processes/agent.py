"""The main of an agent process: one agent with its nodes, forked with ``services.runtime.forking``.

It serves control messages until the supervisor's end of its socket closes, then leaves at once:
an agent without a supervisor would be an orphan. What must survive is on disk already.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

import msgspec

from lab.brokers.configuration import AgentConfig, BrokerKind
from lab.brokers.control_plane import ControlClient, ControlServer
from lab.brokers.identities import Identities
from lab.logs.records import RecordLog
from lab.machines.health import MachineHealth, serve
from lab.state.checkout import apply_patch
from protocol.crypto.seal import Keyring
from protocol.messages.agent import ListNodes, NodeList, NodeRecord, NodeRunState
from protocol.messages.base import Reply, Request
from protocol.terms import NodeName
from services.catalog import recipe
from services.runtime.agent import Agent
from services.runtime.real.shared_offset import SharedOffset, machine_clock
from services.runtime.real.watchdog import (
    Blockage,
    BlockageCounts,
    create_watched_loop,
    describe_blockage,
)
from services.runtime.real.world import LabTime, LabWorld

READY = b"R"
LEASE_LOOK_S = 0.5  # real seconds


def main(config: bytes, supervisor: socket.socket) -> None:
    """Run until the supervisor goes; never returns to the fork server's code with work left."""
    settings = msgspec.msgpack.decode(config, type=AgentConfig)
    if settings.ledger:
        from lab.scan.ledger import tell

        tell(settings.ledger)
    apply_patch(settings.patch)
    stands = BlockageCounts()

    def report_stall(stand: Blockage) -> None:
        stands.add(stand)
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        print(f"{when} {describe_blockage(stand)}", file=sys.stderr, flush=True)

    # Nothing is tidied up behind it: the process leaves at once when it is over.
    with create_watched_loop(report_stall) as loop:
        loop.run_until_complete(_serve(settings, supervisor, stands))


def _errors_to(path: Path) -> None:
    """Give this process a file of its own for warnings of libraries and for tracebacks."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 2)
    os.close(fd)


async def _serve(settings: AgentConfig, supervisor: socket.socket, stands: BlockageCounts) -> None:
    folder = Path(settings.folder)
    identities = Identities.load(folder)
    log = RecordLog(folder / "logs" / f"{settings.name}.jsonl")
    _errors_to(folder / "logs" / f"{settings.name}.err")
    rings: dict[NodeName, tuple[str, Keyring]] = {}

    def keys(node: NodeName) -> tuple[str, Keyring]:
        if node not in rings:
            rings[node] = (identities.node(node).seed, identities.keyring(node))
        return rings[node]

    page = SharedOffset(Path(settings.offset)) if settings.offset else None
    if page is not None:
        page.live()
    read = time.monotonic if page is None else page.supervisor_time  # the supervisor's clock
    clock = LabTime(settings.epoch, settings.wall, settings.pace, read)
    way = settings.way_to(BrokerKind.DATA)
    world = LabWorld(folder, settings.data_url, keys, clock, settings.seed, way)
    client = ControlClient(
        settings.control_url,
        identities.control(settings.name).seed,
        settings.name,
        secured=settings.way_to(BrokerKind.CONTROL),
        now=read,
    )

    def observe(record: NodeRecord) -> None:
        log.write(record)
        client.publish(record)

    agent = Agent(world, recipe, observe)
    await client.open()

    async def handle(message: Request[Reply], sender: str) -> Reply:
        reply = await agent.handle(message)
        whole = isinstance(message, ListNodes) and message.counters and not message.node
        return stands.add_counts(reply) if whole and isinstance(reply, NodeList) else reply

    await ControlServer(client).serve({message: handle for message in agent.handlers})
    health = await _serve_health(settings, agent) if settings.authority else None
    loop = asyncio.get_running_loop()
    supervisor.setblocking(False)
    await loop.sock_sendall(supervisor, READY)
    ends = {loop.create_task(loop.sock_recv(supervisor, 1))}  # when the other end is closed
    if page is not None:
        ends.add(loop.create_task(_lease_over(page)))
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if health is not None:
        health.close()
    log.close()
    os._exit(0)


async def _lease_over(page: SharedOffset) -> bytes:
    """Return when the lease of this machine is over: its agent may stand still."""
    while not machine_clock() > page.lease_end:  # it may not be known yet
        await asyncio.sleep(LEASE_LOOK_S)
    return b""


async def _serve_health(settings: AgentConfig, agent: Agent) -> asyncio.Server:
    """Let ``keystead healthcheck`` on this machine ask how the nodes are."""

    async def tell() -> MachineHealth:
        listed = await agent.handle(ListNodes(counters=False))
        nodes = listed.nodes if isinstance(listed, NodeList) else ()
        states = ", ".join(f"{status.node}: {status.state.value}" for status in nodes)
        well = bool(nodes) and all(status.state is NodeRunState.RUNNING for status in nodes)
        return MachineHealth(well=well, text=states or f"{settings.name} has no node yet")

    return await serve(Path(settings.folder), settings.name, tell)
