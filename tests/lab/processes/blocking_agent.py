"""A patch for agents: setting a node's clock blocks the event loop of its process."""

from __future__ import annotations

import threading
from typing import Final

from protocol.messages.agent import SkewClock
from protocol.messages.host.session import Done
from services.runtime.agent import Agent

BLOCKS_S: Final = 1.3
_skew: Final = Agent.skew


async def _blocks(self: Agent, message: SkewClock) -> Done:
    threading.Event().wait(BLOCKS_S)
    return await _skew(self, message)


Agent.skew = _blocks  # type: ignore[method-assign]
