"""A host has only keys that its own cluster was given, whatever VMs it lists to its vCenter (C28).

A key was given to each cluster in which a VM or host needed it by its own console, and perhaps to
other vCenters to which its VM was to move (MOB-07). A key that was created for no VM was given to
nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

_HELD: Final = ("cache", "store")
_CREATED: Final = "key.create"
_MOVED: Final = "vm.migrate"
_OTHER_CLUSTER: Final = ("host.add", "host.remove")


@dataclass
class _Given:
    """What a history tells of clusters and keys, by the ids of keys."""

    clusters: dict[str, str] = field(default_factory=dict)  # of hosts that stayed in theirs
    given: dict[str, set[str]] = field(default_factory=dict)  # key -> clusters
    of_vm: dict[str, set[str]] = field(default_factory=dict)  # VM -> its keys
    movable: set[str] = field(default_factory=set)  # VMs that were to move to another vCenter
    unused: set[str] = field(default_factory=set)  # keys that were created for no VM
    several: bool = False  # vCenters lead hosts

    def take(self, record: Record) -> None:
        """Follow one record."""
        data = record.data
        match record.type, record.op:
            case "state", "staging":
                self.clusters |= data["clusters"]
                self.several = "leads" in data
            case "state", "vm":
                keys = {_id(key) for key in data["keys"]}
                self._needs(data["host"], keys)
                self.of_vm.setdefault(record.node, set()).update(keys)
            case "state", "host" if data.get("key"):
                self._needs(record.node, [_id(data["key"])])
            case "ok", op if op == _CREATED:
                self.unused.add(data["key"])
            case "ok", _ if "added" in data:
                self.unused.discard(_id(data["added"]))
            case "invoke", op if op == _MOVED and self.several:
                self.movable.add(record.node)
            case "invoke", op if op in _OTHER_CLUSTER:
                self.clusters.pop(record.node, None)

    def _needs(self, host: str, keys: Iterable[str]) -> None:
        for key in keys:
            self.given.setdefault(key, set()).add(self.clusters.get(host, ""))

    def foreign(self) -> Mapping[str, str]:
        """Of each key whose clusters are known, whose it is."""
        on_the_way = {key for vm in self.movable for key in self.of_vm.get(vm, ())}
        nobody = dict.fromkeys(self.unused - self.given.keys(), "no VM")
        return nobody | {
            key: " and ".join(sorted(clusters))
            for key, clusters in self.given.items()
            if "" not in clusters and key not in on_the_way
        }


def only_given_keys(records: Sequence[Record]) -> Finding:
    """Pass when no host had a key of other clusters only, or of no VM. Unknown when no host had a
    key whose clusters are known.

    ``values`` states name the keys in a host's ``cache`` and ``store``; ``vm`` and ``host`` states
    name those that VMs and hosts need.
    """
    known = _Given()
    for record in records:
        known.take(record)
    whose = known.foreign()
    looked = 0
    bad: list[str] = []
    where: list[int] = []
    for record in records:
        if (record.type, record.op) != ("state", "values"):
            continue
        cluster, place = known.clusters.get(record.node), record.data["place"]
        if cluster is None or place not in _HELD:
            continue
        for key in sorted(whose.keys() & set(record.data["keys"])):
            looked += 1
            if cluster not in known.given.get(key, ()):
                bad.append(f"{record.node} of {cluster} has {key} of {whose[key]} in its {place}")
                where.append(record.seq)
    if bad:
        return Finding(CheckOutcome.FAIL, "; ".join(bad[:5]), tuple(dict.fromkeys(where)))
    if not looked:
        return Finding(CheckOutcome.UNKNOWN, "no host had a key of which a VM is known")
    return Finding(CheckOutcome.PASS, f"{looked} keys at hosts, each given to its cluster")


def _id(key: Any) -> str:
    """The id alone, of a key with its provider."""
    return str(key).rpartition("/")[2]
