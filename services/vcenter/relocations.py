"""Looks after moves between vCenters whose end somebody was away for (MOB-07)."""

from __future__ import annotations

from protocol.errors import ProductError
from protocol.terms import VmName
from services.vcenter.tables import Relocation
from services.vcenter.tasks.departure import clear_registrations, settle, tell_stayed
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
        if not self._is_open(name):
            return
        async with self._vc.node.turn(f"vm:{name}"):
            now = self._vc.inventory.relocations.get(name)
            if now is None or not self._is_open(name):
                return
            if now.state is Relocation.LEAVING:
                await settle(self._vc, now)
            elif now.state is Relocation.STAYED:
                await tell_stayed(self._vc, now)
            else:
                await clear_registrations(self._vc, now)

    def _is_open(self, name: VmName) -> bool:
        """Whether something remains to be done after the VM's move, or it is not settled."""
        row = self._vc.inventory.relocations.get(name)
        if row is None or row.state is Relocation.LEFT:
            is_here = name in self._vc.inventory.vms
            return row is not None and bool(row.listed_by) and not is_here
        return row.state in (Relocation.LEAVING, Relocation.STAYED)
