"""Labs of a given size: hosts in clusters of one size, VMs spread over all of them."""

from __future__ import annotations

from typing import Any

from lab.topology.lab_file import load
from lab.topology.plan import Topology, plan

VMS_PER_HOST = 2


def lab_of(
    hosts: int,
    clusters: int = 1,
    *,
    vms: int | None = None,
    tpm: str = "model",
    pack: int = 1,
    pace: float = 30.0,
    **of_vms: Any,
) -> Topology:
    """``hosts`` and ``vms`` (``VMS_PER_HOST`` of each host, unless told) in ``clusters`` of one
    size, ``pack`` hosts a process where there are processes; ``of_vms`` is what the lab file says
    about the VMs of each cluster.
    """
    total = VMS_PER_HOST * hosts if vms is None else vms
    of_each = {"count": total // clusters, "provider": "kms-provider", **of_vms}
    file = {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "scale",
        "pace": pace,
        "vcenters": [{"name": "vcenter"}],
        "kms": [{"name": "kms"}],
        "providers": [{"name": "kms-provider", "servers": ["kms"]}],
        "clusters": [
            {
                "name": f"cluster-{number + 1}",
                "hosts": {"count": hosts // clusters, "tpm": tpm, "pack": pack},
                "vms": of_each,
            }
            for number in range(clusters)
        ],
    }
    return plan(load(file))
