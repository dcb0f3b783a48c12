"""Actions on key providers of vCenter: added, deleted, made the default of vCenter or of a cluster;
native providers also updated, backed up and imported.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import StringConstraints

from chaos.actions.base import Acting, Action, ActionTarget, asks_vcenter
from chaos.administration import (
    as_asked,
    by_kmip,
    enter_password,
    import_backup,
    take_backup,
    trust_each_other,
    updating,
)
from chaos.faults.base import Params
from chaos.fields import name_validator
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import NotFound, ProductError
from protocol.messages.vcenter.inventory import CryptoModePolicy, SetCryptoMode
from protocol.messages.vcenter.providers import (
    CreateNativeProvider,
    GenerateKey,
    MarkDefault,
    RegisterKmsCluster,
    SetDefaultKmsCluster,
    UnregisterKmsCluster,
)
from protocol.terms import ClusterName, CryptoMode, NodeName, ProviderId

Provider = Annotated[str, name_validator(names.PROVIDER)]
Vcenter = Annotated[str, name_validator(names.NODE)]


class AddProviderParams(Params):
    """``servers``: names of key servers of the lab; ``default``: make it vCenter's default.

    At which ``vcenter``; when it is left out, at the first.
    """

    provider: Provider
    servers: list[str]
    default: bool = False
    vcenter: Vcenter | None = None


class PasswordParams(Params):
    """``user``: the name of vCenter's user at the KMIP servers of ``provider``; when that is left
    out, of the lab's default provider."""

    user: Annotated[str, name_validator(names.PRINCIPAL)]
    provider: Provider | None = None
    vcenter: Vcenter | None = None


class DeleteParams(Params):
    """Which provider, and of which vCenter; what is left out is the lab's default provider, and
    its first vCenter."""

    provider: Provider | None = None
    vcenter: Vcenter | None = None


class DefaultParams(Params):
    """Which provider becomes vCenter's default; of the first vCenter when none is named."""

    provider: Provider
    vcenter: Vcenter | None = None


class ModeParams(Params):
    """Which hosts of a cluster vCenter keeps safe by itself; with ``provider``, under a new host
    key of that provider."""

    cluster: Annotated[str, name_validator(names.CLUSTER)]
    mode: CryptoMode
    provider: Provider | None = None


class ClusterDefaultParams(Params):
    """Which provider a cluster has; when it is left out, vCenter's default again."""

    cluster: Annotated[str, name_validator(names.CLUSTER)]
    provider: Provider | None = None


def _cluster_default(_: str, params: Any) -> SetDefaultKmsCluster:
    provider = ProviderId(params.provider) if params.provider else None
    return SetDefaultKmsCluster(entity=ClusterName(params.cluster), provider=provider)


async def _register(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """Servers that are asked by KMIP and vCenter trust each other then; where that fails, the
    provider is there all the same, and is of no use to anybody yet."""
    vcenter, provider = await acting.vcenter(target, params), ProviderId(params.provider)
    listed = as_asked(acting.lab, map(NodeName, params.servers))
    message = RegisterKmsCluster(provider=provider, servers=listed, make_default=params.default)
    await acting.ask(vcenter, message)
    try:
        await trust_each_other(acting.lab, vcenter, provider, by_kmip(acting.lab, listed))
    except ProductError as error:
        return OperationOutcome("info", {"trusted": False, "error": type(error).__name__})
    return OperationOutcome("ok", {})


async def _delete(acting: Acting, target: str, params: Any) -> OperationOutcome:
    provider = acting.provider(params.provider)
    message = UnregisterKmsCluster(provider=provider)
    await acting.ask(await acting.vcenter("", params), message)
    return OperationOutcome("ok", {"deleted": str(provider)})


async def _enter_password(acting: Acting, target: str, params: Any) -> OperationOutcome:
    provider, vcenter = acting.provider(params.provider), await acting.vcenter("", params)
    await enter_password(acting.lab, vcenter, provider, params.user)
    return OperationOutcome("ok", {"entered": str(provider)})


async def _set_mode(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vcenter, policy = await acting.vcenter(target, params), None
    if params.provider:
        message = GenerateKey(operation_id=acting.name, provider=ProviderId(params.provider))
        made = await acting.ask(vcenter, message)
        if made.key is None:
            return OperationOutcome("info", {"error": made.reason})
        policy = CryptoModePolicy(key=made.key)
    cluster = ClusterName(params.cluster)
    await acting.ask(
        vcenter, SetCryptoMode(cluster=cluster, crypto_mode=params.mode, policy=policy)
    )
    return OperationOutcome("ok", {"host_key": str(policy.key)} if policy else {})


PROVIDER_ACTIONS: Final = (
    Action(
        "provider.add",
        ActionTarget.NOTHING,
        "add a key provider, or change its servers",
        _register,
        AddProviderParams,
        "provider: second, servers: [kms]",
    ),
    Action(
        "provider.enter-password",
        ActionTarget.NOTHING,
        "enter a user name and a password for the KMIP servers of a key provider",
        _enter_password,
        PasswordParams,
        "user: vcenter",
    ),
    Action(
        "provider.delete",
        ActionTarget.NOTHING,
        "delete a key provider from vCenter; its keys stay on the key servers",
        _delete,
        DeleteParams,
    ),
    Action(
        "provider.default",
        ActionTarget.NOTHING,
        "make a key provider vCenter's default",
        asks_vcenter(lambda _, params: MarkDefault(provider=ProviderId(params.provider))),
        DefaultParams,
        "provider: kms-provider",
    ),
    Action(
        "cluster.default-provider",
        ActionTarget.NOTHING,
        "make a key provider the default of one cluster",
        asks_vcenter(_cluster_default),
        ClusterDefaultParams,
        "cluster: cluster-a, provider: kms-provider",
    ),
    Action(
        "cluster.crypto-mode",
        ActionTarget.NOTHING,
        "set which hosts of a cluster are kept safe",
        _set_mode,
        ModeParams,
        "cluster: cluster-a, mode: forceEnable",
    ),
)


Backup = Annotated[str, name_validator(names.BACKUP)]


class AddNativeParams(Params):
    """Its name; ``tpm_required``: hosts without a TPM take no part; ``default``: make it vCenter's
    default. At which ``vcenter``; when it is left out, at the first."""

    provider: Provider
    tpm_required: bool = False
    default: bool = False
    vcenter: Vcenter | None = None


class UpdateParams(Params):
    """Which provider; the id (a UUID) that its key derivation key gets, a fresh one when it is left
    out."""

    provider: Provider
    key_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    vcenter: Vcenter | None = None


class ExportParams(Params):
    """Which provider, and what its backup is called; it is kept until the run ends. ``authority``:
    by which name or address the client reaches vCenter; by its name when that is left out."""

    provider: Provider
    backup: Backup
    vcenter: Vcenter | None = None
    authority: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None


class ImportParams(Params):
    """Which backup of this run; ``default``: make the provider vCenter's default."""

    backup: Backup
    default: bool = False
    vcenter: Vcenter | None = None


async def _add(acting: Acting, target: str, params: Any) -> OperationOutcome:
    message = CreateNativeProvider(
        provider=ProviderId(params.provider),
        tpm_required=params.tpm_required,
        make_default=params.default,
    )
    await acting.ask(await acting.vcenter("", params), message)
    return OperationOutcome("ok", {"made": params.provider})


async def _update(acting: Acting, target: str, params: Any) -> OperationOutcome:
    message = updating(params.provider, params.key_id or "", acting.name)
    await acting.ask(await acting.vcenter("", params), message)
    return OperationOutcome("ok", {"updated": params.provider})


async def _export(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vcenter = await acting.vcenter("", params)
    acting.exports[params.backup] = await take_backup(
        acting.lab, vcenter, ProviderId(params.provider), authority=params.authority
    )
    return OperationOutcome("ok", {"exported": params.provider})


async def _import(acting: Acting, target: str, params: Any) -> OperationOutcome:
    backup = acting.exports.get(params.backup)
    if backup is None:
        raise NotFound(f"nothing was exported as {params.backup} in this run")
    vcenter = await acting.vcenter("", params)
    done = await import_backup(acting.lab, vcenter, backup, make_default=params.default)
    return OperationOutcome("ok", {"imported": str(done.provider)})


NATIVE_ACTIONS: Final = (
    Action(
        "provider.add-native",
        ActionTarget.NOTHING,
        "create a native key provider; it makes no keys before its first export",
        _add,
        AddNativeParams,
        "provider: second, tpm_required: true",
    ),
    Action(
        "provider.update-native",
        ActionTarget.NOTHING,
        "change the id of a native key provider's key derivation key; take a new backup",
        _update,
        UpdateParams,
        "provider: nkp",
    ),
    Action(
        "provider.export",
        ActionTarget.NOTHING,
        "take a backup of a native key provider",
        _export,
        ExportParams,
        "provider: nkp, backup: monday",
    ),
    Action(
        "provider.import",
        ActionTarget.NOTHING,
        "create a native key provider from its backup",
        _import,
        ImportParams,
        "backup: monday",
    ),
)
