"""Goes on with changes of encryption, repairs hosts that have another one, looks at health.

At each ``remediation_interval_s``, and when it is told to. A host that was away while its cluster
changed is brought to what is in force; one that lacks a KEK stays as it is: mounting is tried
again when an administrator asks for it (VSAN-04).
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
        """What was wrong with its encryption at the last look."""
        return self._problems.get(cluster, ())

    def start_if_needed(self) -> None:
        """Look from now on if a cluster has vSAN; a change may be on its way since before this
        life."""
        if any(row.vsan is not None for row in self._vc.inventory.clusters.values()):
            self.start()
            self._ticker.tick_now()

    def start(self) -> None:
        """Look at each period from now on; the first time that vSAN is asked for."""
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
        """A change that cannot go on keeps nobody from looking."""
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
        """The event of a change of ``kmsconnection``, and what an alarm is raised for."""
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
