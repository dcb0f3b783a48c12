"""Which hosts list which VMs, and when each of them last reported it.

A host's view replaces everything that it reported before; the answer to a command replaces its
report of that VM. The moments are counted here, for all hosts together.
"""

from __future__ import annotations

from collections.abc import Collection

from protocol.messages.host import VmSummary
from protocol.terms import NodeName, PowerState, VmName
from services.vcenter.hosts.whereabouts import Word


class Registrations:
    """The last report of every host about every VM that it lists."""

    def __init__(self) -> None:
        self._by_vm: dict[VmName, dict[NodeName, Word]] = {}
        self._by_host: dict[NodeName, dict[VmName, None]] = {}
        self._moments = 0

    def moment(self) -> int:
        """The next moment; moments only grow."""
        self._moments += 1
        return self._moments

    def view(
        self,
        host: NodeName,
        session: int,
        vms: Collection[VmSummary],
        requested_at: int,
        received_at: int,
    ) -> None:
        """Record all VMs that the host lists."""
        listed = {vm.vm for vm in vms}
        for name in [name for name in self._by_host.get(host, ()) if name not in listed]:
            self.forget_vm(host, name)
        for vm in vms:
            self.answer(host, session, vm, requested_at, received_at)

    def answer(
        self, host: NodeName, session: int, vm: VmSummary, requested_at: int, received_at: int
    ) -> None:
        """The host's answer about one VM."""
        report = Word(
            host, vm.power is PowerState.ON, vm.locked_by, session, requested_at, received_at
        )
        self._by_vm.setdefault(vm.vm, {})[host] = report
        self._by_host.setdefault(host, {})[vm.vm] = None

    def forget_vm(self, host: NodeName, vm: VmName) -> None:
        """The host does not list that VM any more."""
        self._by_host.get(host, {}).pop(vm, None)
        reports = self._by_vm.get(vm)
        if reports is not None:
            reports.pop(host, None)
            if not reports:
                del self._by_vm[vm]

    def forget(self, host: NodeName) -> None:
        """The host lists nothing: it left the inventory, or has a new session."""
        for vm in list(self._by_host.get(host, ())):
            self.forget_vm(host, vm)
        self._by_host.pop(host, None)

    def lists(self, host: NodeName, vm: VmName) -> bool:
        """Whether the host listed the VM in its last report."""
        return vm in self._by_host.get(host, {})

    def reports(self, vm: VmName) -> tuple[Word, ...]:
        """The last report of each host that lists the VM."""
        return tuple(self._by_vm.get(vm, {}).values())
