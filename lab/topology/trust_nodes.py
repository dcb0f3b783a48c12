"""The nodes of a Trust Authority cluster, made from a Lab file."""

from __future__ import annotations

from collections.abc import Collection

from lab.topology.model import LabFields
from protocol.messages.agent import NodeSpec
from protocol.terms import NodeName, Role


def pairs_of_services(file: LabFields) -> list[tuple[NodeName, NodeName]]:
    """The Attestation Service and the Key Provider Service of each host of it (TA-01)."""
    count = 0 if file.trust_authority is None else file.trust_authority.hosts
    numbers = range(1, count + 1)
    return [(NodeName(f"attestation-{n}"), NodeName(f"keyprovider-{n}")) for n in numbers]


def services_in(file: LabFields, clusters: Collection[str]) -> list[NodeName]:
    """All of them when their cluster is one of ``clusters``."""
    authority = file.trust_authority
    if authority is None or authority.cluster not in clusters:
        return []
    return [node for pair in pairs_of_services(file) for node in pair]


def trust_services(file: LabFields) -> list[NodeSpec]:
    """Their specs, pair by pair; only the vCenter of the Trust Authority configures them."""
    authority = file.trust_authority
    if authority is None:
        return []
    roles = (Role.ATTESTATION, Role.KEYPROVIDER)
    return [
        NodeSpec(
            node=node,
            role=role,
            site=authority.site,
            knobs=file.knobs,
            config={"vcenter": authority.vcenter},
        )
        for pair in pairs_of_services(file)
        for node, role in zip(pair, roles, strict=True)
    ]
