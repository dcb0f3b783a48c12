"""Machines that their administrators install anew, or put back from a backup.

Actions of experiments and commands of a lab call the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.backups import put_back
from chaos.lab import LabUnderTest
from chaos.observe.listing import all_providers
from chaos.observe.look import nodes_of
from protocol.errors import NotFound, ProductError
from protocol.messages.agent import DiskAct, NodeRunState, NodeStatus, TpmAct
from protocol.terms import NodeName, ProviderId, Role


async def install_anew(lab: LabUnderTest, node: NodeName, *, leftover: bool = False) -> NodeStatus:
    """Power a node off, wipe its disk, and power it on; its TPM stays as it was.

    ``leftover``: a key of the old installation lies in the TPM where the new one keeps its storage
    root key, so that it cannot seal anything (CFG-01).
    """
    state = (await lab.status(node)).state
    if state is not NodeRunState.OFF:
        await lab.power_off(node, "stop" if state is NodeRunState.RUNNING else "power_loss")
    await lab.disk(node, DiskAct.WIPE, "")
    if leftover:
        await lab.tpm(node, TpmAct.OCCUPY)
    return await lab.power_on(node)


async def renew_services(lab: LabUnderTest, services: Sequence[NodeName]) -> None:
    """Install services of a Trust Authority anew, one after another: each makes itself another
    certificate and group, and is given its configuration by its vCenter.

    ``NotFound``, before anything is done, for a node that is no such service.
    """
    known = {*nodes_of(lab, Role.ATTESTATION), *nodes_of(lab, Role.KEYPROVIDER)}
    if others := [str(node) for node in services if node not in known]:
        raise NotFound(f"no service of a Trust Authority: {', '.join(others)}")
    for service in services:
        await install_anew(lab, service)


async def restore_vcenter(
    lab: LabUnderTest, vcenter: NodeName, backup: str
) -> tuple[ProviderId, ...]:
    """Put a backup of a vCenter back; the key providers that it does not know any more.

    A vCenter that was off stays off, and tells of none. ``NotFound`` without such a backup.
    """
    before = await _providers(lab, vcenter)
    await put_back(lab, (vcenter,), backup)
    after = await _providers(lab, vcenter)
    return () if after is None else tuple(sorted((before or set()) - after))


async def _providers(lab: LabUnderTest, vcenter: NodeName) -> set[ProviderId] | None:
    """Those that it knows; None when it does not answer."""
    try:
        return {one.provider for one in await all_providers(lab, vcenter)}
    except ProductError:
        return None
