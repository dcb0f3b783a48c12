"""How a lab is, as its supervisor says to ``keystead healthcheck``."""

from __future__ import annotations

import asyncio

from lab.machines.checkup import SUPERVISOR
from lab.machines.health import Health, serve
from lab.processes.process_lab import ProcessLab
from lab.supervise.state_folder import LabFolder
from protocol.errors import ProductError


async def serve_health(folder: LabFolder, lab: ProcessLab, ready: asyncio.Event) -> asyncio.Server:
    """Answer for the lab, from before it is built. Raises ``OSError``."""

    async def tell() -> Health:
        if not ready.is_set():
            return await _being_built(folder.name, lab)
        try:
            await lab.client.echo()
        except ProductError as error:
            return Health(well=False, text=f"the lab {folder.name} does not answer: {error}")
        return Health(well=True, text=f"the lab {folder.name} answers")

    return await serve(folder.path, SUPERVISOR, tell)


async def _being_built(name: str, lab: ProcessLab) -> Health:
    """It is well when machines can join: it cannot be built before they have."""
    joins = lab.roster is not None and await lab.roster.door.lets_in()
    told = "is being built, and lets machines join" if joins else "lets nobody join yet"
    return Health(well=joins, text=f"the lab {name} {told}")
