"""Scopes of keys at key servers, as a lab assigns them to its nodes. A client sees the keys of its
own scope, and single keys of other scopes that vCenter granted to it."""

from __future__ import annotations

from protocol.terms import ClusterName, NodeName


def of_vcenter(vcenter: NodeName) -> str:
    """The scope of a vCenter: the keys that it created."""
    return str(vcenter)


def of_vsan(vcenter: NodeName, cluster: ClusterName) -> str:
    """The scope of the hosts of a vSAN cluster, which ask key servers themselves. No key is created
    in it; vCenter grants it the keys of that vSAN."""
    return f"{vcenter}.{cluster}"
