"""The service of each role: the one place (beside the lab) where services meet.

To add a service: its folder, and one function in ``SERVICES``.

A service is imported at its first use: a process that holds a single host, as in a container, never
loads the others. A process that forks processes of all kinds calls ``everything`` first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from protocol.messages.agent import NodeSpec
from protocol.terms import Role
from services.knobs import knobs_of
from services.runtime.node import Recipe
from services.runtime.ports import Ports
from services.runtime.service import Service


class CatalogEntry(NamedTuple):
    """A service, the function that reads ``NodeSpec.config`` for it, the module of its messages,
    and whether a node with that config has TLS connections."""

    service: Callable[[Any, Ports, Any], Service]
    configure: Callable[[Mapping[str, Any]], Any]
    messages: str
    connects: Callable[[Any], bool] = lambda config: True


def _kms() -> CatalogEntry:
    from services.kms.service import KmsService
    from services.kms.settings.config import kms_config

    return CatalogEntry(KmsService, kms_config, "protocol.messages.kms")


def _vcenter() -> CatalogEntry:
    from services.vcenter.config import vcenter_config
    from services.vcenter.service import VcenterService

    return CatalogEntry(VcenterService, vcenter_config, "protocol.messages.vcenter")


def _esxi() -> CatalogEntry:
    from services.esxi.config import esxi_config
    from services.esxi.service import EsxiService

    return CatalogEntry(
        EsxiService, esxi_config, "protocol.messages.host", lambda config: config.vsan is not None
    )


def _attestation() -> CatalogEntry:
    from services.attestation.config import attestation_config
    from services.attestation.service import AttestationService

    return CatalogEntry(AttestationService, attestation_config, "protocol.messages.attestation")


def _keyprovider() -> CatalogEntry:
    from services.keyprovider.config import keyprovider_config
    from services.keyprovider.service import KeyProviderService

    return CatalogEntry(KeyProviderService, keyprovider_config, "protocol.messages.keyprovider")


SERVICES: Final[Mapping[Role, Callable[[], CatalogEntry]]] = {
    Role.KMS: _kms,
    Role.VCENTER: _vcenter,
    Role.ESXI: _esxi,
    Role.ATTESTATION: _attestation,
    Role.KEYPROVIDER: _keyprovider,
}


@cache
def entry_of(role: Role) -> CatalogEntry:
    """The service of a role, imported if needed."""
    return SERVICES[role]()


def everything() -> Mapping[Role, CatalogEntry]:
    """All services, imported."""
    return {role: entry_of(role) for role in SERVICES}


def recipe(spec: NodeSpec) -> Recipe:
    """How the node of ``spec`` is built.

    ``InvalidArgument`` for an invalid config or knob.
    """
    entry = entry_of(spec.role)
    config = entry.configure(spec.config)
    return Recipe(
        knobs_of(spec.role, spec.knobs),
        lambda node, ports: entry.service(node, ports, config),
        entry.connects(config),
    )
