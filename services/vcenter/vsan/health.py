"""The encryption tests of vSAN health (VSAN-14), for which vCenter and each host are asked now, and
the periodic work: changes are continued, hosts with another configuration repaired (VSAN-04),
health checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.errors import ProductError
from protocol.messages.host.vsan import QueryVsanEncryptionHealth, VsanHostHealth, VsanState
from protocol.messages.vcenter.vsan import VsanClusterHealth, VsanHostIssues, VsanTest
from protocol.terms import ClusterName, NodeName
from protocol.vsan import VsanEncryption, VsanEncryptionIssue, VsanHealthState
from services.runtime.each import try_each
from services.vcenter import events
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.tables import VsanKeys
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.changes import carry_on, cluster_row, members, repair, states
from services.vcenter.vsan.host_configuration import build_encryption

HOST_S = 600.0  # lab seconds: a host waits for each of its key servers, and real time has a floor
_BOTH = "dualencryption"
_ORDER = (
    VsanHealthState.GREEN,
    VsanHealthState.UNKNOWN,
    VsanHealthState.YELLOW,
    VsanHealthState.RED,
)


async def health(vc: VCenter, cluster: ClusterName) -> VsanClusterHealth:
    """All tests of one cluster."""
    row = cluster_row(vc, cluster)
    keys = VsanKeys() if row.vsan is None else row.vsan.keys
    answers = await _ask_hosts(vc, cluster)
    names = members(vc, cluster)
    tests = (
        *await _kms_tests(vc, cluster, keys, answers),
        _aesni(answers),
        _dual(keys, vc.inventory.holds_keys(cluster)),
        _disks(await states(vc, cluster)),
    )
    hosts = tuple(
        host_issues(
            name, answers.get(name), build_encryption(keys, vc.inventory.providers, names, name)
        )
        for name in names
    )
    worst = max((*(t.health for t in tests), *(h.health for h in hosts)), key=_ORDER.index)
    return VsanClusterHealth(cluster=cluster, health=worst, tests=tests, hosts=hosts)


def problems(found: VsanClusterHealth) -> tuple[str, ...]:
    """The red and yellow tests, a text for each; encrypted VMs in the cluster are not one. Pure."""
    tests = [
        f"{test.test} is {test.health.value}: {', '.join(test.details)}"
        for test in found.tests
        if test.health in (VsanHealthState.YELLOW, VsanHealthState.RED) and test.test != _BOTH
    ]
    hosts = [
        f"{host.host}: {', '.join(issue.value for issue in host.issues)}"
        for host in found.hosts
        if host.issues
    ]
    return (*tests, *hosts)


async def _ask_hosts(vc: VCenter, cluster: ClusterName) -> dict[NodeName, VsanHostHealth]:
    """The connected hosts; a host may wait for each of its key servers."""
    here = [vc.sessions.find_connected(row.name) for row in vc.inventory.hosts_of(cluster)]
    sessions = [session for session in here if session is not None]
    message = QueryVsanEncryptionHealth()
    answers = await try_each(
        sessions, lambda s: s.ask(message, within_s=HOST_S), name="vsan-health"
    )
    return {
        session.host: answer
        for session, answer in zip(sessions, answers, strict=True)
        if isinstance(answer, VsanHostHealth)
    }


async def _kms_tests(
    vc: VCenter, cluster: ClusterName, keys: VsanKeys, answers: Mapping[NodeName, VsanHostHealth]
) -> tuple[VsanTest, ...]:
    """None with a native provider: it has no key server (VSAN-13)."""
    if not keys.encryption_enabled or CAPABILITIES[keys.management_type].derived:
        return ()
    details, found = [], []
    row = None if keys.provider is None else vc.inventory.providers.get(keys.provider)
    if row is None:
        return (VsanTest(test="kmsconnection", health=VsanHealthState.RED,
                         details=(f"vCenter has no key provider {keys.provider}",)),)  # fmt: skip
    answered = await vc.providers.require_provider(row.name).health()
    found.append(_connection(len(row.servers), len(answered)))
    details.append(f"vcenter: {len(answered)} of {len(row.servers)} key servers")
    silent = [row.name for row in vc.inventory.hosts_of(cluster) if row.name not in answers]
    for host in silent:
        found.append(VsanHealthState.UNKNOWN)
        details.append(f"{host}: it does not answer vCenter")
    for host, answer in sorted(answers.items()):
        reached = sum(server.connected for server in answer.servers)
        found.append(_connection(len(answer.servers), reached))
        details.append(f"{host}: {reached} of {len(answer.servers)} key servers")
    return (
        VsanTest(test="kmsconnection", health=max(found, key=_ORDER.index), details=tuple(details)),
    )


def _connection(servers: int, reached: int) -> VsanHealthState:
    if reached == 0:
        return VsanHealthState.RED
    return VsanHealthState.GREEN if reached == servers else VsanHealthState.YELLOW


def _aesni(answers: Mapping[NodeName, VsanHostHealth]) -> VsanTest:
    slow = [host for host, answer in sorted(answers.items()) if not answer.aesni]
    without = tuple(f"{host}: no AES instructions" for host in slow)
    colour = VsanHealthState.RED if without else VsanHealthState.GREEN
    return VsanTest(test="hostcpuaesni", health=colour, details=without)


def _dual(keys: VsanKeys, holds_keys: bool) -> VsanTest:
    both = keys.encryption_enabled and holds_keys
    details = ("encrypted VMs are in a cluster with vSAN encryption",) if both else ()
    colour = VsanHealthState.YELLOW if both else VsanHealthState.GREEN
    return VsanTest(test=_BOTH, health=colour, details=details)


def _disks(found: Mapping[NodeName, VsanState]) -> VsanTest:
    unmounted = tuple(
        f"{host}: {group.group}: {group.why}"
        for host, state in sorted(found.items())
        for group in state.groups
        if not group.mounted
    )
    colour = VsanHealthState.RED if unmounted else VsanHealthState.GREEN
    return VsanTest(test="physicaldisks", health=colour, details=unmounted)


def host_issues(
    host: NodeName, answer: VsanHostHealth | None, wished: VsanEncryption
) -> VsanHostIssues:
    """The host's own issues, and its differences from the desired configuration. Pure."""
    if answer is None:
        return VsanHostIssues(host=host, health=VsanHealthState.UNKNOWN)
    issues = (*answer.issues, *_differences(answer.encryption, wished))
    kept = tuple(i for i in VsanEncryptionIssue if i in issues)
    connected = any(s.connected for s in answer.servers) if answer.servers else None
    colour = VsanHealthState.RED if kept or connected is False else VsanHealthState.GREEN
    return VsanHostIssues(host=host, health=colour, kms_connected=connected, issues=kept)


def _differences(has: VsanEncryption, wished: VsanEncryption) -> Sequence[VsanEncryptionIssue]:
    found = []
    if has.servers != wished.servers or has.kms_provider_id != wished.kms_provider_id:
        found.append(VsanEncryptionIssue.KMS_INFO)
    if has.trusted != wished.trusted:
        found.append(VsanEncryptionIssue.SERVER_CERTIFICATES)
    if has.keks() != wished.keks():
        found.append(VsanEncryptionIssue.KEK)
    if has.host_key_id != wished.host_key_id:
        found.append(VsanEncryptionIssue.HOST_KEY)
    if has.dek_generation_id != wished.dek_generation_id:
        found.append(VsanEncryptionIssue.DEK)
    if has.erase_disks_before_use != wished.erase_disks_before_use:
        found.append(VsanEncryptionIssue.ERASE_DISKS)
    if has.encryption_enabled and not wished.encryption_enabled:
        found.append(VsanEncryptionIssue.ENABLED_WHEN_CLUSTER_DISABLED)
    if wished.encryption_enabled and not has.encryption_enabled:
        found.append(VsanEncryptionIssue.DISABLED_WHEN_CLUSTER_ENABLED)
    return found


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
