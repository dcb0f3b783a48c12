"""Continues changes of encryption, repairs hosts with another configuration, checks health.

It runs at each ``remediation_interval_s``, and on request. A host that was away while its cluster
changed gets the configuration in force. A host that lacks a KEK stays as it is: an administrator
must ask for mounting (VSAN-04).
"""

from __future__ import annotations

from protocol.errors import ProductError
from protocol.terms import ClusterName
from protocol.vsan import VsanHealthState
from services.vcenter import events
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.changes import carry_on, repair
from services.vcenter.vsan.conditions import states
from services.vcenter.vsan.health import health, problems


class VsanKeeper:
    """See the module's text."""

    def __init__(self, vc: VCenter) -> None:
        self._vc = vc
        self._ticker = vc.vsan_ticker
        self._started = False
        self._connection: dict[ClusterName, VsanHealthState] = {}
        self._problems: dict[ClusterName, tuple[str, ...]] = {}

    def problems(self, cluster: ClusterName) -> tuple[str, ...]:
        """The problems of its encryption at the last check."""
        return self._problems.get(cluster, ())

    def start_if_needed(self) -> None:
        """Check from now on if a cluster has vSAN; an earlier life may have left a change in
        progress."""
        if any(row.vsan is not None for row in self._vc.inventory.clusters.values()):
            self.start()
            self._ticker.tick_now()

    def start(self) -> None:
        """Check in each period from now on; called when vSAN is first used."""
        if self._started:
            return
        self._started = True
        self._ticker.start()
        self._vc.node.background("vsan.keeper", self._run())

    async def _run(self) -> None:
        while True:
            await self._ticker.next()
            for name, row in tuple(self._vc.inventory.clusters.items()):
                if row.vsan is not None:
                    await self._keep(name)

    async def _keep(self, cluster: ClusterName) -> None:
        """A change that cannot continue does not prevent the checks."""
        for step in (self._go_on, self._look):
            try:
                await step(cluster)
            except ProductError as error:
                self._vc.node.record(
                    "vsan.waits", level="warning", cluster=cluster, reason=type(error).__name__
                )

    async def _go_on(self, cluster: ClusterName) -> None:
        await carry_on(self._vc, cluster)
        for host, state in (await states(self._vc, cluster)).items():
            try:
                repaired = await repair(self._vc, cluster, host, state)
            except ProductError as error:
                self._vc.node.record(
                    "vsan.waits", level="warning", cluster=cluster, reason=type(error).__name__
                )
            else:
                if repaired:
                    self._vc.node.record("vsan.repaired", host=host)

    async def _look(self, cluster: ClusterName) -> None:
        """The event of a change of ``kmsconnection``, and the problems for the alarm."""
        found = await health(self._vc, cluster)
        self._problems[cluster] = problems(found)
        test = next((t for t in found.tests if t.test == "kmsconnection"), None)
        if test is None:
            return
        before = self._connection.get(cluster, VsanHealthState.GREEN)
        self._connection[cluster] = test.health
        if test.health is not before:
            draft = events.vsan_kms_connection(cluster, test.health.value, test.details)
            await self._vc.inventory.commit(events=[draft])
