"""Sessions broken: a session of an earlier life of vCenter takes the place of the present one."""

from __future__ import annotations

from typing import Any

from lab.mutations.planting import plant
from services.runtime.session import SessionGuard


def _open(self: Any, message: Any, controller: Any) -> None:
    self.session, self.controller = message.session, controller
    self._boot, self._last = message.vcenter_boot, 0


plant(SessionGuard, "open", lambda original: _open)
