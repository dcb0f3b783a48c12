"""The process that holds a simulated lab and answers its commands, one after another.

The world stands still between two calls, and goes on while one is being answered.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lab.api.table import perform
from lab.api.wire import RunCommand, decode_command, encode_answer
from lab.simulation.sim_lab import make
from lab.topology.plan import Topology


def serve(topology: bytes, seed: int, patch: str = "") -> Callable[[str, bytes], bytes]:
    """The worker's main: a ready lab, and a handler of calls. ``patch`` names a module that is
    imported before any node is made (``tests.mutations.bugs``).

    Calls are ``command`` (a ``RunCommand``), ``sleep`` (a float: lab seconds) and
    ``trace`` (the hash). A ``KeysteadError`` reaches the caller as it is: the conversation
    carries exceptions.
    """
    if patch:
        __import__(patch)
    lab, session = make(msgspec.msgpack.decode(topology, type=Topology), seed)

    lab.world.spawn(None, "leases", session.keeper.keep_leases(lab.lease_tick_s))

    def handle(call: str, payload: bytes) -> bytes:
        match call:
            case "trace":
                return msgspec.msgpack.encode(lab.loop.trace.hash())
            case "sleep":
                lab.run(lab.sleep(msgspec.msgpack.decode(payload, type=float)))
                return msgspec.msgpack.encode(lab.monotonic())
            case "command":
                message = msgspec.msgpack.decode(payload, type=RunCommand)
                command = decode_command(message.command)
                answer = lab.run(perform(session, command, message.vcenter))
                return bytes(encode_answer(answer))
            case _:
                raise ValueError(f"{call} is no call to a simulated lab")

    return handle
