"""``keystead agent join``: from a bundle to an agent of this machine, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lab.arrays.machines import Guest
from lab.brokers.configuration import BrokerKind
from lab.brokers.control_plane import ControlClient, ControlServer
from lab.brokers.identities import Identities, machine_agent
from lab.machines.access import cause, unknown, unreachable_error
from lab.machines.bundle import Bundle, Manifest, peek, read
from lab.machines.checkup import AGENT
from lab.machines.gate import Gate, open_gate
from lab.machines.health import serve
from lab.members.holding import Holding, JoinedFolder
from lab.processes import preload
from lab.processes.agents import Agents, Part, Revival, begin, build_copied_server, log_of
from lab.schema.errors import KeysteadError
from lab.state.scratch import no_room
from protocol.errors import NotSent
from protocol.messages.machines import MachineLeaves, MachineSeeks
from services.runtime.forking.child import withhold_memory
from services.runtime.forking.own_forks import CopiedServer
from services.runtime.real.broker_tls import LabTls
from services.runtime.real.watchdog import describe_blockage, run_watched

SEEK_EVERY_S: Final = 1.0
ASK_LOOK_S: Final = 0.1
ASK_TELL_S: Final = 5.0
FORK_SERVER_S: Final = 120.0  # many containers that start at once share few processors
FEW_PROCESSES: Final = 1  # more share what is made once for all of them
SILENT_S: Final = 3.0  # without a beat for so long it asks to be taken, if it is not

Say = Callable[[str], None]


def request_bundle(folder: Path, name: str, say: Say) -> Path:
    """Ask for a bundle in the folder that the lab and its machines share, and wait for it: where it
    lies then (``lab.members.inviting``). KS-LAB-005 when nothing can be written there."""
    ask, bundle = folder / f"{name}.ask", folder / f"{name}.bundle"
    try:
        ask.touch(mode=0o600)
        begun = time.monotonic()
        while ask.exists() or not bundle.exists():
            time.sleep(ASK_LOOK_S)
            if begun and time.monotonic() - begun > ASK_TELL_S:
                begun = 0.0
                say(f"waits for its bundle: {bundle}")
    except OSError as error:
        raise no_room(error) from None
    return bundle


def join(file: Path, say: Say, home: Path | None = None, arrays: Path | None = None) -> None:
    """Join the lab of the bundle in ``file``, and hold what its supervisor gives; returns after
    SIGTERM or Ctrl-C, with all processes ended. ``home`` is where it keeps its state in place of
    this user's state folder, ``arrays`` the folder of shared datastores, in place of the file's.

    KS-AGENT-002 for a file that is no bundle, KS-AGENT-004 and KS-AGENT-005 when the lab refuses,
    KS-AGENT-006 when it is not reached, KS-AGENT-011 when what is reached is another one,
    KS-AGENT-009 for a folder of another machine, KS-ARRAY-001 to KS-ARRAY-007 for a shared
    datastore whose folder does not fit.
    """
    manifest = peek(file)
    _can_hold(manifest)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    withhold_memory()
    with contextlib.closing(_fork_server(manifest)) as server:
        bundle = read(file)
        with contextlib.closing(JoinedFolder(bundle, home)) as folder:
            begin(server, folder.path)
            shared = folder.share(arrays)
            joined = _run_agent(bundle, folder, shared, say, server)
            run_watched(joined, lambda stand: say(describe_blockage(stand)))


def _fork_server(manifest: Manifest) -> CopiedServer:
    """A copy of this process, as long as it has no loop, no thread, and no identity: what both of
    them import is imported once. What makes forks cheap is done only where there are many."""
    if len(manifest.nodes) > FEW_PROCESSES:
        preload.agents()
    gc.collect()
    gc.freeze()  # who looks at objects writes to them, and pages that are written to are not shared
    return build_copied_server()


def _can_hold(manifest: Manifest) -> None:
    if manifest.real_tpms:
        from services.runtime.tpm.backends import missing_for_libtpms

        if missing := missing_for_libtpms():
            raise KeysteadError("KS-TPM-001", missing)


async def _run_agent(
    bundle: Bundle, folder: JoinedFolder, shared: Mapping[str, Path], say: Say, server: CopiedServer
) -> None:
    manifest = bundle.manifest
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    agents = Agents(log_of(folder.path), real_tpms=manifest.real_tpms)
    agents.server = server
    await agents.start(FORK_SERVER_S)
    url = f"nats://{manifest.address}"
    holding = Holding(folder, url, agents, say)
    gate = Gate(folder.path)
    arrays = Guest(manifest.machine, shared, holding.check_run)
    name = machine_agent(manifest.machine)
    try:
        client = await _open_client(bundle, folder, url, holding)
        holding.gate = await open_gate(gate, manifest, folder.path)
        try:
            await ControlServer(client).serve({**holding.handlers, **arrays.handlers})
            health = await serve(folder.path, AGENT, holding.health)
            say(
                f"machine {manifest.machine} of the lab {manifest.lab} at {manifest.address}, "
                f"{len(manifest.nodes)} nodes; state in {folder.path}"
            )
            try:
                await _until(ended, agents, holding, bundle, folder, client)
            finally:
                health.close()
                if holding.purged.is_set():
                    await arrays.remove()
                    folder.remove()
                await _leave(holding, client, manifest.machine)
        finally:
            await client.close()
    finally:
        gate.close()
        arrays.close()
        await agents.close()
    say(f"{name} has ended, and its processes with it")


async def _leave(holding: Holding, client: ControlClient, machine: str) -> None:
    """What is said is true when it is said: another agent may be taken at once."""
    await holding.let_go()
    client.publish(MachineLeaves(machine=machine, run=holding.ended))


async def _open_client(
    bundle: Bundle, folder: JoinedFolder, url: str, holding: Holding
) -> ControlClient:
    name = machine_agent(bundle.manifest.machine)
    seed = Identities.load(folder.path).control(name).seed
    secured = LabTls(str(folder.authority), BrokerKind.CONTROL.value)
    client = ControlClient(url, seed, name, secured=secured, now=holding.page.supervisor_time)
    try:
        await client.open()
    except NotSent as error:
        if unknown(str(error)):
            raise _stale_bundle_error(bundle) from None
        manifest = bundle.manifest
        raise unreachable_error(manifest.lab, manifest.address, str(error)) from None
    return client


def _stale_bundle_error(bundle: Bundle) -> KeysteadError:
    machine, lab = bundle.manifest.machine, bundle.manifest.lab
    text = f"what this bundle of machine {machine} holds is not known to the lab {lab} any more: "
    return KeysteadError("KS-AGENT-004", text + "a newer one has taken its place")


async def _until(
    ended: asyncio.Event,
    agents: Agents,
    holding: Holding,
    bundle: Bundle,
    folder: JoinedFolder,
    client: ControlClient,
) -> None:
    """Until it is told to end; raises the error of a refusal, or of a fork server that ended and
    cannot be had again. One that ends takes its processes along, and is started anew."""
    loop, refused = asyncio.get_running_loop(), holding.refused

    async def again() -> None:
        await agents.close()
        await agents.start(FORK_SERVER_S)

    def record_loss(error: KeysteadError) -> None:
        if not refused.done():
            refused.set_result(error)

    forks = Part("fork server", lambda: agents.alive, again)
    works: list[asyncio.Task[Any]] = [
        loop.create_task(ended.wait()),
        loop.create_task(holding.purged.wait()),
        loop.create_task(Revival(holding.say, record_loss).watch((forks,))),
        loop.create_task(holding.watch()),
        loop.create_task(_seek(holding, bundle, folder, client)),
    ]
    try:
        await asyncio.wait({*works, refused}, return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            raise refused.result()
        for work in works:
            if work.done():
                work.result()
    finally:
        for work in works:
            work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*works, return_exceptions=True)


async def _seek(
    holding: Holding, bundle: Bundle, folder: JoinedFolder, client: ControlClient
) -> None:
    """Ask to be taken, until it is, and again when nobody is heard; tell why nobody is, once."""
    manifest, told, gone = bundle.manifest, "", 0
    while True:
        gone = 0 if client.connected else gone + 1
        trouble = client.trouble if gone > SILENT_S / SEEK_EVERY_S else ""
        if unknown(trouble):
            raise _stale_bundle_error(bundle)
        why = cause(trouble) or trouble
        if why and why != told:
            text = f"the lab {manifest.lab} is not reached: {why}"
            holding.say(f"{text}; this agent goes on asking")
        elif told and client.connected:
            holding.say(f"the lab {manifest.lab} is reached again")
        told = why
        if not holding.taken or holding.silent_s > SILENT_S:
            holding.look_back()
            client.publish(
                MachineSeeks(
                    machine=manifest.machine,
                    bundle=manifest.id,
                    digest=bundle.digest,
                    holder=folder.holder,
                    run=holding.run,
                    ended=holding.ended,
                    held=holding.list_processes(),
                    epoch=holding.epoch,
                    key=holding.key,
                    gate=holding.gate,
                )
            )
        await asyncio.sleep(SEEK_EVERY_S)
