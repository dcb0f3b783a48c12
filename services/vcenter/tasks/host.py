"""Hosts: adding, removing, re-enabling encryption mode."""

from __future__ import annotations

from protocol import names
from protocol.errors import (
    AlreadyExists,
    HostUnreachable,
    InvalidState,
    KeyProviderUnreachable,
    ProductError,
)
from protocol.messages.host import Done
from protocol.messages.vcenter import (
    AddHost,
    ClearTpmRecord,
    ConfigureCryptoKey,
    HostAdded,
    RemoveHost,
)
from protocol.terms import HostCryptoState, KeyUnavailableReason, PowerState
from services.vcenter.inventory import DropVmsOf, change_host, drop, ensure_cluster, put
from services.vcenter.removals import host_left, released
from services.vcenter.tables import HostRow, Table
from services.vcenter.vcenter import VCenter

FIRST_PASS_TIMEOUTS = 2.5  # request timeouts that AddHost waits for the first pass of step B8


async def add_host(vc: VCenter, message: AddHost) -> HostAdded:
    """Connect; record; push providers, host key and keys (B8). Runs in the host's turn.

    What cannot be pushed in time is pushed later: the host is in the inventory all the same.
    """
    names.NODE.check(message.host)
    names.CLUSTER.check(message.cluster)
    row = vc.inventory.hosts.get(message.host)
    if row is not None and row.cluster != message.cluster:
        raise AlreadyExists(f"host {message.host} is in cluster {row.cluster} already")
    session = vc.sessions.add(message.host)
    try:
        await session.connect()
    except ProductError as error:
        if row is None:
            vc.forget_host(message.host)
        raise HostUnreachable(f"host {message.host} cannot be connected: {error}") from None
    if row is None:
        row = HostRow(name=message.host, cluster=message.cluster)
        await vc.inventory.commit(
            ensure_cluster(message.cluster), put(Table.HOST, message.host, row)
        )
        session.start()
        try:
            async with vc.clock.timeout(FIRST_PASS_TIMEOUTS * vc.node.knobs.request_timeout_s):
                await vc.passes.whole(message.host)
        except TimeoutError:
            vc.node.record("remediation.slow", level="warning", host=message.host)
    return HostAdded(host=vc.host_info(vc.host(message.host)))


async def remove_host(vc: VCenter, message: RemoveHost) -> Done:
    """Take a host and its VMs out of the inventory; refused while VMs run on it.

    Nothing is deleted on the host, on the datastore or at key servers (KEY-03).
    """
    row = vc.inventory.hosts.get(message.host)
    if row is None:
        return Done()
    session = vc.sessions.connected_to(message.host)
    vms = vc.inventory.vms_on(message.host)
    running = [vm.name for vm in vms if vm.power is PowerState.ON]
    if running and session is not None:
        raise InvalidState(f"host {message.host} runs {', '.join(sorted(running))}")
    vc.forget_host(message.host)
    keys = [key for vm in vms for key in vm.keys]
    others = [host.name for host in vc.inventory.hosts_of(row.cluster) if host.name != row.name]
    await vc.inventory.commit(
        drop(Table.HOST, message.host),
        DropVmsOf(message.host),
        *host_left(message.host, vc.inventory.released, vc.inventory.deleted),
        *released(keys, others),
    )
    for other in others:
        vc.passes.want(other, removing=True)
    return Done()


async def configure_crypto_key(vc: VCenter, message: ConfigureCryptoKey) -> Done:
    """Make the host safe, send VM keys, try to unlock VMs (LOCK-05)."""
    row = vc.host(message.host)
    session = vc.sessions.usable(row.name)
    reason = await vc.remediation.run(session, fresh=True, may_unlock=True, needed=True)
    state = None if session.summary is None else session.summary.crypto_state
    if state is HostCryptoState.SAFE:
        return Done()
    if reason is KeyUnavailableReason.CLUSTER_UNREACHABLE:
        raise KeyProviderUnreachable(f"{row.name} cannot be made safe: {reason.value}")
    why = reason.value if reason is not None else f"it is {state.value if state else 'unknown'}"
    raise InvalidState(f"{row.name} cannot be made safe: {why}")


async def clear_tpm_record(vc: VCenter, message: ClearTpmRecord) -> Done:
    """The alarm goes with the record; the TPM that is there now is looked at at once (SC-25)."""
    row = vc.host(message.host)
    await vc.inventory.commit(change_host(row.name, tpm=None, attestation=None))
    vc.attestations.want(row.name, looked=True)
    return Done()
