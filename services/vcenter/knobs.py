"""The knobs of vCenter."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from services.runtime.knobs import LONGEST_S, SECONDS, SharedKnobs, knob
from services.runtime.service import ServiceNode


class VcenterKnobs(SharedKnobs, frozen=True, kw_only=True):
    """Settings of vCenter that the product's documents leave open."""

    host_key_scope: Annotated[
        Literal["cluster", "host"],
        knob(
            "Whether hosts share one host key per cluster or have one each.",
            rule="C2",
            instead="host: a key at the key server for each host, made when it first becomes safe.",
        ),
    ] = "cluster"
    vsan_kek_scope: Annotated[
        Literal["cluster", "diskGroup"],
        knob(
            "Whether an encrypted vSAN has one KEK, or one for each disk group.",
            rule="C3",
            instead="diskGroup: more keys at the key server, from the next change of keys on.",
        ),
    ] = "cluster"
    host_key_renewal: Annotated[
        bool,
        knob(
            "A missing host key is renewed when the default provider works, not only reported.",
            rule="C17",
            instead="false: the host stays prepared, and ReqEnable tells of it once per boot.",
        ),
    ] = True
    auto_unlock: Annotated[
        bool,
        knob(
            "Reconciliation unlocks VMs by itself once their keys are back.",
            rule="C16",
            instead="false: a locked VM stays so until CryptoUnlock is asked for.",
        ),
    ] = True
    provider_delete_grace_s: Annotated[
        float,
        knob(
            "Keys of a deleted provider stay on hosts that long.",
            unit=SECONDS,
            least=0,
            most=LONGEST_S,
            rule="C4",
            instead="The next reconciliation after so many seconds takes them away.",
        ),
    ] = 300.0
    evict_on_provider_delete: Annotated[
        bool,
        knob(
            "After the grace, keys of a deleted provider leave caches and stores.",
            rule="C4",
            instead="false: a deletion is not noticed before the host's next boot.",
        ),
    ] = True
    vc_key_cache_s: Annotated[
        float,
        knob(
            "How long vCenter keeps values of keys in memory; 0: it keeps ids only.",
            unit=SECONDS,
            least=0,
            most=LONGEST_S,
            rule="C15",
            instead="So long after a key was made or fetched, hosts get it without its key server.",
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
            instead="leave: the change is made; the absent host catches up when it is back.",
        ),
    ] = "refuse"
    vsan_provider_delete: Annotated[
        Literal["refuse", "remove"],
        knob(
            "Deleting a standard provider whose keys vSAN uses: refused, or done, and its profile "
            "leaves the hosts.",
            rule="C26",
            instead="remove: hosts lose the profile at once, and find no keys at their next boot.",
        ),
    ] = "refuse"
    failover_on_missing: Annotated[
        bool,
        knob(
            "A key that one key server does not have is asked of the next.",
            rule="C22",
            instead="true: a gap in a pair's replication is not seen.",
        ),
    ] = False
    believe_reports_of_other_clusters: Annotated[
        bool,
        knob(
            "A host is believed that lists VMs of another cluster, or names keys that its cluster "
            "was not given; the product believes it.",
            rule="C28",
            instead="true: a host that an intruder holds can ask for any key whose id it knows.",
        ),
    ] = False
    max_trusted_clusters: Annotated[
        int,
        knob(
            "Most trusted clusters of a vCenter; 0: any number.",
            least=0,
            most=1000,
            rule="C13",
            instead="1 is how a page of 7.0 reads: a second cluster is not made a trusted one.",
        ),
    ] = 0
    clone_tpm_provision_policy: Annotated[
        Literal["copy", "replace"],
        knob(
            "What a clone that says nothing of it has for a virtual TPM: the same, or a new one "
            "(vpxd.clone.tpmProvisionPolicy).",
            rule="VTPM-07",
            instead="replace: what the guest had sealed does not come along to clones.",
        ),
    ] = "copy"
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
    kmip_connection: Annotated[
        Literal["faithful", "pooled"],
        knob(
            "Connections to KMIP servers: one for each task, as vCenter has them, or kept ones.",
            rule="STD-05",
        ),
    ] = "faithful"
    wrapping_key_rotation_days: Annotated[
        int,
        knob(
            "A wrapping key that vCenter creates is replaced after so long, where the key provider "
            "says nothing of it.",
            unit="days",
            least=30,
            most=3650,
            rule="KEY-08",
        ),
    ] = 90
    kms_certificate_warning_days: Annotated[
        int,
        knob(
            "A certificate between vCenter and KMIP servers raises an event so long before its "
            "end.",
            unit="days",
            least=0,
            most=3650,
            rule="STD-07",
        ),
    ] = 30
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


class VcenterNode(ServiceNode, Protocol):
    """The node that drives a vCenter."""

    @property
    def knobs(self) -> VcenterKnobs: ...
