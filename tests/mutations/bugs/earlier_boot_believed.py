"""vCenter broken: a ring of any other life of a host ends its session, an earlier one's too."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.session import HostSession
from tests.mutations.bugs.planting import plant


def _credulous(original: Any) -> Any:
    def rang(self: HostSession, boot: int) -> None:
        if self.connected and boot != self.boot:
            self._rings += 1
            self._end("the host asks to be connected")
        else:
            original(self, boot)

    return rang


plant(HostSession, "rang", _credulous)
