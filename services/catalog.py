"""Which service a role is: the one place (beside the lab) where services meet.

Add a service: its folder, and one line in ``CATALOG``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from protocol.messages.agent import NodeSpec
from protocol.terms import Role
from services.attestation.config import attestation_config
from services.attestation.service import AttestationService
from services.esxi.config import esxi_config
from services.esxi.service import EsxiService
from services.keyprovider.config import keyprovider_config
from services.keyprovider.service import KeyProviderService
from services.kms.config import kms_config
from services.kms.service import KmsService
from services.knobs import knobs_of
from services.runtime.node import Recipe
from services.runtime.ports import Ports
from services.runtime.service import Service
from services.vcenter.config import vcenter_config
from services.vcenter.service import VcenterService


class CatalogEntry(NamedTuple):
    """A service, what reads ``NodeSpec.config`` for it, the module of messages it must serve, and
    whether one that was made so has connections of TLS."""

    service: Callable[[Any, Ports, Any], Service]
    configure: Callable[[Mapping[str, Any]], Any]
    messages: str
    connects: Callable[[Any], bool] = lambda config: True


CATALOG: dict[Role, CatalogEntry] = {
    Role.KMS: CatalogEntry(KmsService, kms_config, "protocol.messages.kms"),
    Role.VCENTER: CatalogEntry(VcenterService, vcenter_config, "protocol.messages.vcenter"),
    Role.ESXI: CatalogEntry(
        EsxiService, esxi_config, "protocol.messages.host", lambda config: config.vsan is not None
    ),
    Role.ATTESTATION: CatalogEntry(
        AttestationService, attestation_config, "protocol.messages.attestation"
    ),
    Role.KEYPROVIDER: CatalogEntry(
        KeyProviderService, keyprovider_config, "protocol.messages.keyprovider"
    ),
}


def recipe(spec: NodeSpec) -> Recipe:
    """What the node of ``spec`` is made of.

    ``InvalidArgument`` for a config that does not fit, or a knob that does not.
    """
    entry = CATALOG[spec.role]
    config = entry.configure(spec.config)
    return Recipe(
        knobs_of(spec.role, spec.knobs),
        lambda node, ports: entry.service(node, ports, config),
        entry.connects(config),
    )
