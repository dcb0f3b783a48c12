"""A key provider of an operation's own: made, its keys taken through their states, and deleted.

A standard provider has the key servers of one that vCenter has already. What vCenter lists, the
status of each key, what the key servers say of it and what is refused are compared with what they
must be. A vCenter that has native providers gets one more of these instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from chaos.administration import (
    as_asked,
    by_kmip,
    enter_password,
    import_backup,
    register,
    take_backup,
    updating,
)
from chaos.draws import Draws
from chaos.faults.keys import attributes
from chaos.observe.look import OWN, all_key_status, all_known_keys, all_providers, leaders
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from chaos.workload.life import Drifted, Trial, Wrong, conclude
from protocol.errors import (
    AlreadyExists,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidState,
    NotFound,
    ProductError,
    ResourceInUse,
)
from protocol.messages.kms.keys import Destroy, Revoke
from protocol.messages.vcenter import providers as provider_messages
from protocol.messages.vcenter.vms import CreateVm, CryptoUnlock, DestroyVm, PowerOffVm, PowerOnVm
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    KmipState,
    ManagementType,
    NodeName,
    ProviderId,
    RevocationReason,
    VmName,
)

_Reason = KeyUnavailableReason


@dataclass
class ProviderTrial(Trial):
    """One provider. ``servers``: the key servers of a standard one."""

    provider: ProviderId
    servers: tuple[NodeName, ...] = ()

    @property
    def vm(self) -> VmName:
        """A VM under a key of the provider."""
        return VmName(f"{OWN}{self.id}")

    async def listed(self) -> provider_messages.ProviderInfo | None:
        """What vCenter lists of it."""
        found = await all_providers(self.means.lab, self.vcenter, within_s=WITHIN_S)
        return next((one for one in found if one.provider == self.provider), None)

    async def hold(self, task: str, **due: Any) -> provider_messages.ProviderInfo:
        """``Wrong`` when vCenter lists it otherwise."""
        info = await self.listed()
        if info is None:
            raise Wrong(f"after {task} vCenter does not list {self.provider}")
        for name, value in due.items():
            if getattr(info, name) != value:
                seen = getattr(info, name)
                raise Wrong(f"after {task} {name} of {self.provider} is {seen}, and not {value}")
        return info

    async def generate(self) -> CryptoKeyId:
        """A new key; asked for once more it is the same one."""
        message = provider_messages.GenerateKey(operation_id=self.next_id(), provider=self.provider)
        first, again = await self.ask(message), await self.ask(message)
        if first.key is None:
            raise Drifted(f"no key was made: {first.reason}")
        if again.key != first.key or first.key.provider_id != self.provider:
            raise Wrong(f"one operation of {self.provider} made {first.key} and {again.key}")
        await self.known(first.key, listed=True)
        key: CryptoKeyId = first.key
        return key

    async def refuses_keys(self, why: str) -> None:
        """``Wrong`` when it makes a key."""
        message = provider_messages.GenerateKey(operation_id=self.next_id(), provider=self.provider)
        if (await self.ask(message)).success:
            raise Wrong(f"{self.provider} made a key {why}")

    async def known(self, key: CryptoKeyId, *, listed: bool) -> None:
        """``Wrong`` when vCenter lists a key and should not, or does not."""
        found = key in await all_known_keys(self.means.lab, self.vcenter)
        if found is not listed:
            raise Wrong(f"{key} is {'' if found else 'not '}among the keys of vCenter")

    async def status(self, key: CryptoKeyId) -> provider_messages.CryptoKeyStatus:
        """What vCenter says of the key."""
        found = await all_key_status(self.means.lab, self.vcenter, (key,), within_s=WITHIN_S)
        if [one.key for one in found] != [key]:
            raise Wrong(f"vCenter has {len(found)} statuses of {key}")
        return found[0]

    async def expect(
        self, key: CryptoKeyId, reason: KeyUnavailableReason | None, task: str, *vms: VmName
    ) -> None:
        """``Wrong`` when the status of a key is another one; ``Drifted`` when nobody could be asked
        for it."""
        status = await self.status(key)
        if status.reason is _Reason.CLUSTER_UNREACHABLE and reason is not status.reason:
            raise Drifted(f"after {task} the servers of {self.provider} do not answer")
        if (status.available, status.reason) != (reason is None, reason):
            raise Wrong(f"after {task} {key} is {status.reason or 'available'}, not {reason}")
        if (status.encrypted_vms, status.affected_hosts) != (vms, ()):
            users = [*status.encrypted_vms, *status.affected_hosts]
            raise Wrong(f"after {task} {key} is used by {users}, not {list(vms)}")

    async def at_servers(self, key: CryptoKeyId, state: KmipState) -> list[NodeName]:
        """Servers that have the key; ``Wrong`` when one says that it is in another state."""
        there = []
        for server in self.servers:
            for found in await attributes(self.means.lab, server, (key.key_id,)):
                there.append(server)
                if found.state is not state:
                    raise Wrong(f"{server} says that {key} is {found.state}, not {state}")
        if not there:
            raise Wrong(f"no key server has {key}")
        return there

    async def make_vm(self) -> CryptoKeyId:
        """An encrypted VM; its key."""
        message = CreateVm(
            operation_id=self.next_id(),
            vm=self.vm,
            cluster=self.cluster,
            encrypted=True,
            provider=self.provider,
        )
        key: CryptoKeyId | None = (await self.ask(message)).vm.key
        if key is None or key.provider_id != self.provider:
            raise Wrong(f"a VM was to be under a key of {self.provider}, and is under {key}")
        return key

    async def delete(self, keys: tuple[CryptoKeyId, ...]) -> None:
        """Deleted twice, which is no change; and what is refused then."""
        for _ in range(2):
            left = await self.ask(provider_messages.UnregisterKmsCluster(provider=self.provider))
            if left.hosts:
                raise Drifted(f"{left.hosts} have not dropped {self.provider}")
        if await self.listed() is not None:
            raise Wrong(f"{self.provider} was deleted, and is listed")
        await self.refused(provider_messages.MarkDefault(provider=self.provider), InvalidArgument)
        await self.refuses_keys("after it was deleted")
        for key in keys:
            await self.ask(provider_messages.RemoveKey(key=key, force=True))
            await self.known(key, listed=False)


# ---- standard ------------------------------------------------------------------------------------


async def _standard(trial: ProviderTrial) -> None:
    name, kind = trial.provider, ManagementType.VCENTER
    await register(trial.means.lab, trial.vcenter, name, trial.servers)
    servers = as_asked(trial.means.lab, trial.servers)
    info = await trial.hold("it was made", management_type=kind, servers=servers, default=False)
    if info.status != "green":
        raise Drifted(f"{name} is {info.status}")
    await trial.refused(provider_messages.ExportProvider(provider=name), InvalidArgument)
    key, other = await trial.generate(), await trial.generate()
    if key == other:
        raise Wrong(f"two operations made {key}")
    await _of_a_list(trial, other)
    used = await _of_a_vm(trial)
    await _of_defaults(trial)
    await _of_states(trial, key)
    await _of_users(trial)
    await trial.ask(provider_messages.RegisterKmsCluster(provider=name, servers=servers[:1]))
    await trial.hold("its servers changed", servers=servers[:1], default=False)
    await trial.delete((key, other, used))
    await trial.expect(other, _Reason.CLUSTER_INVALID, "its provider was deleted")


async def _of_a_list(trial: ProviderTrial, key: CryptoKeyId) -> None:
    """vCenter forgets a key that nothing uses, and knows it again."""
    await trial.ask(provider_messages.RemoveKey(key=key))
    await trial.known(key, listed=False)
    await trial.refused(provider_messages.RemoveKey(key=key), InvalidArgument)
    await trial.ask(provider_messages.AddKey(key=key))
    await trial.known(key, listed=True)
    await trial.refused(provider_messages.AddKey(key=key), AlreadyExists)
    nothing = CryptoKeyId(KeyId(f"{trial.id}-none"), trial.provider)
    await trial.refused(provider_messages.AddKey(key=nothing), InvalidArgument)
    await trial.expect(nothing, _Reason.MISSING_IN_KMS, "nobody made it")


async def _of_a_vm(trial: ProviderTrial) -> CryptoKeyId:
    """The key of a VM: used, taken away by force, and given back (SC-16)."""
    key, vm = await trial.make_vm(), trial.vm
    await trial.expect(key, None, "a VM came under it", vm)
    await trial.refused(provider_messages.RemoveKey(key=key), ResourceInUse)
    left = await trial.ask(provider_messages.RemoveKey(key=key, force=True))
    if left.hosts:
        raise Drifted(f"{left.hosts} have not dropped {key}")
    await trial.expect(key, _Reason.MISSING_IN_CACHE, "it was removed by force", vm)
    await trial.refused(PowerOnVm(vm=vm), EncryptionKeyRequired)
    await trial.ask(provider_messages.AddKey(key=key))
    await trial.expect(key, None, "it was added again", vm)
    await trial.ask(CryptoUnlock(vm=vm))
    await trial.ask(PowerOnVm(vm=vm))
    await trial.ask(PowerOffVm(vm=vm))
    await trial.ask(DestroyVm(vm=vm))
    await trial.expect(key, None, "its VM was destroyed")
    return key


async def _of_defaults(trial: ProviderTrial) -> None:
    """The default of a cluster (STD-02): at once taken back, for it is also that of others."""
    cluster, before = trial.cluster, provider_messages.GetDefaultKmsCluster(entity=trial.cluster)
    was = (await trial.ask(before)).provider
    own = provider_messages.GetDefaultKmsCluster(entity=cluster, defaults_to_parent=False)
    had = (await trial.ask(own)).provider
    await trial.ask(provider_messages.SetDefaultKmsCluster(entity=cluster, provider=trial.provider))
    now = [(await trial.ask(one)).provider for one in (before, own)]
    shown = await trial.listed()
    await trial.ask(provider_messages.SetDefaultKmsCluster(entity=cluster, provider=had))
    then = [(await trial.ask(one)).provider for one in (before, own)]
    if (now, then) != ([trial.provider] * 2, [was, had]):
        raise Wrong(f"the default of {cluster} was {was}, then {now}, and then {then}")
    if shown is None or cluster not in shown.default_of:
        raise Wrong(f"{trial.provider} is the default of {cluster}, and vCenter does not show it")
    nothing = ProviderId(f"{trial.provider}-none")
    await trial.refused(
        provider_messages.SetDefaultKmsCluster(entity=cluster, provider=nothing), InvalidArgument
    )
    await trial.refused(provider_messages.MarkDefault(provider=nothing), InvalidArgument)


async def _of_states(trial: ProviderTrial, key: CryptoKeyId) -> None:
    """The states of a key at its servers (STD-18, STD-20). A wrapped one is at none of them."""
    if (await trial.status(key)).wrapping_key:
        return
    unused = _Reason.NOT_ACTIVE_OR_ENABLED
    await trial.expect(key, unused, "it was made")
    servers = await trial.at_servers(key, KmipState.PRE_ACTIVE)
    ask = trial.means.lab.ask
    for server in servers:
        await ask(server, Revoke(key_id=key.key_id, reason=RevocationReason.KEY_COMPROMISE))
    await trial.at_servers(key, KmipState.COMPROMISED)
    await trial.expect(key, unused, "it was compromised")
    for server in servers:
        await ask(server, Destroy(key_id=key.key_id))
    await trial.expect(key, _Reason.MISSING_IN_KMS, "it was destroyed")


async def _of_users(trial: ProviderTrial) -> None:
    """A user at servers that are asked by KMIP (STD-01): its password is lost, its name stays."""
    servers = as_asked(trial.means.lab, trial.servers)
    lose = provider_messages.LoseKmipPasswords(provider=trial.provider)
    await trial.refused(lose, InvalidState)
    if not by_kmip(trial.means.lab, servers):
        return
    await enter_password(trial.means.lab, trial.vcenter, trial.provider, "vcenter")
    named = tuple(msgspec.structs.replace(one, user_name="vcenter") for one in servers)
    for task in ("a user was entered", "its password was lost"):
        await trial.hold(task, servers=named)
        await trial.ask(lose)
    await trial.refuses_keys("without the password of its user")


# ---- native --------------------------------------------------------------------------------------


async def _native(trial: ProviderTrial) -> None:
    name, required = trial.provider, trial.draws.unit() < 0.5
    lab, vcenter = trial.means.lab, trial.vcenter
    await trial.ask(provider_messages.CreateNativeProvider(provider=name, tpm_required=required))
    kind = ManagementType.NATIVE_PROVIDER
    info = await trial.hold("it was made", management_type=kind, tpm_required=required)
    await trial.refused(provider_messages.CreateNativeProvider(provider=name), AlreadyExists)
    await trial.refuses_keys("before it was backed up")
    first = await take_backup(lab, vcenter, name)
    await _refuse_import(trial, first, "", AlreadyExists)
    key = await trial.generate()
    await trial.expect(key, _Reason.MANAGED_BY_NKP, "it was made")
    fresh = updating(name, "", trial.next_id())
    await trial.ask(fresh)
    await trial.hold("its key has another id", key_id=fresh.key_id)
    await trial.refused(updating(name, "none", ""), InvalidArgument)
    second = await take_backup(lab, vcenter, name, "password")
    await trial.delete((key,))
    await _refuse_import(trial, second, "other", InvalidArgument)
    for backup, password, id in ((first, "", info.key_id), (second, "password", fresh.key_id)):
        found = await import_backup(lab, vcenter, backup, password, dry_run=True)
        if (found.provider, found.key_id, found.tpm_required) != (name, id, required):
            raise Wrong(f"the backup of {name} is of {found.provider} with the key {found.key_id}")
        if await trial.listed() is not None:
            raise Wrong(f"{name} was imported only to see what is in it, and is listed")
        await import_backup(lab, vcenter, backup, password)
        await trial.hold("it was imported", key_id=id, tpm_required=required, default=False)
        await trial.generate()
        await trial.delete(())


async def _refuse_import(
    trial: ProviderTrial, backup: KeyMaterial, password: str, error: type[ProductError]
) -> None:
    try:
        await import_backup(trial.means.lab, trial.vcenter, backup, password)
    except error:
        return
    raise Wrong(f"a backup of {trial.provider} is imported, and not refused with {error.__name__}")


async def _live(means: Means, arrival: Arrival) -> OperationOutcome:
    """At a drawn vCenter that leads hosts."""
    draws, lab = Draws(arrival.number, "provider"), means.lab
    vcenters = leaders(lab)
    if not vcenters:
        raise NotFound("no vCenter has hosts")
    vcenter = vcenters[draws.below(len(vcenters))]
    of_it = [one for one in lab.directory().nodes if one.vcenter == vcenter and one.cluster]
    cluster = of_it[draws.below(len(of_it))].cluster
    id = means.operation_id(arrival)
    trial = ProviderTrial(means, vcenter, cluster, id, draws, ProviderId(f"{OWN}{id}"))
    listed = await all_providers(lab, vcenter, within_s=WITHIN_S)
    standard = [one for one in listed if one.management_type is ManagementType.VCENTER]
    if standard:
        trial.servers = tuple(server.node for server in standard[0].servers)
        return await conclude(_standard(trial))
    if any(one.management_type is ManagementType.NATIVE_PROVIDER for one in listed):
        return await conclude(_native(trial))
    return OperationOutcome("ok", {})


OPERATIONS: Final = (
    WorkloadOperation(
        "keyprovider.live",
        "",
        "make a key provider, take its keys through their states, and delete it",
        _live,
    ),
)
