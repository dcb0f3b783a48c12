"""Looks after moves between vCenters whose end somebody was away for (MOB-07)."""

from __future__ import annotations

from protocol.errors import ProductError
from protocol.terms import VmName
from services.vcenter.tables import Relocation, RelocationRow
from services.vcenter.tasks.relocate import clear_registration, settle
from services.vcenter.ticker import Ticker
from services.vcenter.vcenter import VCenter


class Relocations:
    """Settles what a task left open, and tells hosts that were away that a VM has left them."""

    def __init__(self, vc: VCenter) -> None:
        self._vc = vc
        period_s = vc.node.knobs.remediation_interval_s
        self._ticker = Ticker(vc.node, vc.clock, "relocations", period_s)

    def start(self) -> None:
        """Begin, at once; nothing at a vCenter that knows no other."""
        if self._vc.config.vcenters:
            self._ticker.start()
            self._vc.node.background("relocations.follow", self._follow())

    async def _follow(self) -> None:
        while True:
            for name in list(self._vc.inventory.relocations):
                try:
                    await self._look_after(name)
                except ProductError as error:
                    self._vc.node.record(
                        "vm.relocation_open", level="warning", vm=name, reason=str(error)
                    )
            await self._ticker.next()

    async def _look_after(self, name: VmName) -> None:
        row = self._vc.inventory.relocations.get(name)
        if row is None or not (row.state is Relocation.LEAVING or _is_left_over(row)):
            return
        async with self._vc.node.turn(f"vm:{name}"):
            now = self._vc.inventory.relocations.get(name)
            if now is not None and now.state is Relocation.LEAVING:
                await settle(self._vc, now)
            elif now is not None and _is_left_over(now) and name not in self._vc.inventory.vms:
                await clear_registration(self._vc, now)


def _is_left_over(row: RelocationRow) -> bool:
    return row.state is Relocation.LEFT and bool(row.host)
