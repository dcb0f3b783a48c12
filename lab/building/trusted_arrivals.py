"""Hosts of trusted clusters that come later, with machines that ask for a place.

A Trust Authority takes one change at a time (HLT-04), and a cluster is remediated as a whole
(HLT-02): hosts that wait at the same time are seen to together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from lab.building.trust import TASK_S, default_for, identity_imports, image_import, once
from lab.core import LabCore
from lab.schema.errors import KeysteadError
from lab.topology.plan import TrustPlan
from protocol.errors import ProductError
from protocol.messages.vcenter import (
    ImportToTrustAuthority,
    QueryTrustedClusters,
    RemediateTrustedCluster,
    SetTrustedState,
    TrustedHost,
)
from protocol.terms import ClusterName, NodeName, ProviderHealth
from services.runtime.each import try_each

_Failures = dict[NodeName, Exception]


class TrustedArrivals:
    """Of the lab with that Trust Authority."""

    def __init__(self, lab: LabCore, trust: TrustPlan) -> None:
        self._lab, self._trust = lab, trust
        self._turn = asyncio.Lock()
        self._waiting: list[NodeName] = []
        self._failed: _Failures = {}

    async def trust(self, host: NodeName) -> None:
        """Return when that host, which vCenter has, is configured as a trusted one. Raises why it
        is not; repeating it converges."""
        self._waiting.append(host)
        async with self._turn:
            if host in self._waiting:
                together, self._waiting = self._waiting, []
                try:
                    self._failed |= await self._see_to(together)
                except BaseException:  # one of the others sees to them
                    self._waiting = [*(one for one in together if one != host), *self._waiting]
                    raise
            if (error := self._failed.pop(host, None)) is not None:
                raise error

    async def _see_to(self, hosts: list[NodeName]) -> _Failures:
        """Those that are not trusted now, each with its reason."""
        failed, imported = _Failures(), list[ImportToTrustAuthority]()
        for host, found in zip(hosts, await try_each(hosts, self._export_host), strict=True):
            if isinstance(found, Exception):
                failed[host] = found
                continue
            for message in found:
                if message not in imported:  # one base image is that of many hosts
                    await once(self._lab, self._trust.vcenter, message)
                    imported.append(message)
        clusters: dict[ClusterName, list[NodeName]] = {}
        for host in hosts:
            cluster = self._lab.spec(host).cluster
            if host not in failed and cluster is not None:
                clusters.setdefault(cluster, []).append(host)
        for cluster, theirs in clusters.items():
            failed |= await self._configure_hosts(cluster, theirs)
        return failed

    async def _export_host(self, host: NodeName) -> list[ImportToTrustAuthority]:
        """Steps 4 and 5 of one host, for steps 7 and 8."""
        identity = await identity_imports(self._lab, host, self._trust)
        return [*identity, await image_import(self._lab, host)]

    async def _configure_hosts(self, cluster: ClusterName, hosts: list[NodeName]) -> _Failures:
        """Have all hosts of the cluster told, which is step 12; what another host refuses is no
        matter of these."""
        vcenter, why = self._trust.workload, ""
        try:
            if cluster in (await self._lab.ask(vcenter, QueryTrustedClusters())).clusters:
                again = RemediateTrustedCluster(cluster=cluster)
                await self._lab.ask(vcenter, again, within_s=TASK_S)
            else:
                providers = self._lab.topology.providers
                await default_for(self._lab, self._trust, cluster, providers)
                await self._lab.ask(vcenter, SetTrustedState(cluster=cluster), within_s=TASK_S)
        except ProductError as error:
            why = str(error)
        state = await self._lab.ask(vcenter, QueryTrustedClusters())
        told = {one.host: one for one in state.hosts}
        return {host: _untold(host, told, why) for host in hosts if not _is_well(host, told)}


def _is_well(host: NodeName, told: Mapping[NodeName, TrustedHost]) -> bool:
    return host in told and told[host].health is ProviderHealth.OK


def _untold(host: NodeName, told: Mapping[NodeName, TrustedHost], why: str) -> KeysteadError:
    details = "; ".join(told[host].details) if host in told else "vCenter does not reach it"
    return KeysteadError("KS-LAB-003", f"{host} is not trusted yet: {why or details}")
