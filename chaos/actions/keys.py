"""Actions on keys: made through vCenter, changed at their key servers by the operator, removed from
and added to vCenter's list; backups of key servers and of vCenters.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import StringConstraints

from chaos.actions.base import Acting, Action, ActionTarget, NoParams, On, on_vms
from chaos.administration import back_up, lose_passwords, restore, restore_vcenter, together
from chaos.faults.base import Params
from chaos.faults.keys import attributes, locate_keys
from chaos.fields import name_validator
from chaos.observe.look import all_key_status, all_providers, all_vms, leaders, nodes_of
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import InvalidState, NotFound
from protocol.messages.kms.keys import Activate, Destroy, KeyAttributes, Revoke
from protocol.messages.vcenter.providers import AddKey, GenerateKey, ProviderKeys, RemoveKey
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KmipState,
    NodeName,
    ProviderId,
    RevocationReason,
    Role,
    VmName,
)
from protocol.wrapped_keys import key_at_server


class GenerateParams(Params):
    """Of which provider; when it is left out, of the default provider."""

    provider: str | None = None


class AddKeyParams(Params):
    """The key's id, and of which provider; when that is left out, of the default provider."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    provider: str | None = None


class RevokeParams(On):
    """The keys of which VMs; ``compromised``: with that reason, whatever their state."""

    compromised: bool = False


async def _generate(acting: Acting, target: str, params: Any) -> OperationOutcome:
    provider = ProviderId(params.provider) if params.provider else None
    message = GenerateKey(operation_id=acting.name, provider=provider)
    made = await acting.ask(await acting.vcenter(""), message)
    if made.success and made.key is not None:
        return OperationOutcome(
            "ok", {"key": str(made.key.key_id), "provider": str(made.key.provider_id)}
        )
    # vCenter's answer does not say whether the key server had made the key already.
    return OperationOutcome("info", {"error": made.reason})


async def _add(acting: Acting, target: str, params: Any) -> OperationOutcome:
    key = CryptoKeyId(KeyId(params.key), acting.provider(params.provider))
    await acting.ask(await acting.vcenter(""), AddKey(key=key))
    return OperationOutcome("ok", {"added": str(key)})


async def _holders(acting: Acting, vm: str) -> list[tuple[NodeName, KeyAttributes]]:
    """The key servers that have the key of ``vm``, or its wrapping key (KEY-07), each with what it
    says of it."""
    listed = await all_vms(acting.lab, await acting.vcenter(vm))
    key = next((found.key for found in listed if found.vm == VmName(vm)), None)
    if key is None:
        raise NotFound(f"vCenter knows no key of {vm}")
    held = []
    wanted = key_at_server(key.key_id)
    for server in nodes_of(acting.lab, Role.KMS):
        held += [(server, found) for found in await attributes(acting.lab, server, (wanted,))]
    if not held:
        raise NotFound(f"no key server has the key {wanted}")
    return held


def _build_outcome(held: list[tuple[NodeName, KeyAttributes]]) -> OperationOutcome:
    return OperationOutcome("ok", {"keys": sorted({str(found.key_id) for _, found in held})})


async def _activate(acting: Acting, vm: str, params: Any) -> OperationOutcome:
    held = await _holders(acting, vm)
    for server, found in held:
        await acting.ask(server, Activate(key_id=found.key_id))
    return _build_outcome(held)


async def _revoke(acting: Acting, vm: str, params: Any) -> OperationOutcome:
    hit = RevocationReason.KEY_COMPROMISE if params.compromised else RevocationReason.UNSPECIFIED
    held = await _holders(acting, vm)
    for server, found in held:
        await acting.ask(server, Revoke(key_id=found.key_id, reason=hit))
    return _build_outcome(held)


async def _destroy(acting: Acting, vm: str, params: Any) -> OperationOutcome:
    held = await _holders(acting, vm)
    for server, found in held:
        await _destroy_key(acting, server, found)
    return _build_outcome(held)


async def _destroy_key(acting: Acting, server: NodeName, found: KeyAttributes) -> None:
    """An active key is revoked first, as KMIP has it."""
    if found.state is KmipState.ACTIVE:
        reason = RevocationReason.UNSPECIFIED
        await acting.ask(server, Revoke(key_id=found.key_id, reason=reason))
    await acting.ask(server, Destroy(key_id=found.key_id))


async def _destroy_unused(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """All that key servers have, but what vCenters say that a VM or a host uses. ``InvalidState``
    beside a Trust Authority: no vCenter knows of its primary keys."""
    if nodes_of(acting.lab, Role.ATTESTATION):
        raise InvalidState("primary keys of a Trust Authority are in use, and no vCenter says so")
    used = {
        key_at_server(status.key.key_id)
        for vcenter in leaders(acting.lab)
        for status in await all_key_status(acting.lab, vcenter)
        if status.encrypted_vms or status.affected_hosts
    }
    for vcenter in leaders(acting.lab):
        used |= {
            provider.keys.wrapping_key.key_id
            for provider in await all_providers(acting.lab, vcenter)
            if isinstance(provider.keys, ProviderKeys) and provider.keys.wrapping_key
        }
    gone: set[str] = set()
    for server in nodes_of(acting.lab, Role.KMS):
        unused = tuple(key for key in await locate_keys(acting.lab, server) if key not in used)
        for found in await attributes(acting.lab, server, unused):
            await _destroy_key(acting, server, found)
            gone.add(str(found.key_id))
    return OperationOutcome("ok", {"keys": sorted(gone)})


class BackupParams(Params):
    """Its name, and of which key servers it is (those that replicate with them go along); when
    they are left out, of all."""

    backup: Annotated[str, name_validator(names.BACKUP)]
    servers: list[str] | None = None


def _servers(acting: Acting, params: Any) -> tuple[NodeName, ...]:
    known = nodes_of(acting.lab, Role.KMS)
    chosen = tuple(NodeName(name) for name in params.servers or ()) or known
    wrong = [str(node) for node in chosen if node not in known]
    if wrong or not chosen:
        raise NotFound(f"no key server: {', '.join(wrong) or 'the lab has none'}")
    return together(acting.lab, chosen)


async def _back_up(acting: Acting, target: str, params: Any) -> OperationOutcome:
    servers = _servers(acting, params)
    await back_up(acting.lab, servers, params.backup)
    return OperationOutcome("ok", {"servers": list(map(str, servers))})


async def _restore(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """``keys`` of the outcome are those that are gone by it."""
    servers = _servers(acting, params)
    before = {key for server in servers for key in await locate_keys(acting.lab, server)}
    await restore(acting.lab, servers, params.backup)
    after = {key for server in servers for key in await locate_keys(acting.lab, server)}
    gone = sorted(map(str, before - after))
    return OperationOutcome("ok", {"servers": list(map(str, servers)), "keys": gone})


KEY_ACTIONS: Final = (
    Action(
        "key.generate",
        ActionTarget.NOTHING,
        "create a key of a provider, used by nothing yet",
        _generate,
        GenerateParams,
    ),
    Action(
        "key.add",
        ActionTarget.NOTHING,
        "register an existing key of a provider in vCenter",
        _add,
        AddKeyParams,
        "key: 00000000-0000-4000-8000-000000000000",
    ),
    on_vms("kms.key.activate", "activate the keys of VMs at their key servers", _activate),
    on_vms(
        "kms.key.revoke",
        "revoke the keys of VMs at their key servers",
        _revoke,
        RevokeParams,
        "on: vm-01, compromised: true",
    ),
    on_vms("kms.key.destroy", "destroy the keys of VMs at their key servers", _destroy),
    Action(
        "kms.key.destroy-unused",
        ActionTarget.NOTHING,
        "destroy the keys of all key servers that no VM and no host uses any more",
        _destroy_unused,
        NoParams,
    ),
    Action(
        "kms.backup",
        ActionTarget.NOTHING,
        "take a backup of key servers; they are stopped for it",
        _back_up,
        BackupParams,
        "backup: monday",
    ),
    Action(
        "kms.restore",
        ActionTarget.NOTHING,
        "restore a backup of key servers; later keys are gone",
        _restore,
        BackupParams,
        "backup: monday",
    ),
)


class RemoveParams(On):
    """The keys of which VMs; ``force``: also while something uses them."""

    force: bool = False


class VcenterBackupParams(Params):
    """Its name, and of which vCenter it is; when that is left out, of the first."""

    backup: Annotated[str, name_validator(names.BACKUP)]
    vcenter: Annotated[str, name_validator(names.NODE)] | None = None


class VcenterRestoreParams(VcenterBackupParams):
    """``without_passwords``: the backup lacks the passwords of users at KMIP servers."""

    without_passwords: bool = False


async def _keys(acting: Acting, vcenter: NodeName, vm: str) -> tuple[CryptoKeyId, ...]:
    """The keys of ``vm``, as its vCenter names them; ``NotFound`` when it names none."""
    listed = await all_vms(acting.lab, vcenter)
    found = [one for one in listed if one.vm == VmName(vm) and one.key is not None]
    if not found:
        raise NotFound(f"{vcenter} knows no key of {vm}")
    return tuple(one.key for one in found if one.key is not None)


def _build_known_keys_outcome(keys: tuple[CryptoKeyId, ...]) -> OperationOutcome:
    return OperationOutcome("ok", {"keys": sorted(str(key.key_id) for key in keys)})


async def _remove(acting: Acting, vm: str, params: Any) -> OperationOutcome:
    vcenter = await acting.vcenter(vm)
    keys = await _keys(acting, vcenter, vm)
    for key in keys:
        await acting.ask(vcenter, RemoveKey(key=key, force=params.force))
    return _build_known_keys_outcome(keys)


async def _add_known_keys(acting: Acting, vm: str, params: Any) -> OperationOutcome:
    vcenter = await acting.vcenter(vm)
    keys = await _keys(acting, vcenter, vm)
    for key in keys:
        await acting.ask(vcenter, AddKey(key=key))
    return _build_known_keys_outcome(keys)


async def _back_up_vcenter(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vcenter = await acting.vcenter("", params)
    await back_up(acting.lab, (vcenter,), params.backup)
    return OperationOutcome("ok", {"vcenter": str(vcenter)})


async def _restore_vcenter(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """``gone`` of the outcome are the providers that are gone by it, ``no_password`` those whose
    passwords are."""
    vcenter = await acting.vcenter("", params)
    gone = await restore_vcenter(acting.lab, vcenter, params.backup)
    data = {"vcenter": str(vcenter), "gone": list(map(str, gone))}
    if params.without_passwords:
        data["no_password"] = [
            str(provider) for provider in await lose_passwords(acting.lab, vcenter)
        ]
    return OperationOutcome("ok", data)


VCENTER_ACTIONS: Final = (
    on_vms(
        "vcenter.key.remove",
        "remove the keys of VMs from vCenter; by force, also from hosts",
        _remove,
        RemoveParams,
        "on: vm-01, force: true",
    ),
    on_vms("vcenter.key.add", "register the keys of VMs in vCenter again", _add_known_keys),
    Action(
        "vcenter.backup",
        ActionTarget.NOTHING,
        "take a file-based backup of a vCenter; it is stopped for it",
        _back_up_vcenter,
        VcenterBackupParams,
        "backup: monday",
    ),
    Action(
        "vcenter.restore",
        ActionTarget.NOTHING,
        "restore a backup of a vCenter; later changes are gone",
        _restore_vcenter,
        VcenterRestoreParams,
        "backup: monday",
    ),
)
