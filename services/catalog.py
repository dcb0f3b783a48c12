"""Which service a role is: the one place (beside the lab) where services meet.

Add a service: its folder, and one line in ``CATALOG``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from protocol.messages.agent import NodeSpec
from protocol.terms import Role
from services.esxi.config import esxi_config
from services.esxi.service import EsxiService
from services.kms.config import kms_config
from services.kms.service import KmsService
from services.runtime.node import Make
from services.runtime.ports import Ports
from services.runtime.service import Node, Service
from services.vcenter.config import vcenter_config
from services.vcenter.service import VcenterService


class Entry(NamedTuple):
    """A service, what reads ``NodeSpec.config`` for it, the module of messages it must serve."""

    service: Callable[[Node, Ports, Any], Service]
    configure: Callable[[Mapping[str, Any]], Any]
    messages: str


CATALOG: dict[Role, Entry] = {
    Role.KMS: Entry(KmsService, kms_config, "protocol.messages.kms"),
    Role.VCENTER: Entry(VcenterService, vcenter_config, "protocol.messages.vcenter"),
    Role.ESXI: Entry(EsxiService, esxi_config, "protocol.messages.host"),
}


def maker(spec: NodeSpec) -> Make:
    """What builds the service of ``spec``; ``InvalidArgument`` for a config that does not fit."""
    entry = CATALOG[spec.role]
    config = entry.configure(spec.config)
    return lambda node, ports: entry.service(node, ports, config)
