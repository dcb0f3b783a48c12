"""vSAN encryption, asked of vCenter; contents of objects, at the host itself."""

from __future__ import annotations

from lab.schema import commands
from lab.schema.answers import Vsan, VsanHealthReport, VsanObjectContent
from lab.schema.answers.base import KeyRef
from lab.schema.answers.vsan import (
    VsanComponentLine,
    VsanDiskLine,
    VsanGroupLine,
    VsanHostHealthLine,
    VsanObjectLine,
    VsanTestLine,
)
from lab.serve.session import LabSession, executes
from lab.serve.views import key_ref, view
from protocol.messages.base import Request
from protocol.messages.host.vsan import ReadVsanObject, WriteVsanObject
from protocol.messages.vcenter.vsan import (
    ChangeVsanDisk,
    CreateVsanObject,
    DataEncryptionConfig,
    MountVsanDisks,
    QueryVsanCluster,
    QueryVsanHealth,
    RekeyEncryptedCluster,
    VsanCluster,
    VsanClusterReconfig,
    VsanHost,
    VsanObject,
)
from protocol.terms import ClusterName, CryptoKeyId, ProviderId

CHANGE_S = 3600.0  # lab seconds: every disk of every host is read and written


@executes
async def describe(session: LabSession, command: commands.VsanDescribe) -> Vsan:
    """See ``VsanDescribe``."""
    return await _ask(session, QueryVsanCluster(cluster=ClusterName(command.cluster)))


@executes
async def enable(session: LabSession, command: commands.VsanEnable) -> Vsan:
    """See ``VsanEnable``."""
    wish = DataEncryptionConfig(
        encryption_enabled=True,
        kms_provider_id=ProviderId(command.provider),
        erase_disks_before_use=command.erase_disks_before_use,
    )
    return await _reconfigure(session, command.cluster, wish)


@executes
async def disable(session: LabSession, command: commands.VsanDisable) -> Vsan:
    """See ``VsanDisable``."""
    wish = DataEncryptionConfig(encryption_enabled=False)
    return await _reconfigure(session, command.cluster, wish)


async def _reconfigure(session: LabSession, cluster: str, wish: DataEncryptionConfig) -> Vsan:
    message = VsanClusterReconfig(
        operation_id=session.lab.operation_id(),
        cluster=ClusterName(cluster),
        data_encryption_config=wish,
    )
    return await _ask(session, message)


@executes
async def rekey(session: LabSession, command: commands.VsanRekey) -> Vsan:
    """See ``VsanRekey``."""
    message = RekeyEncryptedCluster(
        operation_id=session.lab.operation_id(),
        cluster=ClusterName(command.cluster),
        deep_rekey=command.deep,
        allow_reduced_redundancy=command.allow_reduced_redundancy,
    )
    return await _ask(session, message)


@executes
async def create_object(session: LabSession, command: commands.VsanObjectCreate) -> Vsan:
    """See ``VsanObjectCreate``."""
    message = CreateVsanObject(
        operation_id=session.lab.operation_id(),
        cluster=ClusterName(command.cluster),
        object=command.object,
        blocks=command.blocks,
    )
    return await _ask(session, message)


@executes
async def add_disk(session: LabSession, command: commands.VsanDiskAdd) -> Vsan:
    """See ``VsanDiskAdd``."""
    host = session.host(command.host)
    return await _ask(session, ChangeVsanDisk(host=host, group=command.group, disk=command.disk))


@executes
async def remove_disk(session: LabSession, command: commands.VsanDiskRemove) -> Vsan:
    """See ``VsanDiskRemove``."""
    host = session.host(command.host)
    message = ChangeVsanDisk(host=host, group=command.group, disk=command.disk, remove=True)
    return await _ask(session, message)


@executes
async def mount(session: LabSession, command: commands.VsanMount) -> Vsan:
    """See ``VsanMount``."""
    return await _ask(session, MountVsanDisks(host=session.host(command.host)))


@executes
async def write_object(session: LabSession, command: commands.VsanObjectWrite) -> VsanObjectContent:
    """See ``VsanObjectWrite``."""
    host = session.host(command.host)
    message = WriteVsanObject(object=command.object, marker=command.marker)
    digest = (await session.ask(host, message)).digest
    return VsanObjectContent(host=host, object=command.object, digest=digest.hex())


@executes
async def read_object(session: LabSession, command: commands.VsanObjectRead) -> VsanObjectContent:
    """See ``VsanObjectRead``."""
    host = session.host(command.host)
    message = ReadVsanObject(object=command.object, nonce=command.nonce, blocks=command.blocks)
    digest = (await session.ask(host, message)).digest
    return VsanObjectContent(host=host, object=command.object, digest=digest.hex())


@executes
async def health(session: LabSession, command: commands.VsanHealth) -> VsanHealthReport:
    """See ``VsanHealth``."""
    cluster = ClusterName(command.cluster)
    found = await session.ask(session.vcenter, QueryVsanHealth(cluster=cluster), within_s=CHANGE_S)
    return VsanHealthReport(
        cluster=cluster,
        health=found.health,
        tests=tuple(view(VsanTestLine, one) for one in found.tests),
        hosts=tuple(view(VsanHostHealthLine, one) for one in found.hosts),
    )


# ---- views --------------------------------------------------------------------------------------


async def _ask(session: LabSession, message: Request[VsanCluster]) -> Vsan:
    return _view(await session.ask(session.vcenter, message, within_s=CHANGE_S))


def _view(found: VsanCluster) -> Vsan:
    config = found.config
    return Vsan(
        cluster=found.cluster,
        encryption_enabled=config.encryption_enabled,
        provider=config.kms_provider_id,
        kek=_ref(config.kek_id),
        host_key=_ref(config.host_key_id),
        dek_generation=config.dek_generation_id,
        erase_disks_before_use=config.erase_disks_before_use,
        transition_state=config.transition_state,
        change=found.change,
        groups=tuple(line for host in found.hosts for line in _groups(host)),
        objects=tuple(_object(item) for item in found.objects),
        silent=tuple(host.host for host in found.hosts if not host.answers),
    )


def _ref(key: CryptoKeyId | None) -> KeyRef | None:
    return None if key is None else key_ref(key)


def _groups(host: VsanHost) -> list[VsanGroupLine]:
    return [
        VsanGroupLine(
            host=host.host,
            group=group.group,
            mounted=group.mounted,
            why=group.why,
            disks=tuple(
                VsanDiskLine(
                    disk=disk.disk,
                    encrypted=disk.encrypted,
                    key=_ref(disk.kek_id),
                    dek_generation=disk.dek_generation_id,
                )
                for disk in group.disks
            ),
            components=len(group.components),
        )
        for group in host.groups
    ]


def _object(item: VsanObject) -> VsanObjectLine:
    return VsanObjectLine(
        object=item.object,
        accessible=item.accessible,
        components=tuple(
            VsanComponentLine(host=c.host, kind=c.kind, state=c.state) for c in item.components
        ),
    )
