"""Sessions broken: a session of an earlier life of vCenter takes the place of the present one."""

from __future__ import annotations

from typing import Any

from services.runtime.session import SessionGuard
from tests.mutations.bugs.planting import plant


def _open(self: Any, message: Any, controller: Any) -> None:
    self.session, self.controller = message.session, controller
    self._boot, self._last = message.vcenter_boot, 0


plant(SessionGuard, "open", lambda original: _open)
