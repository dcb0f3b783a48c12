"""Trust Authority: what its administrators export on the one side and import on the other."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Final

from pydantic import Field

from chaos.actions.base import Acting, Action, ActionTarget, NoParams, on_hosts
from chaos.administration import renew_services
from chaos.faults.base import Params
from chaos.fields import name_validator
from chaos.observe.look import leaders, nodes_of
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import AlreadyExists, NotFound
from protocol.messages.host.crypto import ExportBaseImage, ExportTpmEndorsement
from protocol.messages.vcenter.trust import (
    ExportPrincipal,
    ExportServicesInformation,
    ImportServicesInformation,
    ImportToTrustAuthority,
    RemediateTrustedCluster,
    RemoveFromTrustAuthority,
    RenewStsCertificate,
)
from protocol.terms import ClusterName, NodeName, Role
from protocol.trust import TrustedEndorsementKey, TrustItem


class ServicesParams(Params):
    """Which Attestation Services and Key Provider Services."""

    services: Annotated[list[Annotated[str, name_validator(names.NODE)]], Field(min_length=1)]


class ClusterParams(Params):
    """Which trusted cluster."""

    cluster: Annotated[str, name_validator(names.CLUSTER)]


def _authority(acting: Acting) -> NodeName:
    """The vCenter of the Trust Authority: the one that leads no host (TA-01)."""
    leading = leaders(acting.lab)
    apart = [node for node in nodes_of(acting.lab, Role.VCENTER) if node not in leading]
    if not apart or not nodes_of(acting.lab, Role.ATTESTATION):
        raise NotFound("the lab has no Trust Authority")
    return apart[0]


async def _replace(acting: Acting, kind: TrustItem, name: str, **item: Any) -> None:
    """Import an item in the place of the one of its name."""
    authority = _authority(acting)
    with suppress(NotFound):
        await acting.ask(authority, RemoveFromTrustAuthority(kind=kind, name=name))
    await acting.ask(authority, ImportToTrustAuthority(**item))


async def _endorsement_key(acting: Acting, host: str, params: Any) -> OperationOutcome:
    told = await acting.ask(NodeName(host), ExportTpmEndorsement())
    key = TrustedEndorsementKey(name=host, public_area=told.public_area)
    await _replace(acting, TrustItem.ENDORSEMENT_KEY, host, endorsement_key=key)
    return OperationOutcome("ok", {})


async def _base_image(acting: Acting, host: str, params: Any) -> OperationOutcome:
    """``AlreadyExists``, an image of that build being there, is as good."""
    image = (await acting.ask(NodeName(host), ExportBaseImage())).image
    with suppress(AlreadyExists):
        await acting.ask(_authority(acting), ImportToTrustAuthority(base_image=image))
    return OperationOutcome("ok", {"image": image.version})


async def _principal(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """Of the vCenter of the trusted cluster; and what it knows of the services anew."""
    workload = leaders(acting.lab)[0]
    principal = (await acting.ask(workload, ExportPrincipal())).principal
    await _replace(acting, TrustItem.PRINCIPAL, principal.name, principal=principal)
    return OperationOutcome("ok", {"principal": principal.name})


async def _renew(acting: Acting, target: str, params: Any) -> OperationOutcome:
    await acting.ask(leaders(acting.lab)[0], RenewStsCertificate())
    return OperationOutcome("ok", {})


async def _renew_services(acting: Acting, target: str, params: Any) -> OperationOutcome:
    await renew_services(acting.lab, [NodeName(name) for name in params.services])
    return OperationOutcome("ok", {})


async def _remediate(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """What the services say of themselves now is exported, imported, and applied to the hosts."""
    services = await acting.ask(_authority(acting), ExportServicesInformation())
    cluster = ClusterName(params.cluster)
    workload = await acting.vcenter("", params)
    await acting.ask(workload, ImportServicesInformation(services=services))
    await acting.ask(workload, RemediateTrustedCluster(cluster=cluster))
    return OperationOutcome("ok", {})


ACTIONS: Final = (
    on_hosts(
        "trust.import-endorsement-key",
        "import the endorsement keys of hosts into the Trust Authority, replacing old ones",
        _endorsement_key,
    ),
    on_hosts(
        "trust.import-base-image",
        "import the base images of hosts into the Trust Authority",
        _base_image,
    ),
    Action(
        "trust.import-principal",
        ActionTarget.NOTHING,
        "import the certificate of the workload vCenter into the Trust Authority",
        _principal,
        NoParams,
    ),
    Action(
        "trust.renew-certificate",
        ActionTarget.NOTHING,
        "renew the certificate with which the workload vCenter vouches for its hosts",
        _renew,
        NoParams,
    ),
    Action(
        "trust.renew-services",
        ActionTarget.NOTHING,
        "reinstall services of the Trust Authority, with new certificates",
        _renew_services,
        ServicesParams,
        "services: [attestation-1]",
    ),
    Action(
        "trust.remediate",
        ActionTarget.NOTHING,
        "import the services information into the workload vCenter, and remediate a trusted "
        "cluster",
        _remediate,
        ClusterParams,
        "cluster: cluster-a",
    ),
)
