"""What nodes, hosts and VMs are, written down when it changes: what the oracle is held against.

Also how busy the cores of nodes with service times are, and how many requests wait for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.history import History
from chaos.lab import REFUSALS, Directory, LabUnderTest
from chaos.observe.look import INVENTED, OWN, LabLook, all_providers, leaders, nodes_of
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.messages.host.session import HostState, HostSummary, QueryHost, VmSummary
from protocol.messages.vcenter.providers import ProviderInfo
from protocol.messages.vcenter.vms import ListVms
from protocol.terms import NodeName, Role, VmName

EVERY_S = 5.0
LATE_S = 2.0
"""A node's record has ``unseen``, the lab seconds since its agent's report before, if above this.
"""
WITHIN_S = 2.0
"""Lab seconds for a host's answer: one that stands still is silent, and asked again."""


DRS_CHOOSES = ("partiallyAutomated", "fullyAutomated")
"""Automation levels at which the host of a VM that is powered on is chosen."""


class States:
    """The states of one run. Call ``look`` every ``EVERY_S`` lab seconds, ``saw`` with each look at
    the agents."""

    def __init__(self, lab: LabUnderTest, history: History) -> None:
        self._lab = lab
        self._history = history
        self._last: dict[tuple[str, str], dict[str, Any]] = {}
        self._nodes: dict[NodeName, NodeStatus] = {}
        self._seen_at: dict[NodeName, float] = {}

    async def begin(self) -> None:
        """Record the staging and the first look."""
        there = self._lab.directory()
        clusters = {entry.node: str(entry.cluster) for entry in there.nodes if entry.cluster}
        providers, leads = await self._providers(), self._leads()
        lacking = [str(entry.node) for entry in there.nodes if entry.cluster and not entry.tpm]
        asked = any("tpm_required" in found for found in providers)
        without_tpm: dict[str, Any] = {"without_tpm": lacking} if asked else {}  # by NKP-12
        available = [str(entry.node) for entry in there.nodes if entry.cluster and entry.ha]
        ha: dict[str, Any] = {"ha": available} if available else {}  # by HA-01
        chosen = [str(entry.node) for entry in there.nodes if entry.drs in DRS_CHOOSES]
        drs: dict[str, Any] = {"drs": chosen} if chosen else {}  # by HA-03
        encrypted = [str(entry.node) for entry in there.nodes if entry.cluster and entry.vsan]
        vsan: dict[str, Any] = {"vsan": encrypted} if encrypted else {}  # by VSAN-03
        asked_so = [str(entry.node) for entry in there.nodes if entry.by_kmip]
        by_kmip: dict[str, Any] = {"by_kmip": asked_so} if asked_so else {}
        trust = _services(there, nodes_of(self._lab, Role.ATTESTATION))
        self._history.add(
            "state",
            op="staging",
            vcenters=list(leaders(self._lab)),
            clusters=clusters,
            secure_boot={host: await self._secure_boot(host) for host in clusters},
            providers=providers,
            knobs=there.knobs,
            **leads,
            **without_tpm,
            **ha,
            **drs,
            **vsan,
            **by_kmip,
            **trust,
        )
        self.saw(await self._lab.statuses(counters=False))
        await self.look()

    async def _providers(self) -> list[dict[str, Any]]:
        """What each vCenter lists; which one it is, where several lead hosts."""
        if len(leaders(self._lab)) < 2:
            return [_provider_fields(found) for found in await LabLook(self._lab).providers() or ()]
        told: list[dict[str, Any]] = []
        for vcenter in leaders(self._lab):
            try:
                listed = await all_providers(self._lab, vcenter, within_s=WITHIN_S)
            except REFUSALS:
                continue
            told += [_provider_fields(found) | {"vcenter": str(vcenter)} for found in listed]
        return told

    def _leads(self) -> dict[str, Any]:
        """The vCenter of each host, where several lead."""
        if len(leaders(self._lab)) < 2:
            return {}
        there = self._lab.directory().nodes
        led = {str(one.node): str(one.vcenter) for one in there if one.cluster and one.vcenter}
        return {"leads": led}

    async def _secure_boot(self, host: NodeName) -> bool | None:
        try:
            return (await self._lab.firmware_of(host)).secure_boot
        except REFUSALS:
            return None

    def saw(self, seen: Mapping[NodeName, NodeStatus]) -> None:
        """Record the agents' reports about nodes; a node that is missing in them is left as it
        is. If it was not seen for long, the record says how long: a look at what has booted waits
        for key servers that do not answer."""
        now = self._lab.monotonic()
        for node, status in seen.items():
            unseen_s = round(now - self._seen_at.get(node, now), 6)
            self._seen_at[node] = now
            before = self._nodes.get(node)
            if before is not None and (before.state, before.boot) == (status.state, status.boot):
                continue
            self._nodes[node] = status
            fell = status.screen if status.state is NodeRunState.OFF else ""
            why = {"fell": fell} if fell else {}  # what its screen showed last, if anything
            late = {"unseen": unseen_s} if unseen_s > LATE_S else {}
            self._write("node", node, state=status.state.value, boot=status.boot, **why, **late)

    async def look(self) -> None:
        """Query every host that runs for its view of itself and its VMs."""
        hosts = [
            host
            for host in nodes_of(self._lab, Role.ESXI)
            if host in self._nodes and self._nodes[host].state is NodeRunState.RUNNING
        ]
        answers = await self._lab.ask_each(hosts, QueryHost(), within_s=WITHIN_S) if hosts else {}
        for host in hosts:
            answer = answers.get(host)
            if isinstance(answer, HostState):
                self._host(host, answer.summary)
            else:
                self._write("host", host, silent=True)
        for vcenter in leaders(self._lab):
            await self._marks(vcenter)
        self._history.add("state", op="look", hosts=len(hosts))

    async def _marks(self, vcenter: NodeName) -> None:
        """Of the VMs that exist and fit into one answer: a look costs the same in a lab of any
        size."""
        if vcenter not in self._nodes or self._nodes[vcenter].state is not NodeRunState.RUNNING:
            return
        try:
            listed = await self._lab.ask(vcenter, ListVms(), within_s=WITHIN_S)
        except REFUSALS:
            return
        locked = [
            str(vm.vm)
            for vm in listed.vms
            if vm.lock_event is not None and not vm.vm.startswith((INVENTED, OWN))
        ]
        self._write("marks", vcenter, locked=locked)

    def _host(self, host: NodeName, summary: HostSummary) -> None:
        key = summary.crypto_key_id
        self._write(
            "host",
            host,
            boot=summary.boot,
            crypto=summary.crypto_state.value,
            key=None if key is None else str(key),
            mode=summary.protection_mode.value,
            persistence=summary.key_persistence,
            maintenance=summary.in_maintenance_mode,
        )
        for vm in summary.vms:
            if not vm.vm.startswith(OWN):
                self._vm(host, summary.boot, vm)

    def _vm(self, host: NodeName, boot: int, vm: VmSummary) -> None:
        self._write(
            "vm",
            vm.vm,
            host=str(host),
            boot=boot,
            power=vm.power.value,
            crypto=None if vm.crypto is None else vm.crypto.value,
            wanted=vm.wanted.value,
            keys=[str(key) for key in vm.keys],
            missing=[str(key) for key in vm.missing],
        )

    def _write(self, op: str, node: NodeName | VmName, **data: Any) -> None:
        if self._last.get((op, node)) != data:
            self._last[op, node] = data
            self._history.add("state", node, op=op, **data)


def _services(there: Directory, attestation: Sequence[NodeName]) -> dict[str, Any]:
    """Who serves trusted providers: the Attestation and Key Provider Services, and, for each
    provider that a key server has, those that have it. Nothing in a lab without them."""
    if not attestation:
        return {}
    keys = [str(entry.node) for entry in there.nodes if entry.role is Role.KEYPROVIDER]
    kms: dict[str, list[str]] = {}
    for entry in there.nodes:
        for provider in entry.providers:
            kms.setdefault(str(provider), []).append(str(entry.node))
    services = {"attestation": list(map(str, attestation)), "keys": keys, "kms": kms}
    return {"services": services}


def _provider_fields(provider: ProviderInfo) -> dict[str, Any]:
    """What decides who has its keys."""
    told = {
        "name": str(provider.provider),
        "type": provider.management_type.value,
        "servers": [str(server.node) for server in provider.servers],
        "default": provider.default,
    }
    return told | ({"tpm_required": True} if provider.tpm_required else {})


class WorkLook:
    """Records a ``work`` state at each look: for each node the share of its cores that worked since
    the last look, and the number of waiting requests. Of all hosts only the busiest is recorded, by
    name. Nothing is read in a lab without service times."""

    def __init__(self, lab: LabUnderTest, history: History) -> None:
        self._lab, self._history = lab, history
        self._there: bool | None = None
        self._before: dict[NodeName, float] = {}
        self._at = 0.0

    async def look(self) -> None:
        """Record the load since the last look."""
        if self._there is None:
            seen = await self._lab.statuses(counters=False)
            self._there = any(status.service is not None for status in seen.values())
        if not self._there:
            return
        now, past_s = self._lab.monotonic(), self._lab.monotonic() - self._at
        first, self._at = not self._before, now
        nodes: dict[str, tuple[float, int]] = {}
        busiest: tuple[float, int, str] = (0.0, 0, "")
        for node, status in (await self._lab.statuses()).items():
            done_s = _work_done_s(status)
            used_s = max(done_s - self._before.get(node, done_s), 0.0)
            self._before[node] = done_s
            if status.service is None or first or past_s <= 0:
                continue
            share = round(min(used_s / past_s / status.service.cores, 1.0), 4)
            found = share, status.counters.get("work_waiting", 0)
            if status.role is Role.ESXI:
                busiest = max(busiest, (*found, str(node)))
            elif found != (0.0, 0):
                nodes[str(node)] = found
        if nodes or busiest[2]:
            self._history.add("state", op="work", nodes=nodes, host=busiest)


def _work_done_s(status: NodeStatus) -> float:
    """Seconds of work that were done so far; what is booked for later is not."""
    told = status.counters
    return (told.get("work_busy_ms", 0) - told.get("work_backlog_ms", 0)) / 1e3
