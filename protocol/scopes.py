"""Scopes of keys at key servers, as a lab gives them to its nodes and its vCenters grant keys to
them: a client sees the keys of its own scope, and single keys that were granted to it."""

from __future__ import annotations

from protocol.terms import ClusterName, NodeName


def of_vcenter(vcenter: NodeName) -> str:
    """That of a vCenter: the keys that it has made."""
    return str(vcenter)


def of_vsan(vcenter: NodeName, cluster: ClusterName) -> str:
    """That of the hosts of a vSAN cluster, which ask key servers themselves: no key is made in it,
    and vCenter grants it the keys of that vSAN."""
    return f"{vcenter}.{cluster}"
