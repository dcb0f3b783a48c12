"""``keystead healthcheck``: whether what shall run on this machine does, by asking it."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

from lab.api.commands import GetFaults
from lab.api.remote import Remote
from lab.brokers.configuration import BrokerKind
from lab.errors import KeysteadError
from lab.machines.health import AGENT, LIMIT_S, Health, asked
from lab.machines.listening import authority, kept
from lab.supervise.launching import LabState, state_of
from lab.supervise.scratch import LOCK, hold
from lab.supervise.state_folder import LabFolder, all_labs
from services.runtime.real.secured import DOOR_NAME, Secured


async def look(home: Path, machine: str) -> list[Health]:
    """How everything is that shall run here: labs of the state folder ``home``, and agents, those
    of ``machine`` alone where it has a folder of its own. Nothing at all is not well."""
    own = home / "machines" / machine
    agents = sorted(((own if own.is_dir() else home) / "agents").glob("*/joined.json"))
    found = [await _agent(path.parent) for path in agents if _runs(path.parent)]
    if not own.is_dir():
        found += [await _lab(folder.name) for folder in all_labs() if folder.locked()]
    return found or [Health(well=False, text=f"nothing of a lab runs here, as {home} tells")]


def _runs(folder: Path) -> bool:
    """Whether an agent holds the folder."""
    if not (folder / LOCK).exists():
        return False
    free = hold(folder)
    if free is not None:
        os.close(free)
    return free is None


async def _agent(folder: Path) -> Health:
    """An agent and its processes: all have to be well."""
    agent = await asked(folder, AGENT)
    parts = [agent, *[await asked(folder, process) for process in agent.processes]]
    return Health(
        well=all(part.well for part in parts), text="; ".join(part.text for part in parts)
    )


async def _lab(name: str) -> Health:
    """A lab is well when its supervisor answers, or it is being built and lets machines join."""
    folder = LabFolder(name)
    if state_of(folder) is not LabState.RUNNING:
        open_ = await _door(folder.path)
        told = "is being built, and lets machines join" if open_ else "lets nobody join yet"
        return Health(well=open_, text=f"the lab {name} {told}")
    try:
        async with asyncio.timeout(LIMIT_S), Remote(folder) as remote:
            await remote.do(GetFaults())
    except (KeysteadError, TimeoutError) as error:
        return Health(well=False, text=f"the lab {name} does not answer: {error}")
    return Health(well=True, text=f"the lab {name} answers")


async def _door(folder: Path) -> bool:
    """Whether the lab's door lets TLS in, and the control broker behind it speaks."""
    at = kept(folder)
    if at is None:
        return False
    host = "127.0.0.1" if at.everywhere else at.host
    try:
        options = Secured(str(authority(folder)), BrokerKind.CONTROL.value).options
        context: ssl.SSLContext = options["tls"]
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection(
                host, at.port, ssl=context, server_hostname=DOOR_NAME
            )
            try:
                return (await reader.readline()).startswith(b"INFO ")
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False
