"""The process that holds a simulated lab and answers its commands, one after another.

The world stands still between two calls, and goes on while one is being answered.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lab.scan import ledger
from lab.scan.search import SecretWatch
from lab.schema.wire import RunCommand
from lab.serve.table import carry_out
from lab.simulation.sim_lab import COMMAND_LIMIT_S, make
from lab.state.checkout import apply_patch
from lab.topology.plan import Topology
from protocol.crypto.transfer import OneTimeKey
from services.runtime.forking.child import load_target


def serve(
    topology: bytes, seed: int, patch: str = "", watched: bool = False
) -> Callable[[str, bytes], bytes]:
    """The worker's main: a ready lab, and a handler of calls. ``patch`` is applied
    before any node is made (``lab.state.checkout``). ``watched``: all that is said and
    every secret are kept for searches (``SimLab.watch``).

    Calls are ``command`` (a ``RunCommand``), ``look`` (one whose answer the lab itself knows, and
    for which the world takes no step), ``files`` (the public key for files of commands),
    ``sleep`` (a float: lab seconds), ``trace`` (the hash) and ``beside`` (the name of a function,
    and its plain arguments after the lab). A ``KeysteadError`` reaches the caller as it is: the
    conversation carries exceptions.
    """
    apply_patch(patch)
    watch = SecretWatch(ledger.seen) if watched else None
    if watched:
        ledger.keep()
    made = msgspec.msgpack.decode(topology, type=Topology)
    lab, session = make(made, seed, tap=None if watch is None else watch.hear)
    lab.watch = watch

    lab.world.spawn(None, "leases", session.keeper.keep_leases(lab.lease_tick_s))

    key = OneTimeKey()

    def handle(call: str, payload: bytes) -> bytes:
        match call:
            case "trace":
                return msgspec.msgpack.encode(lab.loop.trace.hash())
            case "sleep":
                wanted = msgspec.msgpack.decode(payload, type=float)
                lab.run(lab.sleep(wanted), seconds=COMMAND_LIMIT_S + wanted)
                return msgspec.msgpack.encode(lab.monotonic())
            case "command":
                message = msgspec.msgpack.decode(payload, type=RunCommand)
                return msgspec.msgpack.encode(lab.run(carry_out(session, message, key)))
            case "look":
                message = msgspec.msgpack.decode(payload, type=RunCommand)
                return msgspec.msgpack.encode(lab.look(carry_out(session, message, key)))
            case "files":
                return key.public
            case "beside":
                name, values = msgspec.msgpack.decode(payload)
                return msgspec.msgpack.encode(lab.run(load_target(name)(lab, *values)))
            case _:
                raise ValueError(f"{call} is no call to a simulated lab")

    return handle
