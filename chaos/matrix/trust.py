"""What an administrator does at a Trust Authority and at its hosts, and what is shown of them.

Steps of tasks that a play takes; each raises what it is refused with.
"""

from __future__ import annotations

from chaos.matrix import clock
from chaos.matrix.scene import TA_VCENTER, StagingScene
from protocol.messages.host import (
    AttestHost,
    ExportBaseImage,
    ExportTpmEndorsement,
    QueryTrustedConfiguration,
    TrustedConfigurationState,
)
from protocol.messages.vcenter import (
    ImportToTrustAuthority,
    QueryTrustedClusters,
    RemediateTrustedCluster,
    RemoveFromTrustAuthority,
    TrustedHost,
)
from protocol.terms import ClusterName, NodeName
from protocol.trust import (
    HostTrustReport,
    TrustAttestationStatus,
    TrustedEndorsementKey,
    TrustItem,
)


async def register(scene: StagingScene, host: NodeName) -> None:
    """The host's endorsement key comes into the list of those that are trusted (TA-07)."""
    found = await scene.lab.ask(host, ExportTpmEndorsement())
    key = TrustedEndorsementKey(name=host, public_area=found.public_area)
    await _change(scene, ImportToTrustAuthority(endorsement_key=key))
    scene.book.write("note", TA_VCENTER, "endorsement key registered", host=host)


async def forget(scene: StagingScene, host: NodeName) -> None:
    """It leaves that list."""
    await _change(scene, RemoveFromTrustAuthority(kind=TrustItem.ENDORSEMENT_KEY, name=host))
    scene.book.write("note", TA_VCENTER, "endorsement key removed", host=host)


async def import_image(scene: StagingScene, host: NodeName) -> str:
    """The base image of what the host has booted is imported; its version."""
    image = (await scene.lab.ask(host, ExportBaseImage())).image
    await _change(scene, ImportToTrustAuthority(base_image=image))
    scene.book.write("note", TA_VCENTER, "base image imported", version=image.version)
    return image.version


async def withdraw_image(scene: StagingScene, version: str) -> None:
    """That base image is none of the trusted ones any more."""
    await _change(scene, RemoveFromTrustAuthority(kind=TrustItem.BASE_IMAGE, name=version))
    scene.book.write("note", TA_VCENTER, "base image withdrawn", version=version)


async def _change(
    scene: StagingScene, message: ImportToTrustAuthority | RemoveFromTrustAuthority
) -> None:
    await scene.lab.ask(TA_VCENTER, message, within_s=clock.TASK_S + scene.patience)


async def remediate(scene: StagingScene, cluster: ClusterName) -> None:
    """What is desired of the cluster's hosts is applied to them (HLT-02)."""
    message = RemediateTrustedCluster(cluster=cluster)
    await scene.ask_vcenter(message, within_s=clock.TASK_S)


async def attest(scene: StagingScene, host: NodeName) -> TrustAttestationStatus:
    """The host attests now, asked by its own administrator."""
    found = await scene.lab.ask(host, AttestHost(), within_s=clock.TASK_S + scene.patience)
    return status_of(found.reports)


async def fetch_applied(scene: StagingScene, host: NodeName) -> TrustedConfigurationState:
    """What the host has applied, and what services made of it, by its own word."""
    return await scene.lab.ask(host, QueryTrustedConfiguration())


async def find_trusted_host(scene: StagingScene, host: NodeName) -> TrustedHost | None:
    """The host as vCenter shows it among trusted ones; None when it does not."""
    found = await scene.lab.ask(scene.vcenter, QueryTrustedClusters())
    return next((one for one in found.hosts if one.host == host), None)


def status_of(reports: tuple[HostTrustReport, ...]) -> TrustAttestationStatus:
    """Attested by one service, or refused by one and attested by none (TA-11)."""
    there = {report.status for report in reports}
    for status in (TrustAttestationStatus.ATTESTED, TrustAttestationStatus.NOT_ATTESTED):
        if status in there:
            return status
    return TrustAttestationStatus.UNKNOWN
