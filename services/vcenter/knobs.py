"""The knobs of vCenter."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from services.runtime.knobs import LONGEST_S, SECONDS, SharedKnobs, knob
from services.runtime.service import Node


class VcenterKnobs(SharedKnobs, frozen=True, kw_only=True):
    """What is open about vCenter."""

    host_key_scope: Annotated[
        Literal["cluster", "host"],
        knob("Whether hosts share one host key per cluster or have one each.", rule="C2"),
    ] = "cluster"
    host_key_renewal: Annotated[
        bool,
        knob(
            "A missing host key is renewed when the default provider works, not only reported.",
            rule="C17",
        ),
    ] = True
    auto_unlock: Annotated[
        bool,
        knob("Reconciliation unlocks VMs by itself once their keys are back.", rule="C16"),
    ] = True
    provider_delete_grace_s: Annotated[
        float,
        knob(
            "Keys of a deleted provider stay on hosts that long.",
            unit=SECONDS,
            least=0,
            most=LONGEST_S,
            rule="C4",
        ),
    ] = 300.0
    evict_on_provider_delete: Annotated[
        bool,
        knob("After the grace, keys of a deleted provider leave caches and stores.", rule="C4"),
    ] = True
    vc_key_cache_s: Annotated[
        float,
        knob(
            "How long vCenter keeps key values in memory; only 0 is built: it keeps ids only.",
            unit=SECONDS,
            least=0,
            most=0,
            rule="C15",
        ),
    ] = 0.0
    key_gather_s: Annotated[
        float,
        knob(
            "New keys for the other hosts of a cluster wait that long for more of them, and are "
            "sent together; so are these hosts repaired when VMs came or went.",
            unit=SECONDS,
            least=0,
            most=60,
            rule="STD-12",
        ),
    ] = 1.0
    vsan_rekey_with_absent_host: Annotated[
        Literal["refuse", "leave"],
        knob(
            "A change of vSAN's keys while a host is absent: refused, or made without that host, "
            "which makes up for it when it is back.",
            rule="C25",
        ),
    ] = "refuse"
    vsan_provider_delete: Annotated[
        Literal["refuse", "remove"],
        knob(
            "Deleting a standard provider whose keys vSAN uses: refused, or done, and its profile "
            "leaves the hosts.",
            rule="C26",
        ),
    ] = "refuse"
    failover_on_missing: Annotated[
        bool,
        knob("A key that one key server does not have is asked of the next.", rule="C22"),
    ] = False
    believe_reports_of_other_clusters: Annotated[
        bool,
        knob(
            "A host is believed that lists VMs, or names keys, of another cluster; the product "
            "believes it.",
            rule="C28",
        ),
    ] = False
    remediation_interval_s: Annotated[
        float,
        knob(
            "Providers and keys of hosts are compared and repaired that often "
            "(vpxd.KMS.remediationInterval).",
            unit=SECONDS,
            least=1,
            most=LONGEST_S,
            rule="STD-10",
        ),
    ] = 300.0
    kms_health_interval_s: Annotated[
        float,
        knob(
            "Each key server is asked for a sign of life that often.",
            unit=SECONDS,
            least=1,
            most=LONGEST_S,
            rule="STD-09",
        ),
    ] = 300.0


class VcenterNode(Node, Protocol):
    """The node that drives a vCenter."""

    @property
    def knobs(self) -> VcenterKnobs: ...
