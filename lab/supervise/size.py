"""What a Lab file comes to, in figures for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lab.state.state_folder import Place


class LabSize(msgspec.Struct, frozen=True, kw_only=True):
    """What a Lab file comes to; ``pack`` is the most hosts in one process, ``tpm`` counts hosts
    by what lies under them; machines that ask one of ``pools`` for a place bring more of all."""

    pace: float
    pack: int
    processes: int
    hosts: int
    vms: int
    tpm: dict[str, int]
    pools: tuple[str, ...] = ()


def size_of(file: Mapping[str, Any], added: int = 0, places: Sequence[Place] = ()) -> LabSize:
    """The size of a lab of this file (all overrides applied); ``added`` hosts came later, and those
    of ``places`` with their machines.

    ``processes``: one supervisor, one fork server, the brokers, and the agents.
    """
    clusters, bus = file["clusters"], file.get("bus", {})
    hosts = [c["hosts"] for c in clusters]
    pools = {m["name"]: m["clusters"][0] for m in file.get("machines", ()) if m.get("pool")}
    came = Counter(pools[place.pool] for place in places)
    agents = len(file["kms"]) + len(file["vcenters"]) + added + len(places)
    agents += sum(-(-h["count"] // h["pack"]) for h in hosts)
    tpm: Counter[str] = Counter()
    for cluster in clusters:
        host = cluster["hosts"]
        without = host.get("without_tpm", 0)
        tpm[host["tpm"]] += host["count"] - without + came[cluster["name"]]
        tpm["none"] += without
    each = {c["name"]: c["vms"]["count"] for c in clusters}
    return LabSize(
        pace=file["pace"],
        pack=max((min(h["pack"], h["count"]) for h in hosts if h["count"]), default=1),
        processes=agents + 3 + (0 if bus.get("url") else bus.get("servers", 1)),
        hosts=sum(h["count"] for h in hosts) + added + len(places),
        vms=sum(c["vms"]["count"] for c in clusters if c["name"] not in pools.values())
        + sum(each[cluster] * number for cluster, number in came.items()),
        tpm={backend: count for backend, count in tpm.items() if count},
        pools=tuple(pools),
    )
