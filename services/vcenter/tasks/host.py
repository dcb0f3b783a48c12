"""Hosts and their clusters: hosts are added, removed, disconnected, reconnected and put into
maintenance mode; their encryption mode and recorded TPM are changed; vSphere HA and DRS of a
cluster are set.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from protocol import names
from protocol.errors import (
    AlreadyExists,
    HostUnreachable,
    InvalidArgument,
    InvalidState,
    KeyProviderUnreachable,
    NotAvailable,
    NotFound,
    ProductError,
)
from protocol.messages.host.crypto import CryptoManagerHostPrepare
from protocol.messages.host.session import (
    Done,
    HostEnterMaintenanceMode,
    HostExitMaintenanceMode,
    HostSummary,
)
from protocol.messages.host.vsan import MountVsanDiskGroups
from protocol.messages.vcenter import inventory as inventory_messages
from protocol.releases import Feature, Release, release_of
from protocol.terms import (
    CryptoKeyId,
    CryptoMode,
    HostCryptoState,
    KeyUnavailableReason,
    NodeName,
    PowerState,
)
from services.runtime.each import try_each
from services.vcenter.events import drs_configured, ha_switched
from services.vcenter.inventory import (
    DropVmsOf,
    Edit,
    change_cluster,
    change_host,
    drop,
    ensure_cluster,
    put,
)
from services.vcenter.key_use import cancel_releases, host_left, release_keys
from services.vcenter.providers.native import check_backed_up
from services.vcenter.tables import ClusterRow, DatabaseTable, HostRow, Relocation
from services.vcenter.tasks.migrate import empties_hosts, evacuate
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.changes import APPLY_S


async def reconfigure(vc: VCenter, message: inventory_messages.ReconfigureComputeResource) -> Done:
    """See ``ReconfigureComputeResource``. A repeat changes nothing."""
    row = vc.inventory.clusters.get(message.cluster)
    if row is None:
        raise NotFound(f"there is no cluster {message.cluster}")
    if message.drs is not UNSET and row.drs != message.drs:
        await vc.inventory.commit(
            change_cluster(row.name, drs=message.drs),
            events=[drs_configured(row.name, row.drs, message.drs)],
        )
    if message.das_enabled is not UNSET:
        await _switch_ha(vc, row, on=message.das_enabled)
    return Done()


async def _switch_ha(vc: VCenter, row: ClusterRow, *, on: bool) -> None:
    """Record the change first, then tell each connected host; a pass updates those that did not
    take it. Enabling again starts a new epoch: the agents' earlier records do not count any
    more."""
    if row.ha != on:
        epoch = row.ha_epoch + on
        await vc.inventory.commit(
            change_cluster(row.name, ha=on, ha_epoch=epoch), events=[ha_switched(row.name, on=on)]
        )
    hosts = [host.name for host in vc.inventory.hosts_of(row.name)]
    sessions = [session for name in hosts if (session := vc.sessions.find_connected(name))]

    outcomes = await try_each(sessions, vc.availability.hand_out, name="ha.configure")
    for session, outcome in zip(sessions, outcomes, strict=True):
        if isinstance(outcome, Exception):
            vc.passes.want(session.host)


FIRST_PASS_TIMEOUTS = 2.5  # request timeouts that a client waits for the first pass of step B8


async def first_pass(vc: VCenter, host: NodeName) -> None:
    """Wait a moment for the pass of the host's new session."""
    try:
        async with vc.clock.timeout(FIRST_PASS_TIMEOUTS * vc.node.knobs.request_timeout_s):
            await vc.passes.whole(host)
    except TimeoutError:
        vc.node.record("remediation.slow", level="warning", host=host)


async def disconnect_host(vc: VCenter, message: inventory_messages.DisconnectHost) -> Done:
    """Recorded first: a restarted vCenter does not connect the host either."""
    row = vc.host(message.host)
    if not row.disconnected:
        await vc.inventory.commit(change_host(row.name, disconnected=True))
    vc.sessions.add(row.name).disconnect()
    return Done()


async def reconnect_host(
    vc: VCenter, message: inventory_messages.ReconnectHost
) -> inventory_messages.HostReconnected:
    """Recorded last: the host stays disconnected until it has answered."""
    row = vc.host(message.host)
    try:
        await vc.sessions.add(row.name).reconnect()
    except ProductError as error:
        raise HostUnreachable(f"host {row.name} cannot be connected: {error}") from None
    if row.disconnected:
        await vc.inventory.commit(change_host(row.name, disconnected=False))
    await first_pass(vc, row.name)
    return inventory_messages.HostReconnected(host=vc.host_info(vc.host(row.name)))


async def enter_maintenance_mode(
    vc: VCenter, message: inventory_messages.EnterMaintenanceMode
) -> Done:
    """The host refuses while VMs run on it, which are first moved on request or by DRS; it keeps
    the mode over reboots."""
    session = vc.sessions.usable(vc.host(message.host).name)
    with vc.placement.emptying(session.host):
        if message.evacuate or empties_hosts(vc, session.host):
            await evacuate(vc, session.host)
            session = vc.sessions.usable(session.host)
        await session.command(HostEnterMaintenanceMode())
        session.view.apply(in_maintenance_mode=True)
    return Done()


async def exit_maintenance_mode(
    vc: VCenter, message: inventory_messages.ExitMaintenanceMode
) -> Done:
    """VMs may be placed on the host again."""
    session = vc.sessions.usable(vc.host(message.host).name)
    await session.command(HostExitMaintenanceMode())
    session.view.apply(in_maintenance_mode=False)
    return Done()


async def add_host(
    vc: VCenter, message: inventory_messages.AddHost
) -> inventory_messages.HostAdded:
    """Connect; record; push providers, host key and keys (B8). Runs in the host's turn.

    Whatever cannot be pushed in time is pushed later: the host is in the inventory all the same.
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
    if row is None and session.summary is not None:
        _check_release(vc, message.host, release_of(session.summary.version))
    if row is None:
        row = HostRow(name=message.host, cluster=message.cluster)
        await vc.inventory.commit(
            ensure_cluster(message.cluster),
            put(DatabaseTable.HOST, message.host, row),
            *_note_departed_vms(vc, message.host, session.summary),
        )
        session.start()
        vc.moves.follow()  # it may list VMs that moved on without it
        await first_pass(vc, message.host)
        await _share_keys_of(vc, row)
        if vc.inventory.clusters[row.cluster].ha_epoch:
            for other in vc.inventory.hosts_of(row.cluster):
                vc.passes.want(other.name)  # its list of protected hosts has changed
    return inventory_messages.HostAdded(host=vc.host_info(vc.host(message.host)))


def _note_departed_vms(vc: VCenter, host: NodeName, summary: HostSummary | None) -> list[Edit]:
    """A host that was not in the inventory when its VM was relocated still lists it: the host has
    to unregister it (decision 104)."""
    edits: list[Edit] = []
    for vm in () if summary is None else summary.vms:
        left = vc.inventory.relocations.get(vm.vm)
        if left is None or left.state is not Relocation.LEFT or vm.vm in vc.inventory.vms:
            continue
        listed_by = tuple(dict.fromkeys((*left.listed_by, host)))
        noted = msgspec.structs.replace(left, listed_by=listed_by)
        edits.append(put(DatabaseTable.RELOCATION, left.name, noted))
    return edits


def _check_release(vc: VCenter, host: NodeName, release: Release) -> None:
    """``NotAvailable`` for a host that is newer than its vCenter; older ones are managed."""
    if release <= vc.release:
        return
    vc.forget_host(host)
    raise NotAvailable(
        f"host {host} is {release}, and {vc.node.name} is {vc.release}: a vCenter manages hosts of "
        "its own release and of older ones"
    )


async def _share_keys_of(vc: VCenter, row: HostRow) -> None:
    """STD-12: the keys of VMs that came with the host are those of its whole cluster."""
    keys = [key for vm in vc.inventory.vms_on(row.name) for key in vm.keys]
    if not keys:
        return
    await vc.inventory.commit(*cancel_releases(keys))
    for other in vc.inventory.hosts_of(row.cluster):
        if other.name != row.name:
            vc.gathered.want(other.name)


async def remove_host(vc: VCenter, message: inventory_messages.RemoveHost) -> Done:
    """Remove a host and its VMs from the inventory; refused while VMs run on it, and while it is
    connected but does not answer.

    Nothing is deleted on the host, on the datastore or at key servers (KEY-03).
    """
    row = vc.inventory.hosts.get(message.host)
    if row is None:
        return Done()
    session = vc.sessions.find_connected(message.host)
    if session is not None:
        _check_idle(vc, message.host)
        await vc.availability.take_back(session)
        _check_idle(vc, message.host)  # a VM may have been started meanwhile
    keys = [key for vm in vc.inventory.vms_on(message.host) for key in vm.keys]
    others = [host.name for host in vc.inventory.hosts_of(row.cluster) if host.name != row.name]
    await vc.inventory.commit(
        drop(DatabaseTable.HOST, message.host),
        DropVmsOf(message.host),
        *host_left(message.host, vc.inventory.deleted),
        *release_keys(keys, others),
    )
    vc.forget_host(message.host)
    vc.sharing.withdraw(keys)
    for other in others:
        vc.gathered.want(other, removing=True)
    return Done()


def _check_idle(vc: VCenter, host: NodeName) -> None:
    """``InvalidState`` when VMs run on the host."""
    running = [vm.name for vm in vc.inventory.vms_on(host) if vm.power is PowerState.ON]
    if running:
        raise InvalidState(f"host {host} runs {', '.join(sorted(running))}")


async def prepare_crypto(vc: VCenter, message: inventory_messages.PrepareCrypto) -> Done:
    """incapable -> prepared, without a host key; ``InvalidState`` from every other state."""
    session = vc.sessions.usable(vc.host(message.host).name)
    await session.command(CryptoManagerHostPrepare())
    await session.mode_now()
    return Done()


async def configure_crypto_key(vc: VCenter, message: inventory_messages.ConfigureCryptoKey) -> Done:
    """Make the host safe, with this host key if one is named; send VM keys, unlock (LOCK-05).

    A named key is the host's own from now on, whatever key its cluster has.
    """
    row = vc.host(message.host)
    session = vc.sessions.usable(row.name)
    changes: dict[str, object] = {"kept_off": False}
    if message.key is not None:
        check = await _check_key(vc, message.key)
        shared = vc.inventory.clusters[row.cluster].host_key
        changes["host_key"] = None if message.key == shared else message.key
        changes["host_key_check"] = check
    await vc.inventory.commit(change_host(row.name, **changes))
    reason = await vc.remediation.run(session, fresh=True, may_unlock=True, requested=True)
    state = None if session.summary is None else session.summary.crypto_state
    if state is HostCryptoState.SAFE:
        if _has_encrypted_vsan(vc, row):
            await session.command(MountVsanDiskGroups(), within_s=APPLY_S)  # VSAN-04
        return Done()
    if reason is KeyUnavailableReason.CLUSTER_UNREACHABLE:
        raise KeyProviderUnreachable(f"{row.name} cannot be made safe: {reason.value}")
    why = reason.value if reason is not None else f"it is {state.value if state else 'unknown'}"
    raise InvalidState(f"{row.name} cannot be made safe: {why}")


def _has_encrypted_vsan(vc: VCenter, row: HostRow) -> bool:
    vsan = vc.inventory.clusters[row.cluster].vsan
    return vsan is not None and vsan.keys.encryption_enabled


async def _check_key(vc: VCenter, key: CryptoKeyId) -> str:
    """A key that is not available now cannot be a host key: nothing has changed yet.

    Returns the check value of a derived key.
    """
    native = vc.providers.derives(key.provider_id)
    if native is not None:
        check_backed_up(native)
        return vc.providers.native.check(native, key)
    reason = (await vc.providers.fetch(key.provider_id, (key,), fresh=True)).denied.get(key)
    if reason is KeyUnavailableReason.CLUSTER_UNREACHABLE:
        raise KeyProviderUnreachable(f"the key {key} cannot be had: {reason.value}")
    if reason is not None:
        raise InvalidArgument(f"key: {key} cannot be had: {reason.value}")
    return ""


async def disable_crypto(vc: VCenter, message: inventory_messages.DisableCrypto) -> Done:
    """HEM-03: pendingIncapable until the reboot; vCenter does not enable it again by itself.

    Refused on a host of an encrypted vSAN (HEM-04).
    """
    row = vc.host(message.host)
    session = vc.sessions.usable(row.name)
    if vc.inventory.clusters[row.cluster].crypto_mode is CryptoMode.FORCE_ENABLE:
        raise InvalidState(f"cluster {row.cluster} keeps all of its hosts safe: set its mode first")
    if _has_encrypted_vsan(vc, row):
        raise InvalidState(f"vSAN of cluster {row.cluster} is encrypted: disable that first")
    await vc.remediation.disable(session)
    return Done()


async def set_crypto_mode(vc: VCenter, message: inventory_messages.SetCryptoMode) -> Done:
    """HEM-05: which hosts of the cluster are kept safe; a pass over them follows soon."""
    if message.cluster not in vc.inventory.clusters:
        raise NotFound(f"there is no cluster {message.cluster}")
    policy = inventory_messages.CryptoModePolicy() if message.policy is None else message.policy
    changes: dict[str, object] = {"crypto_mode": message.crypto_mode, "policy": policy}
    if policy != inventory_messages.CryptoModePolicy():
        changes |= await _check_policy(vc, policy)
    await vc.inventory.commit(change_cluster(message.cluster, **changes))
    for row in vc.inventory.hosts_of(message.cluster):
        vc.passes.want(row.name)
    return Done()


async def _check_policy(
    vc: VCenter, policy: inventory_messages.CryptoModePolicy
) -> dict[str, object]:
    """The further changes of the cluster: a key in the policy becomes the cluster's host key."""
    vc.check_can(Feature.CRYPTO_POLICY)
    if policy.key is None:
        if policy.provider not in vc.inventory.providers:
            raise InvalidArgument(f"policy: there is no key provider {policy.provider}")
        return {}
    if policy.provider is not None:
        raise InvalidArgument("policy: it names a key or a provider, and not both")
    return {"host_key": policy.key, "host_key_check": await _check_key(vc, policy.key)}


async def acknowledge_alarm(vc: VCenter, message: inventory_messages.AcknowledgeAlarm) -> Done:
    """Acknowledge the recovery key that vCenter has seen last: a later one raises the alarm
    again."""
    row = vc.host(message.host)
    if row.recovery_acknowledged != row.recovery_id:
        await vc.inventory.commit(change_host(row.name, recovery_acknowledged=row.recovery_id))
    return Done()


async def clear_tpm_record(vc: VCenter, message: inventory_messages.ClearTpmRecord) -> Done:
    """Clear the record with its alarm; the present TPM is attested at once (SC-25)."""
    row = vc.host(message.host)
    await vc.inventory.commit(change_host(row.name, tpm=None, attestation=None))
    vc.attestations.want(row.name, looked=True)
    return Done()
