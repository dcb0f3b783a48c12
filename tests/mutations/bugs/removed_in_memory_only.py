"""KP-03 broken: remove-all is answered when persistence is saved as off, and the store is not."""

from __future__ import annotations

from typing import Any

from services.esxi import console
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.keys import persistence
from tests.mutations.bugs.planting import plant


async def _disable(host: Any, *, remove_all: bool) -> None:
    knob = host.node.knobs.disable_keeps_store
    host.archive.now = persistence.disable_persistence(
        host.archive.now, remove_all=remove_all, disable_keeps_store=knob
    )
    await host.archive.save(ConfigurationSection.PERSISTENCE)


plant(console, "_disable", lambda original: _disable)
