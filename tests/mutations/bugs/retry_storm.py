"""BOOT-03 broken: a host whose pass was once cut short has passes without end."""

from __future__ import annotations

import asyncio
from typing import Any

from services.vcenter.hosts.pass_queue import PassQueue
from tests.mutations.bugs.planting import plant

_PAUSE_S = 0.3
_stormy: set[str] = set()


def _storm(original: Any) -> Any:
    def ended(self: Any, host: Any, *, whole: bool) -> None:
        original(self, host, whole=whole)
        if not whole:
            _stormy.add(str(host))
        elif str(host) in _stormy:
            asyncio.get_running_loop().call_later(_PAUSE_S, self.want, host)

    return ended


plant(PassQueue, "end_pass", _storm)
